/* Closed-loop load over keep-alive connections: each of c connections sends the next request when its answer is complete.
 *
 *   closed_loop --port P --request FILE [--concurrency 32] [--requests 100000] [--seconds 5] [--warmup 0] [--expect TEXT]
 *               [--vary N]
 *
 * FILE holds the request as it goes over the wire. With --vary its first run of '#' becomes the requests' numbers from 0
 * to N-1, over and over. Ends after `requests` answers or `seconds`, whichever comes first, and
 * prints one JSON object: rate, latency percentiles in microseconds, statuses, errors. The first `warmup` answers only
 * count as `finished`: with one per connection, the measured window begins and ends in full flow.
 */
#include <sys/epoll.h>

#include "../wire/http.h"
#include "../wire/net.h"

#define BUFFER 65536

struct client {
    int fd, slot;
    char *in;
    size_t in_len, head, body_left, sent;
    int status, chunked_body, closing, found;
    struct chunked chunked;
    uint64_t started;
    char *request; /* its own copy where requests differ, otherwise everybody's */
};

static struct {
    int port, epoll_fd;
    char *request;
    const char *expect;
    size_t request_len, mark, digits; /* where the number stands in the request, and how many digits it has */
    long wanted, warmup, finished, vary, started;
    uint64_t measured_from, deadline;
    uint64_t bytes, errors, reconnects, unexpected, statuses[600];
    struct samples latency;
} run;

