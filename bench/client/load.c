/* A load client: holds many streams of one kind and checks every message that arrives.

   load --host A --port N --connections N --protocol sse|poll|ws --request FILE
        [--subscribe FILE] [--control SOCKET] [--opening N] [--channels N] [--spin 1]

   While it waits for messages it spins if told so, which needs a core of its own: waking a
   sleeping reader is the sender's work on loopback, and not the server's in the world.

   The request, and for WebSockets the first frame behind the handshake, come from files. In them
   a run of '@' becomes the connection's number and a run of '#' that number modulo --channels,
   both padded with zeros to the run's length.

   Once all streams are open it prints a line of JSON and obeys lines on standard input; each is
   answered with a line of JSON on standard output:

     reset            begin counting anew
     report           tell what was counted
     wait N MS        tell, once N messages have arrived or after MS milliseconds
     ack WARM N MS    ask the server over its control socket for one message, and for the next one
                      as soon as every stream has it; tell after WARM + N of them, the first WARM
                      not counted
     quit
*/
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "stream.h"

#define ROOM (1 << 18)   /* bytes of one read */
#define KEPT_MOST (1 << 20)
#define EVENTS_AT_ONCE 512
#define INPUT -1         /* stands for standard input in epoll's data */
#define PER_SOURCE 20000 /* connections from one source address */

struct text {
    char *bytes;
    size_t length;
};

static struct {
    const char *host, *control_path;
    int port, connections, channels, opening, spin;
    enum protocol protocol;
    struct text request, subscribe;
} options = {.host = "127.0.0.1", .channels = 1, .opening = 200};

static struct stream *streams;
static struct tally tally;
static int epoll_fd, control_fd = -1;
static int started, ready, failed, announced;
static unsigned char *buffer;

/* The pending command, if any. */
static uint64_t wanted, deadline_ns;
static long rounds, warm;
static int waiting, acknowledging;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static struct text read_file(const char *path) {
    struct text t = {malloc(1 << 16), 0};
    FILE *f = fopen(path, "rb");
    if (!f || !t.bytes) die(path);
    t.length = fread(t.bytes, 1, 1 << 16, f);
    fclose(f);
    return t;
}

static void fill_in(char *bytes, size_t length, char mark, int number) {
    for (size_t i = length; i-- > 0;) {
        if (bytes[i] != mark) continue;
        for (int n = number;; n /= 10) {
            bytes[i] = (char)('0' + n % 10);
            if (i == 0 || bytes[i - 1] != mark) break;
            i--;
        }
    }
}

/* Send a short text; a fresh connection's buffer always has room for it. */
static void send_text(struct stream *s, const struct text *text) {
    char copy[1 << 14];
    int number = (int)(s - streams);
    if (text->length > sizeof copy) die("the request is too long");
    memcpy(copy, text->bytes, text->length);
    fill_in(copy, text->length, '@', number);
    fill_in(copy, text->length, '#', number % options.channels);
    if (send(s->fd, copy, text->length, MSG_NOSIGNAL) != (ssize_t)text->length) failed++;
}

static void watch(int fd, int number, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.fd = number};
    if (epoll_ctl(epoll_fd, operation, fd, &event) < 0) die("epoll_ctl");
}

static void start_connection(int number) {
    struct stream *s = &streams[number];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    int one = 1;
    s->last_id = -1;
    s->stage = CONNECTING;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) die("socket");
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (number >= PER_SOURCE) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(number / PER_SOURCE));
        setsockopt(s->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(s->fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind");
    }
    inet_pton(AF_INET, options.host, &to.sin_addr);
    if (connect(s->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) die("connect");
    watch(s->fd, number, EPOLLOUT, EPOLL_CTL_ADD);
}

static void start_some(void) {
    while (started < options.connections && started - ready - failed < options.opening)
        start_connection(started++);
    if (!announced && ready + failed >= options.connections) {
        announced = 1;
        tally_print(&tally, "open", options.connections, ready, failed == 0);
        tally_reset(&tally);
    }
}

static void finish(struct stream *s, uint64_t *counter) {
    if (s->stage != READY && s->stage != OVER) failed++;
    s->stage = OVER;
    close(s->fd);
    free(s->kept);
    s->kept = NULL;
    s->kept_length = s->kept_room = 0;
    (*counter)++;
    start_some();
}

static void keep(struct stream *s, const unsigned char *bytes, size_t length) {
    if (length == 0) {
        s->kept_length = 0;
        return;
    }
    if (length > s->kept_room) {
        free(s->kept);
        s->kept_room = length < 1024 ? 1024 : length * 2;
        s->kept = malloc(s->kept_room);
        if (!s->kept) die("malloc");
    }
    memcpy(s->kept, bytes, length);
    s->kept_length = length;
}

static void read_stream(struct stream *s) {
    size_t before = s->kept_length;
    if (before > KEPT_MOST) {
        finish(s, &tally.malformed);
        return;
    }
    if (before) memcpy(buffer, s->kept, before);
    ssize_t got = recv(s->fd, buffer + before, ROOM, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        finish(s, &tally.ended);
        return;
    }
    tally.reads++;
    tally.bytes += (uint64_t)got;
    int opened = 0;
    size_t length = before + (size_t)got;
    long used = stream_take(s, options.protocol, buffer, length, &tally, &opened);
    if (used < 0) {
        if (!announced && tally.malformed == 0)
            fprintf(stderr, "load: not understood: %.*s\n", (int)(length < 400 ? length : 400),
                    (char *)buffer);
        finish(s, &tally.malformed);
        return;
    }
    if (opened == 2) send_text(s, &options.subscribe);
    if (opened == 1) {
        ready++;
        start_some();
    }
    if (s->stage == OVER)
        finish(s, &tally.ended);
    else
        keep(s, buffer + used, length - (size_t)used);
}

static void connected(struct stream *s, int number) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        finish(s, &tally.ended);
        return;
    }
    s->stage = HEAD;
    watch(s->fd, number, EPOLLIN, EPOLL_CTL_MOD);
    send_text(s, &options.request);
}

