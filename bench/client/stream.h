/* One held connection as its client sees it: framing taken off, message ids checked. */
#ifndef STREAM_H
#define STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "tally.h"

enum protocol { EVENTS, POLL, SOCKET };
enum stage { CONNECTING, HEAD, OPENING, READY, OVER };

struct stream {
    int fd;
    enum stage stage;
    int64_t last_id;       /* newest message id, -1 before the first */
    unsigned char *kept;   /* the beginning of a unit that has not arrived whole */
    size_t kept_length;
    size_t kept_room;
};

/* Take bytes in; they are a whole read, behind what was kept. Returns how many were used up, or
   -1 when the framing is broken. *opened* becomes 1 when the server says that it is ready. */
long stream_take(struct stream *s, enum protocol protocol, const unsigned char *bytes,
                 size_t length, struct tally *t, int *opened);

#endif
