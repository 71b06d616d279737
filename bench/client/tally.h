/* What a load client counts between two resets, and how it is told. */
#ifndef TALLY_H
#define TALLY_H

#include <stdint.h>

/* Latencies are kept in 32 steps per power of two nanoseconds: 3 % at worst. */
#define STEP_BITS 5
#define STEPS (64 << STEP_BITS)

struct tally {
    uint64_t deliveries;   /* messages, over all connections */
    uint64_t bytes;        /* read from the sockets */
    uint64_t reads;        /* calls that returned some */
    uint64_t lost;         /* ids skipped */
    uint64_t repeated;     /* ids at or below the last one */
    uint64_t gaps;         /* announced losses */
    uint64_t ended;        /* streams that the server ended or cut off */
    uint64_t malformed;    /* streams given up because their framing broke */
    uint64_t began_ns;     /* when the phase began */
    uint64_t first_sent_ns; /* the earliest time found in a message */
    uint64_t last_ns;      /* when the newest delivery was read */
    uint64_t latency[STEPS];
    uint64_t latency_max;
};

uint64_t now_ns(void);
void tally_reset(struct tally *t);
void tally_latency(struct tally *t, uint64_t sent_ns, uint64_t read_ns);

/* Print the tally as one line of JSON on standard output. */
void tally_print(const struct tally *t, const char *event, int connections, int ready, int complete);

#endif
