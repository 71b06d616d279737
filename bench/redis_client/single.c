/* One request in flight on each of many connections to Redis: what `redis-benchmark -P 1` does.
 *
 * The wheel that the servers come from has no redis-benchmark. This calls a script by its digest,
 * with the number of a channel and a body, waits for the whole reply, a number, and calls again.
 *
 *     single PORT DIGEST CONNECTIONS SECONDS CHANNELS BODY_BYTES
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST 4096
#define REPLY 512

struct connection {
    int fd;
    size_t got;
    char reply[REPLY];
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int open_connection(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void ask(struct connection *c, const char *digest, long channel, const char *body) {
    char request[REQUEST], name[32];
    int name_length = snprintf(name, sizeof name, "/bench/%03ld", channel);
    int length = snprintf(request, sizeof request,
                          "*5\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n0\r\n$%d\r\n%s\r\n$%zu\r\n%s\r\n",
                          digest, name_length, name, strlen(body), body);
    if (write(c->fd, request, (size_t)length) != length) fail("write");
    c->got = 0;
}

/* Returns 1 when the reply is there. */
static int hear(struct connection *c) {
    ssize_t got = read(c->fd, c->reply + c->got, REPLY - 1 - c->got);
    if (got <= 0) fail("read");
    c->got += (size_t)got;
    c->reply[c->got] = 0;
    if (c->reply[0] != ':') {
        fprintf(stderr, "%s", c->reply);
        exit(1);
    }
    return c->reply[c->got - 1] == '\n';
}

int main(int count, char **words) {
    if (count != 7) return 2;
    int port = atoi(words[1]), connections = atoi(words[3]);
    double seconds = atof(words[4]);
    long channels = atol(words[5]), done = 0, next = 0;
    size_t size = (size_t)atol(words[6]);
    if (size > REQUEST / 2) return 2;
    char *body = malloc(size + 1);
    memset(body, 'x', size);
    body[size] = 0;
    struct connection *all = calloc((size_t)connections, sizeof *all);
    struct epoll_event events[256];
    int poll = epoll_create1(0);
    double began = now();
    for (int i = 0; i < connections; i++) {
        all[i].fd = open_connection(port);
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &all[i]};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &wanted)) fail("epoll_ctl");
        ask(&all[i], words[2], next++ % channels, body);
    }
    double elapsed;
    while ((elapsed = now() - began) < seconds) {
        int ready = epoll_wait(poll, events, 256, 1000);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!hear(c)) continue;
            done++;
            ask(c, words[2], next++ % channels, body);
        }
    }
    printf("{\"rate\": %.1f}\n", (double)done / elapsed);
    return 0;
}
