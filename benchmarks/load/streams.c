/* Concurrent streams against a gateway in front of the stub: how late does each chunk arrive?
 *
 *   streams --port P --request FILE --streams N --chunks M --interval-ms I [--ramp-ms 1000] [--seconds 30]
 *           [--abandon-after K] [--slow-readers S --slow-request FILE]
 *
 * All connections are opened first; the requests start at random (seeded) moments of the ramp, so that chunks are spread
 * evenly over time. A chunk carries the CLOCK_MONOTONIC time of its sending, lateness is arrival less that; on time
 * means within one interval, and a chunk that never comes is not on time. `abandon-after` closes each connection after K
 * chunks; slow readers send their request and never read. One stream per connection. Prints one JSON object.
 */
#include <sys/epoll.h>

#include "../wire/http.h"
#include "../wire/net.h"

#define BUFFER 65536
#define TAIL 512

enum ending { RUNNING, CLEAN, EXPLICIT_ERROR, TRUNCATED, FALSE_CLEAN, REFUSED, ABANDONED, ENDINGS };
static const char *const ending_names[ENDINGS] = {"running",     "clean",   "explicit_error", "truncated",
                                                  "false_clean", "refused", "abandoned"};

struct stream {
    int fd, status, digits; /* digits of the stamp read so far, -1 outside of one */
    enum ending ending;
    size_t head_len, body_left;
    int chunked_body;
    char head[4096], tail[TAIL];
    size_t tail_len;
    struct chunked chunked;
    uint64_t start_at, started, stamp, first_stamp;
    long got;
};

static struct {
    int port, epoll_fd, timer_fd;
    char *request, *slow_request;
    size_t request_len, slow_request_len;
    long streams, chunks, abandon_after;
    uint64_t interval, on_time, received, bytes, last_start, first_end;
    long open;
    struct samples first, late, drift;
} run;

static void stream_end(struct stream *s, enum ending how) {
    if (s->ending != RUNNING) return;
    s->ending = how;
    if (!run.first_end) run.first_end = now_ns();
    close(s->fd);
    run.open--;
}

static void chunk_seen(struct stream *s, uint64_t now) {
    int64_t late = (int64_t)(now - s->stamp);
    if (s->got++ == 0) {
        s->first_stamp = s->stamp;
        samples_add(&run.first, (int64_t)(now - s->started));
    }
    samples_add(&run.late, late);
    samples_add(&run.drift, (int64_t)(s->stamp - s->first_stamp) - (int64_t)((uint64_t)(s->got - 1) * run.interval));
    run.received++;
    run.on_time += late <= (int64_t)run.interval;
}

static void scan(struct stream *s, const char *p, size_t n, uint64_t now) {
    const char *end = p + n;
    run.bytes += n;
    size_t keep = n < TAIL ? n : TAIL, old = s->tail_len + keep > TAIL ? TAIL - keep : s->tail_len;
    memmove(s->tail, s->tail + s->tail_len - old, old);
    memcpy(s->tail + old, end - keep, keep);
    s->tail_len = old + keep;
    while (p < end) {
        if (s->digits < 0) {
            p = memchr(p, '@', (size_t)(end - p));
            if (!p) return;
            p++;
            s->digits = 0;
            s->stamp = 0;
            continue;
        }
        if (*p < '0' || *p > '9') {
            s->digits = -1;
            continue;
        }
        s->stamp = s->stamp * 10 + (uint64_t)(*p++ - '0');
        if (++s->digits == 20) {
            s->digits = -1;
            chunk_seen(s, now);
        }
    }
}

static int tail_has(const struct stream *s, const char *text) { return memmem(s->tail, s->tail_len, text, strlen(text)) != NULL; }

/* What the end of the bytes says, in whichever dialect: a clean end, an explicit error, or nothing. */
static enum ending judge(const struct stream *s, int framing_complete) {
    int marker = tail_has(s, "[DONE]") || tail_has(s, "message_stop") || tail_has(s, "\"done\":true");
    if (s->status != 200) return REFUSED;
    if (tail_has(s, "\"error\"")) return EXPLICIT_ERROR;
    if (marker && s->got == run.chunks) return CLEAN;
    return marker && framing_complete ? FALSE_CLEAN : TRUNCATED;
}

static size_t head_feed(struct stream *s, const char *p, size_t n) {
    size_t room = sizeof s->head - s->head_len, take = n < room ? n : room, before = s->head_len;
    memcpy(s->head + before, p, take);
    s->head_len += take;
    size_t head = http_head_length(s->head, s->head_len);
    if (!head) return take;
    const char *length = http_header(s->head, head, "content-length");
    s->status = atoi(s->head + 9);
    s->chunked_body = http_header(s->head, head, "transfer-encoding") != NULL;
    s->body_left = length ? strtoul(length, NULL, 10) : SIZE_MAX;
    return head - before;
}

static void body_feed(struct stream *s, const char *p, size_t n, uint64_t now) {
    if (!s->chunked_body) {
        scan(s, p, n, now);
        s->body_left -= n < s->body_left ? n : s->body_left;
        if (s->body_left == 0) stream_end(s, judge(s, 1));
        return;
    }
    while (n && s->chunked.state < CHUNK_DONE) {
        const char *data;
        size_t length, used = chunked_feed(&s->chunked, p, n, &data, &length);
        if (length) scan(s, data, length, now);
        p += used;
        n -= used;
    }
    if (s->chunked.state >= CHUNK_DONE) stream_end(s, judge(s, s->chunked.state == CHUNK_DONE));
}

