/* A fake OpenAI-compatible model server at C speed: one thread, one process, any number of loopback ports.
 *
 *   stub --ports 9101,9102,9103,9104 [--seconds 3600]
 *
 * GET /v1/models; POST /v1/chat/completions (JSON of 433 bytes, or SSE); POST /v1/messages and POST /api/chat (JSON only);
 * GET /stub/stats; all else 404. What a request gets is read from its prompt, so that it survives any translation:
 * "bench: chunks=100 interval_ms=50 status=200 delay_ms=0 cut=0". interval_ms=0 streams as fast as the reader takes it;
 * cut=k closes the connection after k chunks (or in the middle of a JSON answer).
 */
#include <sys/epoll.h>

#include "../wire/http.h"
#include "../wire/net.h"
#include "answers.h"

#define WINDOW 1024           /* knobs and "stream" are looked for in the first and last bytes of a body only */
#define FLOOD_BYTES 32768     /* written per millisecond to a stream with interval_ms=0 */
#define MAX_REQUEST (64u << 20)

struct knobs {
    long chunks, interval_ms, status, delay_ms, cut;
};

enum job { IDLE, DELAYED, STREAMING };

struct conn {
    int fd;
    char *in;
    size_t in_len, in_cap, head, body; /* head: its length once complete; body: bytes of body framing consumed */
    struct chunked chunked;
    char *out;
    size_t out_len, out_cap;
    enum job job;
    int close_after, heap_at; /* heap_at: 1-based position in the heap of timers, 0 when not in it */
    struct knobs knobs;
    long sent;
    uint64_t due;
    const struct page *answer;
};

static struct page chat, messages, ollama, models, end_of_stream;
static struct event first_token, token;
static struct conn **conns, **heap;
static size_t conns_cap, heap_len;
static int epoll_fd, timer_fd;
static struct {
    uint64_t requests, streams, chunks, bytes, cancelled, blocked, open;
} stats;

/* ---- timers: a binary heap of connections by due time ---- */

static void heap_put(size_t at, struct conn *c) {
    heap[at] = c;
    c->heap_at = (int)at;
}

static void heap_sift(size_t at) {
    struct conn *c = heap[at];
    while (at > 1 && heap[at / 2]->due > c->due) {
        heap_put(at, heap[at / 2]);
        at /= 2;
    }
    for (;;) {
        size_t child = at * 2;
        if (child > heap_len) break;
        if (child < heap_len && heap[child + 1]->due < heap[child]->due) child++;
        if (heap[child]->due >= c->due) break;
        heap_put(at, heap[child]);
        at = child;
    }
    heap_put(at, c);
}

static void timer_set(struct conn *c, uint64_t due) {
    c->due = due;
    if (!c->heap_at) {
        heap[++heap_len] = c;
        c->heap_at = (int)heap_len;
    }
    heap_sift((size_t)c->heap_at);
}

static void timer_clear(struct conn *c) {
    size_t at = (size_t)c->heap_at;
    if (!at) return;
    c->heap_at = 0;
    struct conn *last = heap[heap_len--];
    if (last == c) return;
    heap_put(at, last);
    heap_sift(at);
}

/* ---- connections ---- */

