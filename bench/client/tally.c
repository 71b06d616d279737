#include "tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void tally_reset(struct tally *t) {
    memset(t, 0, sizeof *t);
    t->began_ns = now_ns();
}

static unsigned step_of(uint64_t ns) {
    if (ns < (1u << STEP_BITS)) return (unsigned)ns;
    unsigned high = 63u - (unsigned)__builtin_clzll(ns);
    unsigned low = (unsigned)(ns >> (high - STEP_BITS)) & ((1u << STEP_BITS) - 1);
    return ((high - STEP_BITS + 1) << STEP_BITS) | low;
}

/* The middle of a step, in nanoseconds. */
static double value_of(unsigned step) {
    if (step < (1u << STEP_BITS)) return step;
    unsigned shift = (step >> STEP_BITS) - 1;
    double base = (double)((1u << STEP_BITS) | (step & ((1u << STEP_BITS) - 1)));
    return (base + 0.5) * (double)(1ull << shift);
}

void tally_latency(struct tally *t, uint64_t sent_ns, uint64_t read_ns) {
    uint64_t ns = read_ns > sent_ns ? read_ns - sent_ns : 0;
    t->latency[step_of(ns)]++;
    if (ns > t->latency_max) t->latency_max = ns;
    if (!t->first_sent_ns || sent_ns < t->first_sent_ns) t->first_sent_ns = sent_ns;
}

static double percentile_ms(const struct tally *t, double share) {
    uint64_t wanted = (uint64_t)((double)t->deliveries * share), seen = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        seen += t->latency[step];
        if (t->latency[step] && seen >= wanted) return value_of(step) / 1e6;
    }
    return 0;
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

void tally_print(const struct tally *t, const char *event, int connections, int ready, int complete) {
    uint64_t first = t->first_sent_ns ? t->first_sent_ns : t->began_ns;
    double seconds = t->last_ns > first ? (double)(t->last_ns - first) / 1e9 : 0;
    printf("{\"event\":\"%s\",\"connections\":%d,\"ready\":%d,\"complete\":%s,", event, connections,
           ready, complete ? "true" : "false");
    printf("\"deliveries\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"reads\":%" PRIu64 ",", t->deliveries,
           t->bytes, t->reads);
    printf("\"lost\":%" PRIu64 ",\"repeated\":%" PRIu64 ",\"gaps\":%" PRIu64 ",", t->lost,
           t->repeated, t->gaps);
    printf("\"ended\":%" PRIu64 ",\"malformed\":%" PRIu64 ",\"seconds\":%.6f,", t->ended,
           t->malformed, seconds);
    printf("\"began_ns\":%" PRIu64 ",\"last_ns\":%" PRIu64 ",\"cpu_seconds\":%.3f,", t->began_ns,
           t->last_ns, cpu_seconds());
    printf("\"latency_ms\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}}\n",
           percentile_ms(t, 0.5), percentile_ms(t, 0.9), percentile_ms(t, 0.99),
           percentile_ms(t, 0.999), (double)t->latency_max / 1e6);
    fflush(stdout);
}