static void stream_read(struct stream *s, char *buffer) {
    if (s->ending != RUNNING) return;
    ssize_t r = recv(s->fd, buffer, BUFFER, 0);
    if (r < 0 && errno == EAGAIN) return;
    uint64_t now = now_ns();
    if (r <= 0) {
        stream_end(s, judge(s, !s->chunked_body && s->status == 200));
        return;
    }
    size_t used = s->status ? 0 : head_feed(s, buffer, (size_t)r);
    if (s->status && (size_t)r > used) body_feed(s, buffer + used, (size_t)r - used, now);
    if (!s->status && s->head_len == sizeof s->head) stream_end(s, TRUNCATED);
    if (run.abandon_after && s->got >= run.abandon_after) stream_end(s, ABANDONED);
}

static void stream_start(struct stream *s) {
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
    s->started = now_ns();
    run.last_start = s->started;
    if (send(s->fd, run.request, run.request_len, MSG_NOSIGNAL) != (ssize_t)run.request_len) {
        stream_end(s, TRUNCATED);
        return;
    }
    epoll_ctl(run.epoll_fd, EPOLL_CTL_ADD, s->fd, &e);
}

static int by_start(const void *a, const void *b) {
    const struct stream *x = a, *y = b;
    return x->start_at < y->start_at ? -1 : x->start_at > y->start_at;
}

static struct stream *open_streams(uint64_t ramp) {
    struct stream *all = calloc((size_t)run.streams, sizeof *all);
    uint64_t seed = 88172645463325252ull;
    if (!all) die("calloc");
    for (long i = 0; i < run.streams; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        all[i].start_at = ramp ? seed % ramp : 0;
        all[i].digits = -1;
        all[i].fd = connect_loopback(run.port, 0);
        if (all[i].fd < 0) die("connect");
        run.open++;
        if (i % 64 == 63) usleep(2000);
    }
    qsort(all, (size_t)run.streams, sizeof *all, by_start);
    uint64_t from = now_ns() + 20000000ull;
    for (long i = 0; i < run.streams; i++) all[i].start_at += from;
    return all;
}

static void open_slow_readers(long n) {
    for (long i = 0; i < n; i++) {
        int fd = connect_loopback(run.port, 16384);
        if (fd < 0 || send(fd, run.slow_request, run.slow_request_len, MSG_NOSIGNAL) < 0) die("slow reader");
    }
}

static void pump(struct stream *all, uint64_t deadline) {
    static char buffer[BUFFER];
    struct epoll_event events[512], tick = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    long next = 0;
    epoll_ctl(run.epoll_fd, EPOLL_CTL_ADD, run.timer_fd, &tick);
    while (run.open && now_ns() < deadline) {
        while (next < run.streams && all[next].start_at <= now_ns()) stream_start(&all[next++]);
        if (next < run.streams) arm_timer(run.timer_fd, all[next].start_at);
        int n = epoll_wait(run.epoll_fd, events, 512, 100);
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr) stream_read(events[i].data.ptr, buffer);
    }
}

static void report(const struct stream *all) {
    long endings[ENDINGS] = {0}, statuses[600] = {0}, expected = run.streams * run.chunks;
    for (long i = 0; i < run.streams; i++) {
        endings[all[i].ending]++;
        statuses[all[i].status > 0 && all[i].status < 600 ? all[i].status : 0]++;
    }
    printf("{\"streams\":%ld,\"expected_chunks\":%ld,\"received_chunks\":%lu,\"on_time\":%.6f,\"delivered\":%.6f,"
           "\"body_bytes\":%lu,\"plateau_ns\":[%lu,%lu],",
           run.streams, expected, run.received, (double)run.on_time / (double)expected,
           (double)run.received / (double)expected, run.bytes, run.last_start, run.first_end);
    print_samples("ttft_us", &run.first);
    printf(",");
    print_samples("lateness_us", &run.late);
    printf(",");
    print_samples("stub_drift_us", &run.drift);
    for (int i = 0; i < ENDINGS; i++) printf("%s\"%s\":%ld", i ? "," : ",\"endings\":{", ending_names[i], endings[i]);
    printf("},\"statuses\":{");
    const char *comma = "";
    for (int i = 0; i < 600; i++) {
        if (statuses[i]) printf("%s\"%d\":%ld", comma, i, statuses[i]), comma = ",";
    }
    printf("}}\n");
}

int main(int argc, char **argv) {
    long seconds = option_number(argc, argv, "--seconds", 30), slow = option_number(argc, argv, "--slow-readers", 0);
    run.port = (int)option_number(argc, argv, "--port", 0);
    run.streams = option_number(argc, argv, "--streams", 100);
    run.chunks = option_number(argc, argv, "--chunks", 100);
    run.interval = (uint64_t)option_number(argc, argv, "--interval-ms", 50) * 1000000ull;
    run.abandon_after = option_number(argc, argv, "--abandon-after", 0);
    run.request = read_file(option(argc, argv, "--request", NULL), &run.request_len);
    if (slow) run.slow_request = read_file(option(argc, argv, "--slow-request", NULL), &run.slow_request_len);
    run.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    run.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    bound_lifetime((unsigned)seconds + 60);
    samples_reserve(&run.first, (size_t)run.streams);
    samples_reserve(&run.late, (size_t)(run.streams * run.chunks));
    samples_reserve(&run.drift, (size_t)(run.streams * run.chunks));
    open_slow_readers(slow);
    struct stream *all = open_streams((uint64_t)option_number(argc, argv, "--ramp-ms", 1000) * 1000000ull);
    pump(all, now_ns() + (uint64_t)seconds * 1000000000ull);
    report(all);
    return 0;
}
