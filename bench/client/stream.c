/* A unit is what a server frames as a whole: an HTTP chunk or a WebSocket frame. Both kinds of
   server measured here put whole messages into a unit, one or several. Within a unit a message is
   found by its id; its data carries the time it was published. */
#define _GNU_SOURCE
#include "stream.h"

#include <string.h>

static const char ID[] = "\"message_id\":";
static const char TIME[] = "t=";

static const unsigned char *find(const unsigned char *from, const unsigned char *end,
                                 const char *text, size_t length) {
    return memmem(from, (size_t)(end - from), text, length);
}

static int has(const unsigned char *from, const unsigned char *end, const char *text) {
    return find(from, end, text, strlen(text)) != NULL;
}

static uint64_t number(const unsigned char **p, const unsigned char *end) {
    uint64_t n = 0;
    while (*p < end && **p >= '0' && **p <= '9') n = n * 10 + (uint64_t)(*(*p)++ - '0');
    return n;
}

static void note_message(struct stream *s, int64_t id, struct tally *t) {
    if (s->last_id >= 0) {
        if (id <= s->last_id) {
            t->repeated++;
            return;
        }
        t->lost += (uint64_t)(id - s->last_id - 1);
    }
    s->last_id = id;
    t->deliveries++;
}

static int read_messages(struct stream *s, const unsigned char *p, const unsigned char *end,
                         uint64_t at, struct tally *t) {
    int found = 0;
    while ((p = find(p, end, ID, sizeof ID - 1))) {
        p += sizeof ID - 1;
        found = 1;
        if (p < end && *p == '-') continue; /* a status message */
        note_message(s, (int64_t)number(&p, end), t);
        const unsigned char *time = find(p, end, TIME, sizeof TIME - 1);
        if (!time) continue;
        p = time + sizeof TIME - 1;
        tally_latency(t, number(&p, end), at);
    }
    if (found) t->last_ns = at;
    return found;
}

static void read_unit(struct stream *s, enum protocol protocol, const unsigned char *p,
                      const unsigned char *end, uint64_t at, struct tally *t, int *opened) {
    int found = read_messages(s, p, end, at, t);
    if (s->stage == OPENING && (protocol != SOCKET || has(p, end, "\"type\":\"live\""))) {
        s->stage = READY;
        *opened = 1;
    }
    if (!found && s->stage == READY) {
        if (has(p, end, "event: gap") || has(p, end, "\"type\":\"gap\"")) t->gaps++;
    }
}

static long take_head(struct stream *s, const unsigned char *p, size_t length, enum protocol protocol) {
    const unsigned char *end = find(p, p + length, "\r\n\r\n", 4);
    if (!end) return 0;
    const char *wanted = protocol == SOCKET ? "HTTP/1.1 101" : "HTTP/1.1 200";
    if (memcmp(p, wanted, 12) != 0) return -1;
    s->stage = OPENING;
    return end + 4 - p;
}

/* Set *begin and *end to an HTTP chunk's data and return the chunk's length; 0 if it has not all
   arrived, -1 if it is none. */
static long chunk_at(const unsigned char *p, size_t length, const unsigned char **begin,
                     const unsigned char **end) {
    size_t size = 0, i = 0;
    for (; i < length && p[i] != '\r'; i++) {
        int c = p[i] | 32;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0 || i > 7) return -1;
        size = size * 16 + (size_t)digit;
    }
    if (i + 2 + size + 2 > length) return 0;
    if (p[i + 1] != '\n' || memcmp(p + i + 2 + size, "\r\n", 2) != 0) return -1;
    *begin = p + i + 2;
    *end = *begin + size;
    return (long)(i + 2 + size + 2);
}

/* The same for an unmasked WebSocket frame; an empty stretch for control frames, *closed for a
   close frame. */
static long frame_at(const unsigned char *p, size_t length, const unsigned char **begin,
                     const unsigned char **end, int *closed) {
    if (length < 2) return 0;
    size_t head = 2, size = p[1] & 127;
    if ((p[1] & 128) || (p[0] & 0x70)) return -1;
    if (size == 126) {
        if (length < 4) return 0;
        head = 4;
        size = ((size_t)p[2] << 8) | p[3];
    } else if (size == 127) {
        if (length < 10) return 0;
        head = 10;
        size = 0;
        for (int i = 2; i < 10; i++) size = (size << 8) | p[i];
        if (size > (1u << 30)) return -1;
    }
    if (length < head + size) return 0;
    *begin = p + head;
    *end = (p[0] & 15) == 1 ? *begin + size : *begin;
    *closed = (p[0] & 15) == 8;
    return (long)(head + size);
}

long stream_take(struct stream *s, enum protocol protocol, const unsigned char *bytes,
                 size_t length, struct tally *t, int *opened) {
    size_t used = 0;
    uint64_t at = now_ns();
    if (s->stage == HEAD) {
        long head = take_head(s, bytes, length, protocol);
        if (head <= 0) return head;
        used = (size_t)head;
        if (protocol == SOCKET) *opened = 2; /* time to subscribe */
    }
    while (used < length) {
        const unsigned char *begin = NULL, *end = NULL;
        int closed = 0;
        long unit = protocol == SOCKET ? frame_at(bytes + used, length - used, &begin, &end, &closed)
                                       : chunk_at(bytes + used, length - used, &begin, &end);
        if (unit < 0) return -1;
        if (unit == 0) break;
        used += (size_t)unit;
        if (closed || (protocol != SOCKET && begin == end)) {
            s->stage = OVER;
            return (long)used;
        }
        if (begin != end) read_unit(s, protocol, begin, end, at, t, opened);
    }
    return (long)used;
}
