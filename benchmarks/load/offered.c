/* Tasks at a fixed rate, whatever becomes of the earlier ones: how long until each is acknowledged, and until the service
 * tells of its durable result.
 *
 *   offered --port P --request FILE --events FILE [--rate 1000] [--count 10000] [--connections 64]
 *
 * FILE holds a request as it goes over the wire; in the task's the first run of eight '#' becomes its number, and the
 * text before it, from the last quotation mark on, is looked for in the stream of events that the other request opens.
 * Both times begin when the task was due, so a service or a generator that falls behind shows in them; `late_us` is the
 * generator's own part. A task that finds all connections busy gets a new one. Prints one JSON object.
 */
#include <sys/epoll.h>

#include "../wire/http.h"
#include "../wire/net.h"

#define BUFFER 65536
#define DIGITS 8
#define MOST_CONNECTIONS 4096
#define GRACE_NS 10000000000ull

struct client {
    int fd;
    long number; /* of the task that it waits for */
    size_t in_len;
    char in[BUFFER];
};

static struct {
    int port, epoll_fd, timer;
    char *request;
    const char *mark; /* what stands before a number in an event */
    size_t request_len, number_at, mark_len;
    long count, sent, acked, done, failed, opened;
    uint64_t first_due, interval;
    struct client *free[MOST_CONNECTIONS], *events;
    long free_count;
    struct samples ack, result, late;
} run;

static uint64_t due(long number) { return run.first_due + (uint64_t)number * run.interval; }

static struct client *client_open(void) {
    struct client *c = calloc(1, sizeof *c);
    if (!c) die("calloc");
    c->fd = connect_loopback(run.port, 0);
    if (c->fd < 0) die("connect");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(run.epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
    run.opened++;
    return c;
}

static void offer(void) {
    struct client *c = run.free_count ? run.free[--run.free_count] : client_open();
    long number = run.sent++;
    char digits[24];
    snprintf(digits, sizeof digits, "%08ld", number);
    memcpy(run.request + run.number_at, digits, DIGITS);
    c->number = number;
    c->in_len = 0;
    samples_add(&run.late, (int64_t)(now_ns() - due(number)));
    if (send(c->fd, run.request, run.request_len, MSG_NOSIGNAL) != (ssize_t)run.request_len) die("send");
}

static void offer_all_due(void) {
    while (run.sent < run.count && now_ns() >= due(run.sent)) offer();
    if (run.sent < run.count) arm_timer(run.timer, due(run.sent));
}

static void answered(struct client *c) {
    ssize_t r = recv(c->fd, c->in + c->in_len, BUFFER - c->in_len, 0);
    if (r < 0 && errno == EAGAIN) return;
    if (r <= 0) die("the service closed a connection");
    c->in_len += (size_t)r;
    size_t head = http_head_length(c->in, c->in_len);
    const char *length = head ? http_header(c->in, head, "content-length") : NULL;
    if (!head || c->in_len < head + (length ? strtoul(length, NULL, 10) : 0)) return;
    if (atoi(c->in + 9) == 200) {
        run.acked++;
        samples_add(&run.ack, (int64_t)(now_ns() - due(c->number)));
    } else {
        run.failed++;
    }
    if (run.free_count == MOST_CONNECTIONS) die("too many connections");
    run.free[run.free_count++] = c;
}

/* Events are small and written whole; what is left of the buffer's end is kept for the next piece all the same. */
static void told(struct client *c) {
    ssize_t r = recv(c->fd, c->in + c->in_len, BUFFER - c->in_len, 0);
    if (r < 0 && errno == EAGAIN) return;
    if (r <= 0) die("the service closed the events");
    c->in_len += (size_t)r;
    char *p = c->in, *end = c->in + c->in_len, *found;
    size_t whole = run.mark_len + DIGITS;
    while ((found = memmem(p, (size_t)(end - p), run.mark, run.mark_len)) && found + whole <= end) {
        long number = strtol(found + run.mark_len, NULL, 10);
        if (number < run.sent) samples_add(&run.result, (int64_t)(now_ns() - due(number)));
        run.done++;
        p = found + whole;
    }
    if ((size_t)(end - p) >= whole) p = end - whole + 1;
    c->in_len = (size_t)(end - p);
    memmove(c->in, p, c->in_len);
}

static void read_request(const char *path) {
    run.request = read_file(path, &run.request_len);
    char *mark = memmem(run.request, run.request_len, "########", DIGITS);
    if (!mark) die("the request needs ########");
    char *begin = mark;
    while (begin > run.request && begin[-1] != '"') begin--;
    run.number_at = (size_t)(mark - run.request);
    run.mark_len = (size_t)(mark - begin);
    run.mark = strndup(begin, run.mark_len);
    if (run.mark_len == 0) die("the number needs a text before it");
}

static void follow_events(const char *path) {
    size_t length;
    char *request = read_file(path, &length);
    run.events = client_open();
    if (send(run.events->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length) die("send");
    free(request);
    for (int i = 0; i < 500; i++) { /* until the stream is open: no event may be missed */
        ssize_t r = recv(run.events->fd, run.events->in, BUFFER, 0);
        if (r > 12 && atoi(run.events->in + 9) == 200) return;
        if (r > 0) break;
        usleep(10000);
    }
    die("the events did not open");
}

static void report(void) {
    printf("{\"sent\":%ld,\"acked\":%ld,\"done\":%ld,\"failed\":%ld,\"connections\":%ld,", run.sent, run.acked, run.done,
           run.failed, run.opened - 1);
    print_samples("ack_us", &run.ack);
    printf(",");
    print_samples("result_us", &run.result);
    printf(",");
    print_samples("late_us", &run.late);
    printf("}\n");
}

int main(int argc, char **argv) {
    struct epoll_event found[256];
    struct client timer = {.fd = -1};
    run.port = (int)option_number(argc, argv, "--port", 0);
    run.count = option_number(argc, argv, "--count", 10000);
    run.interval = 1000000000ull / (uint64_t)option_number(argc, argv, "--rate", 1000);
    long connections = option_number(argc, argv, "--connections", 64);
    bound_lifetime((unsigned)((uint64_t)run.count * run.interval / 1000000000ull) + 60);
    read_request(option(argc, argv, "--request", NULL));
    samples_reserve(&run.ack, (size_t)run.count);
    samples_reserve(&run.result, (size_t)run.count);
    samples_reserve(&run.late, (size_t)run.count);
    run.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    follow_events(option(argc, argv, "--events", NULL));
    for (long i = 0; i < connections && i < MOST_CONNECTIONS; i++) run.free[run.free_count++] = client_open();
    run.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &timer};
    epoll_ctl(run.epoll_fd, EPOLL_CTL_ADD, run.timer, &e);
    run.first_due = now_ns() + 10000000;
    uint64_t over = due(run.count) + GRACE_NS;
    arm_timer(run.timer, run.first_due);
    while ((run.acked + run.failed < run.count || run.done < run.acked) && now_ns() < over) {
        int n = epoll_wait(run.epoll_fd, found, 256, 100);
        for (int i = 0; i < n; i++) {
            uint64_t rings;
            if (found[i].data.ptr == &timer) {
                if (read(run.timer, &rings, sizeof rings) > 0) offer_all_due();
            } else if (found[i].data.ptr == run.events) {
                told(run.events);
            } else {
                answered(found[i].data.ptr);
            }
        }
    }
    report();
    return 0;
}
