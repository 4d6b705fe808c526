/* HTTP/1.1 framing shared by the stub and the load generators: just enough to be strict about where a message ends. */
#ifndef BENCH_HTTP_H
#define BENCH_HTTP_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Length of the head including the blank line, 0 when it is not complete yet. */
static inline size_t http_head_length(const char *p, size_t n) {
    const char *end = memmem(p, n, "\r\n\r\n", 4);
    return end ? (size_t)(end - p) + 4 : 0;
}

/* Value of a header inside a complete head (name in lower case, without the colon), or NULL; leading blanks are skipped. */
static inline const char *http_header(const char *head, size_t n, const char *name) {
    size_t len = strlen(name);
    const char *end = head + n, *line = memchr(head, '\n', n);
    while (line && ++line + len + 1 < end) {
        if (line[len] == ':' && (line[0] | 0x20) == name[0] && strncasecmp(line, name, len) == 0) {
            line += len + 1;
            while (*line == ' ' || *line == '\t') line++;
            return line;
        }
        line = memchr(line, '\n', (size_t)(end - line));
    }
    return NULL;
}

enum chunked_state { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER, CHUNK_DONE, CHUNK_BAD };

struct chunked {
    enum chunked_state state;
    size_t left;      /* size being read, then the bytes of the chunk that are still to come */
    size_t line;      /* characters seen in the present trailer line */
};

static inline int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of framing. */
static inline void chunked_byte(struct chunked *d, char c) {
    switch (d->state) {
    case CHUNK_SIZE:
        if (hex_digit(c) >= 0) {
            d->left = d->left * 16 + (size_t)hex_digit(c);
            break;
        }
        d->state = CHUNK_EXTENSION; /* fall through */
    case CHUNK_EXTENSION:
        if (c == '\n') {
            d->state = d->left ? CHUNK_DATA : CHUNK_TRAILER;
            d->line = 0;
        }
        break;
    case CHUNK_DATA_END:
        if (c == '\n') {
            d->state = CHUNK_SIZE;
            d->left = 0;
        } else if (c != '\r') {
            d->state = CHUNK_BAD;
        }
        break;
    case CHUNK_TRAILER:
        if (c == '\n') {
            if (d->line == 0) d->state = CHUNK_DONE;
            d->line = 0;
        } else if (c != '\r') {
            d->line++;
        }
        break;
    default:
        break;
    }
}

/* Consumes up to one run of payload; returns the bytes consumed and points data/length at the run (length 0: none). */
static inline size_t chunked_feed(struct chunked *d, const char *p, size_t n, const char **data, size_t *length) {
    size_t i = 0;
    *length = 0;
    while (i < n && d->state != CHUNK_DONE && d->state != CHUNK_BAD) {
        if (d->state != CHUNK_DATA) {
            chunked_byte(d, p[i++]);
            continue;
        }
        size_t take = n - i < d->left ? n - i : d->left;
        *data = p + i;
        *length = take;
        d->left -= take;
        if (d->left == 0) d->state = CHUNK_DATA_END;
        return i + take;
    }
    return i;
}

#endif
