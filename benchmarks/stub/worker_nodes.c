/* Worker nodes that do nothing: every POST is a task and is answered at once with its result.
 *
 *   worker_nodes --nodes 100 --seconds 600
 *
 * Listens on as many loopback ports as there are nodes, prints them in one line, and ends by itself. A GET on any of the
 * ports answers with {"tasks":N,"first_ns":T,"last_ns":T}: the tasks since the last GET and, in CLOCK_MONOTONIC, when the
 * first and the last of them came. Answers are complete before the next request of a connection is read.
 */
#include <sys/epoll.h>

#include "../wire/http.h"
#include "../wire/net.h"

#define BUFFER 16384

static const char RESULT[] = "{\"status\":\"completed\",\"result_data\":{\"ok\":true}}";

struct connection {
    int fd, listens;
    size_t in_len;
    char in[BUFFER];
};

static struct {
    int epoll_fd;
    unsigned long tasks;
    uint64_t first_ns, last_ns;
} run;

static void watch(struct connection *c) {
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(run.epoll_fd, EPOLL_CTL_ADD, c->fd, &e) != 0) die("epoll_ctl");
}

static int listen_anywhere(void) {
    struct sockaddr_in a = loopback(0);
    socklen_t length = sizeof a;
    struct connection *c = calloc(1, sizeof *c);
    if (!c) die("calloc");
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    c->listens = 1;
    if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(c->fd, 512) != 0) die("listen");
    if (getsockname(c->fd, (struct sockaddr *)&a, &length) != 0) die("getsockname");
    watch(c);
    return ntohs(a.sin_port);
}

static void take_connections(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        if (!c) die("calloc");
        set_nodelay(fd);
        c->fd = fd;
        watch(c);
    }
}

static void close_connection(struct connection *c) {
    close(c->fd);
    free(c);
}

/* Answers are far smaller than a socket's buffer: one that does not go out whole ends the connection. */
static int send_answer(struct connection *c, const char *body, size_t length) {
    char out[512];
    int n = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%.*s",
                     length, (int)length, body);
    return send(c->fd, out, (size_t)n, MSG_NOSIGNAL) == n;
}

static int answer(struct connection *c) {
    if (memcmp(c->in, "GET ", 4) == 0) {
        char body[160];
        int n = snprintf(body, sizeof body, "{\"tasks\":%lu,\"first_ns\":%llu,\"last_ns\":%llu}", run.tasks,
                         (unsigned long long)run.first_ns, (unsigned long long)run.last_ns);
        run.tasks = 0;
        run.first_ns = run.last_ns = 0;
        return send_answer(c, body, (size_t)n);
    }
    run.last_ns = now_ns();
    if (run.tasks++ == 0) run.first_ns = run.last_ns;
    return send_answer(c, RESULT, sizeof RESULT - 1);
}

/* False when the connection is over. */
static int feed(struct connection *c) {
    ssize_t r = recv(c->fd, c->in + c->in_len, BUFFER - c->in_len, 0);
    if (r < 0 && errno == EAGAIN) return 1;
    if (r <= 0) return 0;
    c->in_len += (size_t)r;
    for (;;) {
        size_t head = http_head_length(c->in, c->in_len);
        if (!head) return c->in_len < BUFFER;
        const char *length = http_header(c->in, head, "content-length");
        size_t whole = head + (length ? strtoul(length, NULL, 10) : 0);
        if (whole > BUFFER) return 0;
        if (c->in_len < whole) return 1;
        if (!answer(c)) return 0;
        c->in_len -= whole;
        memmove(c->in, c->in + whole, c->in_len);
    }
}

int main(int argc, char **argv) {
    struct epoll_event events[512];
    long nodes = option_number(argc, argv, "--nodes", 1);
    bound_lifetime((unsigned)option_number(argc, argv, "--seconds", 600));
    run.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (long i = 0; i < nodes; i++) printf("%d%s", listen_anywhere(), i + 1 < nodes ? " " : "\n");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(run.epoll_fd, events, 512, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->listens)
                take_connections(c->fd);
            else if (!feed(c))
                close_connection(c);
        }
    }
}