static void watch(struct conn *c, int writing) {
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | (writing ? EPOLLOUT : 0u), .data.u64 = (uint64_t)c->fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void conn_close(struct conn *c) {
    if (c->job != IDLE) stats.cancelled++;
    if (c->out_len) stats.blocked--;
    stats.open--;
    timer_clear(c);
    conns[c->fd] = NULL;
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

static void conn_open(int listener) {
    for (int i = 0; i < 256; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        struct conn *c = (size_t)fd < conns_cap ? calloc(1, sizeof *c) : NULL;
        if (!c) {
            close(fd);
            continue;
        }
        struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.u64 = (uint64_t)fd};
        set_nodelay(fd);
        c->fd = fd;
        conns[fd] = c;
        stats.open++;
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

/* Sends now what the socket takes and keeps the rest; false when the peer has gone. */
static int conn_write(struct conn *c, const char *data, size_t n) {
    size_t done = 0;
    if (!c->out_len) {
        ssize_t w = send(c->fd, data, n, MSG_NOSIGNAL);
        if (w < 0 && errno != EAGAIN) return 0;
        done = w > 0 ? (size_t)w : 0;
        stats.bytes += done;
        if (done == n) return 1;
        stats.blocked++;
        watch(c, 1);
    }
    if (c->out_len + n - done > c->out_cap) {
        c->out_cap = (c->out_len + n - done) * 2;
        c->out = realloc(c->out, c->out_cap);
        if (!c->out) die("realloc");
    }
    memcpy(c->out + c->out_len, data + done, n - done);
    c->out_len += n - done;
    return 1;
}

static int conn_flush(struct conn *c) {
    ssize_t w = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (w < 0) return errno == EAGAIN;
    stats.bytes += (uint64_t)w;
    c->out_len -= (size_t)w;
    memmove(c->out, c->out + w, c->out_len);
    if (c->out_len) return 1;
    stats.blocked--;
    watch(c, 0);
    if (c->job == STREAMING) timer_set(c, now_ns());
    return !(c->close_after && c->job == IDLE);
}

/* ---- answers: each returns false when the connection is to be closed ---- */

static int answer_status(struct conn *c, long status) {
    struct page p;
    char line[64];
    snprintf(line, sizeof line, "%ld Bench", status);
    page_wrap(&p, line, "application/json",
              "{\"error\":{\"message\":\"asked for by the bench\",\"type\":\"bench_error\",\"code\":\"bench\"}}");
    return conn_write(c, p.bytes, p.length) && !c->close_after;
}

static int answer_stats(struct conn *c) {
    struct page p;
    char body[400];
    snprintf(body, sizeof body,
             "{\"requests\":%lu,\"streams\":%lu,\"chunks\":%lu,\"bytes\":%lu,\"cancelled\":%lu,\"blocked\":%lu,\"open\":%lu}",
             stats.requests, stats.streams, stats.chunks, stats.bytes, stats.cancelled, stats.blocked, stats.open);
    page_wrap(&p, "200 OK", "application/json", body);
    return conn_write(c, p.bytes, p.length) && !c->close_after;
}

static int answer_json(struct conn *c) {
    c->job = IDLE;
    if (c->knobs.status != 200) return answer_status(c, c->knobs.status);
    if (c->knobs.cut) return conn_write(c, c->answer->bytes, c->answer->length - ANSWER_BODY / 2) && 0;
    return conn_write(c, c->answer->bytes, c->answer->length) && !c->close_after;
}

static size_t stamp_event(char *at, const struct event *e, uint64_t now) {
    memcpy(at, e->bytes, e->length);
    for (int i = STAMP_DIGITS - 1; i >= 0; i--, now /= 10) at[e->stamp + (size_t)i] = (char)('0' + now % 10);
    return e->length;
}

static int stream_step(struct conn *c, uint64_t now) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    char batch[FLOOD_BYTES + 4096];
    size_t n = 0, until = c->knobs.interval_ms ? 1 : FLOOD_BYTES;
    if (c->out_len) return 1; /* the reader is slow: nothing more until conn_flush has emptied the buffer */
    if (!c->sent) n = sizeof head - 1, memcpy(batch, head, n);
    do {
        n += stamp_event(batch + n, c->sent ? &token : &first_token, now);
        c->sent++;
        stats.chunks++;
    } while (n < until && c->sent < c->knobs.chunks);
    if (c->knobs.cut && c->sent >= c->knobs.cut) {
        c->job = IDLE;
        return conn_write(c, batch, n) && 0;
    }
    if (c->sent >= c->knobs.chunks) {
        memcpy(batch + n, end_of_stream.bytes, end_of_stream.length);
        n += end_of_stream.length;
        c->job = IDLE;
        timer_clear(c);
        return conn_write(c, batch, n) && !c->close_after;
    }
    uint64_t step = c->knobs.interval_ms ? (uint64_t)c->knobs.interval_ms * 1000000ull : 1000000ull;
    timer_set(c, c->sent == 1 || !c->knobs.interval_ms ? now + step : c->due + step);
    return conn_write(c, batch, n);
}

/* ---- requests ---- */

static const char *find_in_window(const char *body, size_t n, const char *needle) {
    size_t head = n < WINDOW ? n : WINDOW, rest = n - head, tail = rest < WINDOW ? rest : WINDOW;
    const char *at = memmem(body, head, needle, strlen(needle));
    return at || !tail ? at : memmem(body + n - tail, tail, needle, strlen(needle));
}

static int wants_stream(const char *body, size_t n) {
    const char *at = find_in_window(body, n, "\"stream\"");
    if (!at) return 0;
    at += 8;
    while (at < body + n && (*at == ' ' || *at == ':')) at++;
    return at + 4 <= body + n && memcmp(at, "true", 4) == 0;
}

static struct knobs read_knobs(const char *body, size_t n) {
    struct knobs k = {.chunks = 8, .interval_ms = 10, .status = 200};
    const struct {
        const char *name;
        long *value;
    } fields[] = {{"chunks=", &k.chunks}, {"interval_ms=", &k.interval_ms}, {"status=", &k.status},
                  {"delay_ms=", &k.delay_ms}, {"cut=", &k.cut}};
    const char *at = find_in_window(body, n, "bench: ");
    if (!at) return k;
    size_t room = (size_t)(body + n - at), span = room < 160 ? room : 160;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const char *field = memmem(at, span, fields[i].name, strlen(fields[i].name));
        if (field) *fields[i].value = strtol(field + strlen(fields[i].name), NULL, 10);
    }
    return k;
}

static int answer_prompt(struct conn *c, const struct page *answer, const char *body, size_t n) {
    c->knobs = read_knobs(body, n);
    c->answer = answer;
    c->sent = 0;
    int streamed = answer == &chat && c->knobs.status == 200 && wants_stream(body, n);
    if (!streamed && !c->knobs.delay_ms) return answer_json(c);
    stats.streams += (uint64_t)streamed;
    c->job = streamed ? STREAMING : DELAYED;
    if (!c->knobs.delay_ms) return stream_step(c, now_ns());
    timer_set(c, now_ns() + (uint64_t)c->knobs.delay_ms * 1000000ull);
    return 1;
}

static int route(struct conn *c, const char *body, size_t n) {
    const char *p = c->in;
    stats.requests++;
    if (!memcmp(p, "POST /v1/chat/completions ", 26)) return answer_prompt(c, &chat, body, n);
    if (!memcmp(p, "POST /v1/messages ", 18)) return answer_prompt(c, &messages, body, n);
    if (!memcmp(p, "POST /api/chat ", 15)) return answer_prompt(c, &ollama, body, n);
    if (!memcmp(p, "GET /v1/models ", 15)) return conn_write(c, models.bytes, models.length) && !c->close_after;
    if (!memcmp(p, "GET /stub/stats ", 16)) return answer_stats(c);
    return answer_status(c, 404);
}

/* Bytes of the first request in the buffer, 0 while it is incomplete, -1 when it can never be right. */
static ssize_t request_length(struct conn *c) {
    if (!c->head) {
        c->head = http_head_length(c->in, c->in_len);
        if (!c->head) return c->in_len > 65536 ? -1 : 0;
        c->body = 0;
        c->chunked = (struct chunked){0};
    }
    const char *coding = http_header(c->in, c->head, "transfer-encoding");
    if (!coding) {
        const char *length = http_header(c->in, c->head, "content-length");
        size_t total = c->head + (length ? strtoul(length, NULL, 10) : 0);
        return total > MAX_REQUEST ? -1 : c->in_len >= total ? (ssize_t)total : 0;
    }
    while (c->head + c->body < c->in_len && c->chunked.state < CHUNK_DONE) {
        const char *data;
        size_t n;
        c->body += chunked_feed(&c->chunked, c->in + c->head + c->body, c->in_len - c->head - c->body, &data, &n);
    }
    return c->chunked.state == CHUNK_BAD ? -1 : c->chunked.state == CHUNK_DONE ? (ssize_t)(c->head + c->body) : 0;
}

static int serve(struct conn *c) {
    while (c->in_len && c->job == IDLE && !c->out_len) {
        ssize_t total = request_length(c);
        if (total <= 0) return total == 0;
        const char *connection = http_header(c->in, c->head, "connection");
        c->close_after = connection && strncasecmp(connection, "close", 5) == 0;
        int keep = route(c, c->in + c->head, (size_t)total - c->head);
        c->in_len -= (size_t)total;
        memmove(c->in, c->in + total, c->in_len);
        c->head = 0;
        if (!keep && !(c->close_after && c->out_len)) return 0;
    }
    return 1;
}

static int conn_read(struct conn *c) {
    if (c->in_cap - c->in_len < 4096) {
        if (c->in_cap >= MAX_REQUEST) return 0;
        c->in_cap = c->in_cap ? c->in_cap * 2 : 16384;
        c->in = realloc(c->in, c->in_cap);
        if (!c->in) die("realloc");
    }
    ssize_t r = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
    if (r <= 0) return r < 0 && errno == EAGAIN;
    c->in_len += (size_t)r;
    return serve(c);
}

/* ---- the loop ---- */

static void run_timers(void) {
    uint64_t now = now_ns();
    while (heap_len && heap[1]->due <= now) {
        struct conn *c = heap[1];
        int keep = 1;
        if (c->job == STREAMING && !c->out_len) {
            keep = stream_step(c, now_ns());
        } else {
            timer_clear(c);
            if (c->job == DELAYED) keep = answer_json(c);
        }
        if (keep && c->job == IDLE) keep = serve(c);
        if (!keep && !(c->close_after && c->out_len)) conn_close(c);
    }
    if (heap_len) arm_timer(timer_fd, heap[1]->due);
}

static void listen_on(char *ports) {
    for (char *p = strtok(ports, ","); p; p = strtok(NULL, ",")) {
        struct sockaddr_in a = loopback(atoi(p));
        int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) die("listen");
        struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)fd | 1ull << 40};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

