/* The bytes a model server would send, rendered once at start. */
#ifndef BENCH_ANSWERS_H
#define BENCH_ANSWERS_H

#include <stdio.h>
#include <string.h>

#define ANSWER_BODY 433 /* bytes of a non-streaming answer */
#define STAMP_DIGITS 20 /* a chunk's content is "@" + CLOCK_MONOTONIC in ns, this many digits, and a word */

struct page {
    char bytes[2048];
    size_t length;
};

static inline void page_wrap(struct page *p, const char *status, const char *type, const char *body) {
    p->length = (size_t)snprintf(p->bytes, sizeof p->bytes,
                                 "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", status, type,
                                 strlen(body), body);
}

/* An answer of exactly ANSWER_BODY bytes: head + "stub-answer" + filler + tail. */
static inline void page_answer(struct page *p, const char *type, const char *head, const char *tail) {
    char body[ANSWER_BODY + 1];
    size_t used = (size_t)snprintf(body, sizeof body, "%sstub-answer ", head), rest = strlen(tail);
    memset(body + used, 'x', ANSWER_BODY - used - rest);
    memcpy(body + ANSWER_BODY - rest, tail, rest + 1);
    page_wrap(p, "200 OK", type, body);
}

static inline void page_chat(struct page *p) {
    page_answer(p, "application/json",
                "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\","
                "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"",
                "\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
                "\"usage\":{\"prompt_tokens\":24,\"completion_tokens\":32,\"total_tokens\":56}}");
}

static inline void page_messages(struct page *p) {
    page_answer(p, "application/json",
                "{\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench\","
                "\"content\":[{\"type\":\"text\",\"text\":\"",
                "\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,"
                "\"usage\":{\"input_tokens\":24,\"output_tokens\":32}}");
}

static inline void page_ollama(struct page *p) {
    page_answer(p, "application/x-ndjson",
                "{\"model\":\"bench\",\"created_at\":\"2025-01-01T00:00:00Z\",\"message\":{\"role\":\"assistant\","
                "\"content\":\"",
                "\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":1000000,\"prompt_eval_count\":24,"
                "\"eval_count\":32}\n");
}

static inline void page_models(struct page *p) {
    page_wrap(p, "200 OK", "application/json",
              "{\"object\":\"list\",\"data\":[{\"id\":\"bench\",\"object\":\"model\",\"created\":1700000000,"
              "\"owned_by\":\"bench\"},{\"id\":\"bench-flaky\",\"object\":\"model\",\"created\":1700000000,"
              "\"owned_by\":\"bench\"}]}");
}

/* One SSE event in chunked framing, with the offset of the stamp so that sending is a copy and 20 digits. */
struct event {
    char bytes[512];
    size_t length, stamp;
};

static inline void event_frame(struct event *e, const char *payload) {
    e->length = (size_t)snprintf(e->bytes, sizeof e->bytes, "%zx\r\ndata: %s\n\n\r\n", strlen(payload) + 8, payload);
    const char *at = strchr(e->bytes, '@');
    e->stamp = at ? (size_t)(at - e->bytes) + 1 : 0;
}

static inline void event_token(struct event *e, const char *role) {
    char payload[400];
    snprintf(payload, sizeof payload,
             "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\","
             "\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\"@%020d word \"},\"finish_reason\":null}]}",
             role, 0);
    event_frame(e, payload);
}

static inline void event_end(struct page *p) {
    static const char *payloads[] = {
        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\","
        "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\","
        "\"choices\":[],\"usage\":{\"prompt_tokens\":24,\"completion_tokens\":100,\"total_tokens\":124}}",
        "[DONE]"};
    struct event e;
    p->length = 0;
    for (size_t i = 0; i < 3; i++) {
        event_frame(&e, payloads[i]);
        memcpy(p->bytes + p->length, e.bytes, e.length);
        p->length += e.length;
    }
    memcpy(p->bytes + p->length, "0\r\n\r\n", 5);
    p->length += 5;
}

#endif