static void client_send(struct client *c) {
    ssize_t w = send(c->fd, c->request + c->sent, run.request_len - c->sent, MSG_NOSIGNAL);
    if (w > 0) c->sent += (size_t)w;
    if (c->sent == run.request_len) return;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    epoll_ctl(run.epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void number_request(struct client *c) {
    long number = run.started++ % run.vary;
    for (size_t i = run.digits; i-- > 0; number /= 10) c->request[run.mark + i] = (char)('0' + number % 10);
}

static void client_start(struct client *c) {
    if (run.vary) number_request(c);
    c->in_len = c->head = c->sent = 0;
    c->found = 0;
    c->started = now_ns();
    client_send(c);
}

static int client_connect(struct client *c) {
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (c->fd >= 0) close(c->fd);
    c->fd = connect_loopback(run.port, 0);
    if (c->fd < 0) return 0;
    epoll_ctl(run.epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
    return 1;
}

static int finished(uint64_t now) { return run.finished >= run.warmup + run.wanted || now >= run.deadline; }

static void count(struct client *c, uint64_t now) {
    if (run.finished++ < run.warmup) {
        run.measured_from = now;
        return;
    }
    if (c->status) {
        samples_add(&run.latency, (int64_t)(now - c->started));
        run.statuses[c->status < 600 ? c->status : 0]++;
        run.unexpected += c->status == 200 && run.expect && !c->found;
    } else {
        run.errors++;
    }
}

/* Looks for the expected text in what came of the body; an answer of a few hundred bytes comes in one piece. */
static void body_seen(struct client *c, const char *data, size_t n) {
    run.bytes += n;
    if (run.expect && !c->found) c->found = memmem(data, n, run.expect, strlen(run.expect)) != NULL;
}

/* 1: answer complete, 0: more to come, -1: not HTTP. Consumes the buffer. */
static int answer_feed(struct client *c) {
    char *p = c->in;
    size_t n = c->in_len;
    if (!c->head) {
        c->head = http_head_length(p, n);
        if (!c->head) return n < BUFFER ? 0 : -1;
        if (n < 12 || memcmp(p, "HTTP/1.", 7)) return -1;
        c->status = atoi(p + 9);
        const char *coding = http_header(p, c->head, "transfer-encoding"), *length, *connection;
        length = http_header(p, c->head, "content-length");
        connection = http_header(p, c->head, "connection");
        c->closing = connection && strncasecmp(connection, "close", 5) == 0;
        c->chunked_body = coding != NULL;
        c->chunked = (struct chunked){0};
        c->body_left = length ? strtoul(length, NULL, 10) : 0;
        p += c->head;
        n -= c->head;
    }
    c->in_len = 0;
    if (!c->chunked_body) {
        if (n > c->body_left) return -1;
        body_seen(c, p, n);
        c->body_left -= n;
        return c->body_left == 0;
    }
    while (n && c->chunked.state < CHUNK_DONE) {
        const char *data;
        size_t length, used = chunked_feed(&c->chunked, p, n, &data, &length);
        if (length) body_seen(c, data, length);
        p += used;
        n -= used;
    }
    return c->chunked.state == CHUNK_BAD || n ? -1 : c->chunked.state == CHUNK_DONE;
}

/* The answer is over, well or badly: count it and go on; false when the server takes no connection any more. */
static int next_request(struct client *c, int ok) {
    uint64_t now = now_ns();
    if (!ok) c->status = 0;
    count(c, now);
    if (finished(now)) return 1;
    if (!ok || c->closing) {
        run.reconnects++;
        if (!client_connect(c)) return 0;
    }
    client_start(c);
    return 1;
}

static int client_event(struct client *c, uint32_t events) {
    if (events & EPOLLOUT && c->sent < run.request_len) {
        client_send(c);
        if (c->sent == run.request_len) {
            struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
            epoll_ctl(run.epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
        }
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return 1;
    ssize_t r = recv(c->fd, c->in + c->in_len, BUFFER - c->in_len, 0);
    if (r < 0 && errno == EAGAIN) return 1;
    if (r <= 0) return next_request(c, 0);
    c->in_len += (size_t)r;
    int state = answer_feed(c);
    return state == 0 ? 1 : next_request(c, state > 0);
}

static void report(double seconds) {
    printf("{\"finished\":%ld,\"requests\":%zu,\"seconds\":%.6f,\"rate\":%.2f,", run.finished, run.latency.count, seconds,
           seconds > 0 ? (double)run.latency.count / seconds : 0.0);
    print_samples("latency_us", &run.latency);
    printf(",\"errors\":%lu,\"unexpected\":%lu,\"reconnects\":%lu,\"body_bytes\":%lu,\"statuses\":{", run.errors,
           run.unexpected, run.reconnects, run.bytes);
    const char *comma = "";
    for (int s = 0; s < 600; s++) {
        if (!run.statuses[s]) continue;
        printf("%s\"%d\":%lu", comma, s, run.statuses[s]);
        comma = ",";
    }
    printf("}}\n");
}

static void find_mark(void) {
    char *mark = memchr(run.request, '#', run.request_len);
    if (!mark) die("--vary needs a run of '#' in the request");
    run.mark = (size_t)(mark - run.request);
    while (run.mark + run.digits < run.request_len && mark[run.digits] == '#') run.digits++;
}

static char *own_request(void) {
    char *copy = malloc(run.request_len);
    if (!copy) die("malloc");
    return memcpy(copy, run.request, run.request_len);
}

int main(int argc, char **argv) {
    struct epoll_event events[512];
    long concurrency = option_number(argc, argv, "--concurrency", 32);
    long seconds = option_number(argc, argv, "--seconds", 5);
    run.port = (int)option_number(argc, argv, "--port", 0);
    run.wanted = option_number(argc, argv, "--requests", 100000);
    run.warmup = option_number(argc, argv, "--warmup", 0);
    run.expect = option(argc, argv, "--expect", NULL);
    run.request = read_file(option(argc, argv, "--request", NULL), &run.request_len);
    run.vary = option_number(argc, argv, "--vary", 0);
    if (run.vary) find_mark();
    run.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bound_lifetime((unsigned)seconds + 30);
    samples_reserve(&run.latency, (size_t)run.wanted);
    struct client *clients = calloc((size_t)concurrency, sizeof *clients);
    for (long i = 0; i < concurrency; i++) {
        clients[i].fd = -1;
        clients[i].in = malloc(BUFFER);
        clients[i].request = run.vary ? own_request() : run.request;
        if (!client_connect(&clients[i])) die("connect");
    }
    run.measured_from = now_ns();
    run.deadline = run.measured_from + (uint64_t)seconds * 1000000000ull;
    for (long i = 0; i < concurrency; i++) client_start(&clients[i]);
    int serving = 1;
    while (serving && !finished(now_ns())) {
        int n = epoll_wait(run.epoll_fd, events, 512, 100);
        for (int i = 0; i < n && serving; i++) serving = client_event(events[i].data.ptr, events[i].events);
    }
    report((double)(now_ns() - run.measured_from) / 1e9);
    return serving ? 0 : 3;
}