static void report(const char *event, int complete) {
    waiting = acknowledging = 0;
    tally_print(&tally, event, options.connections, ready, complete);
}

static void ask_for_one(void) {
    wanted = tally.deliveries + (uint64_t)ready;
    if (send(control_fd, "one\n", 4, MSG_NOSIGNAL) != 4) die("control");
}

/* See whether what a command waits for has come. */
static void look(void) {
    if (!waiting) return;
    if (tally.deliveries >= wanted) {
        if (!acknowledging) {
            report("wait", 1);
            return;
        }
        if (warm > 0 && --warm == 0) tally_reset(&tally);
        if (rounds > 0) {
            rounds--;
            ask_for_one();
        } else {
            report("ack", 1);
        }
    } else if (now_ns() >= deadline_ns) {
        report(acknowledging ? "ack" : "wait", 0);
    }
}

static void obey(char *line) {
    unsigned long long number = 0;
    unsigned milliseconds = 0;
    if (strcmp(line, "quit") == 0) {
        exit(0);
    } else if (strcmp(line, "reset") == 0) {
        tally_reset(&tally);
        report("reset", 1);
    } else if (strcmp(line, "report") == 0) {
        report("report", 1);
    } else if (sscanf(line, "wait %llu %u", &number, &milliseconds) == 2) {
        wanted = number;
        deadline_ns = now_ns() + milliseconds * 1000000ull;
        waiting = 1;
    } else if (sscanf(line, "ack %ld %ld %u", &warm, &rounds, &milliseconds) == 3) {
        deadline_ns = now_ns() + milliseconds * 1000000ull;
        waiting = acknowledging = 1;
        tally_reset(&tally);
        rounds += warm - 1;
        ask_for_one();
    } else {
        fprintf(stderr, "load: what is %s?\n", line);
    }
}

static void read_commands(void) {
    static char line[256];
    static size_t length;
    char c;
    ssize_t got;
    while ((got = read(0, &c, 1)) == 1) {
        if (c != '\n') {
            if (length < sizeof line - 1) line[length++] = c;
            continue;
        }
        line[length] = 0;
        length = 0;
        obey(line);
    }
    if (got == 0) exit(0); /* whoever started this is gone */
}

static void parse(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--host")) options.host = value;
        else if (!strcmp(name, "--port")) options.port = atoi(value);
        else if (!strcmp(name, "--connections")) options.connections = atoi(value);
        else if (!strcmp(name, "--channels")) options.channels = atoi(value);
        else if (!strcmp(name, "--opening")) options.opening = atoi(value);
        else if (!strcmp(name, "--spin")) options.spin = atoi(value);
        else if (!strcmp(name, "--control")) options.control_path = value;
        else if (!strcmp(name, "--request")) options.request = read_file(value);
        else if (!strcmp(name, "--subscribe")) options.subscribe = read_file(value);
        else if (!strcmp(name, "--protocol"))
            options.protocol = !strcmp(value, "ws") ? SOCKET : !strcmp(value, "poll") ? POLL : EVENTS;
        else {
            fprintf(stderr, "load: unknown option %s\n", name);
            exit(2);
        }
    }
    if (!options.port || !options.connections || !options.request.length) {
        fprintf(stderr, "load: --port, --connections and --request are needed\n");
        exit(2);
    }
}

static void open_control(void) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!options.control_path) return;
    strncpy(to.sun_path, options.control_path, sizeof to.sun_path - 1);
    control_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(control_fd, (struct sockaddr *)&to, sizeof to) < 0) die(options.control_path);
}

int main(int argc, char **argv) {
    struct rlimit files;
    parse(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    streams = calloc((size_t)options.connections, sizeof *streams);
    buffer = malloc(ROOM + KEPT_MOST + ROOM);
    if (!streams || !buffer || epoll_fd < 0) die("start");
    open_control();
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    watch(0, INPUT, EPOLLIN, EPOLL_CTL_ADD);
    tally_reset(&tally);
    start_some();
    for (;;) {
        struct epoll_event events[EVENTS_AT_ONCE];
        int patience = !waiting ? -1 : options.spin ? 0 : 20;
        int count = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, patience);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int number = events[i].data.fd;
            if (number == INPUT) {
                read_commands();
                continue;
            }
            struct stream *s = &streams[number];
            if (s->stage == CONNECTING) connected(s, number);
            else if (s->stage != OVER) read_stream(s);
        }
        look();
    }
}
