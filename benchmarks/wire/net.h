/* Clock, sockets, command line and percentiles shared by the stub and the load generators. Loopback only. */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static inline void die(const char *what) {
    perror(what);
    exit(2);
}

/* A harness that dies must not leave load behind: stop with the parent, and in any case after `seconds`. */
static inline void bound_lifetime(unsigned seconds) {
    struct rlimit files;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    alarm(seconds);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static inline void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) | O_NONBLOCK); }

static inline void set_nodelay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

/* Connected, non-blocking socket or -1. receive_buffer 0 leaves the kernel's default. */
static inline int connect_loopback(int port, int receive_buffer) {
    struct sockaddr_in a = loopback(port);
    struct timeval limit = {.tv_sec = 5};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (receive_buffer) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        close(fd);
        return -1;
    }
    set_nodelay(fd);
    set_nonblocking(fd);
    return fd;
}

static inline void arm_timer(int timer, uint64_t at_ns) {
    struct itimerspec t = {0};
    t.it_value.tv_sec = (time_t)(at_ns / 1000000000ull);
    t.it_value.tv_nsec = (long)(at_ns % 1000000000ull);
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL);
}

/* Value of "--name value" on the command line, or the default. */
static inline const char *option(int argc, char **argv, const char *name, const char *fallback) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0) return argv[i + 1];
    return fallback;
}

static inline long option_number(int argc, char **argv, const char *name, long fallback) {
    const char *v = option(argc, argv, name, NULL);
    return v ? strtol(v, NULL, 10) : fallback;
}

static inline char *read_file(const char *path, size_t *length) {
    FILE *f = path ? fopen(path, "rb") : NULL;
    if (!f) die("open request file");
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    char *data = malloc((size_t)size + 1);
    if (!data || fread(data, 1, (size_t)size, f) != (size_t)size) die("read request file");
    fclose(f);
    *length = (size_t)size;
    return data;
}

/* Durations in nanoseconds, kept whole so that percentiles are exact. */
struct samples {
    int64_t *ns;
    size_t count, capacity;
};

static inline void samples_reserve(struct samples *s, size_t capacity) {
    s->ns = malloc(sizeof *s->ns * (capacity ? capacity : 1));
    if (!s->ns) die("malloc");
    s->count = 0;
    s->capacity = capacity;
}

static inline void samples_add(struct samples *s, int64_t ns) {
    if (s->count < s->capacity) s->ns[s->count++] = ns;
}

static inline int compare_ns(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Writes "name":{"p50":..,"p90":..,"p99":..,"max":..,"mean":..,"count":n} in microseconds. */
static inline void print_samples(const char *name, struct samples *s) {
    double sum = 0;
    qsort(s->ns, s->count, sizeof *s->ns, compare_ns);
    for (size_t i = 0; i < s->count; i++) sum += (double)s->ns[i];
    size_t n = s->count;
    double us[4] = {0};
    if (n) {
        const double at[4] = {0.50, 0.90, 0.99, 1.0};
        for (int i = 0; i < 4; i++) us[i] = (double)s->ns[(size_t)(at[i] * (double)(n - 1))] / 1000.0;
    }
    printf("\"%s\":{\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"max\":%.2f,\"mean\":%.3f,\"count\":%zu}", name, us[0], us[1],
           us[2], us[3], n ? sum / (double)n / 1000.0 : 0.0, n);
}

#endif