static void handle(const struct epoll_event *e) {
    if (e->data.u64 >> 40) {
        conn_open((int)(e->data.u64 & 0xffffffff));
        return;
    }
    struct conn *c = e->data.fd == timer_fd ? NULL : conns[e->data.fd];
    if (!c) return;
    int keep = 1;
    if (e->events & EPOLLOUT && c->out_len) keep = conn_flush(c) && (c->job != IDLE || serve(c));
    if (keep && e->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) keep = conn_read(c);
    if (!keep && !(c->close_after && c->out_len)) conn_close(c);
}

int main(int argc, char **argv) {
    struct epoll_event events[512];
    struct rlimit files;
    char *ports = strdup(option(argc, argv, "--ports", "9101,9102,9103,9104"));
    bound_lifetime((unsigned)option_number(argc, argv, "--seconds", 3600));
    getrlimit(RLIMIT_NOFILE, &files);
    conns_cap = files.rlim_cur;
    conns = calloc(conns_cap, sizeof *conns);
    heap = calloc(conns_cap + 1, sizeof *heap);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = (uint64_t)timer_fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &e);
    page_chat(&chat);
    page_messages(&messages);
    page_ollama(&ollama);
    page_models(&models);
    event_end(&end_of_stream);
    event_token(&first_token, "\"role\":\"assistant\",");
    event_token(&token, "");
    listen_on(ports);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 512, -1);
        for (int i = 0; i < n; i++) handle(&events[i]);
        run_timers();
    }
}
