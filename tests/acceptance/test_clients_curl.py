"""What people type: curl lines, with what curl sends by itself, and what the answers look like on the wire."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest
from live_fleet import LiveFleet

CHAT = {"messages": [{"role": "user", "content": "say 4 words"}]}
JSON = ("-H", "Content-Type: application/json")


@dataclass(frozen=True)
class Reply:
    """`headers` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def events(self) -> list[str]:
        """The data of server-sent events."""
        text = self.body.decode()
        assert text.endswith("\n\n")
        return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


def curl(url: str, *arguments: str) -> Reply:
    command = ["curl", "-sS", "-i", "--noproxy", "*", "--max-time", "30", *arguments, url]
    output = subprocess.run(command, capture_output=True, check=True, timeout=40).stdout
    head, _, body = output.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]), headers, body)


class Curl:
    """curl with the fleet's address and key."""

    def __init__(self, fleet: LiveFleet) -> None:
        self._url = fleet.url
        self._key = f"Authorization: {fleet.bearer['Authorization']}"

    def get(self, path: str, *arguments: str) -> Reply:
        return curl(self._url + path, "-H", self._key, *arguments)

    def post(self, path: str, body: Any, *arguments: str) -> Reply:
        """As `curl -d` sends it: with the content type of a form, unless `arguments` say otherwise."""
        text = body if isinstance(body, str) else json.dumps(body)
        return curl(self._url + path, "-H", self._key, "-d", text, *arguments)


@pytest.fixture
def http(fleet: LiveFleet) -> Curl:
    return Curl(fleet)


def test_health_is_open_to_everybody(fleet: LiveFleet) -> None:
    health = curl(f"{fleet.url}/health").json
    assert health["status"] == "ok"
    assert health["uptime"] > 0
    assert health["timestamp"]
    fields = health["orchestrator"]
    assert fields.keys() >= {"totalServers", "healthyServers", "totalModels", "inFlightRequests", "circuitBreakers"}
    assert fields["totalServers"] == fields["healthyServers"] == 5
    assert curl(f"{fleet.url}/health/live").json == {"status": "ok"}
    ready = curl(f"{fleet.url}/health/ready")
    assert ready.status == 200
    assert (ready.json["status"], ready.json["healthyServers"]) == ("ready", 5)
    assert curl(f"{fleet.url}/ready").status == 200


def test_tags_merge_the_fleet_and_name_the_servers(http: Curl) -> None:
    rows = http.get("/api/tags").json["models"]
    by_name = {row["name"]: row for row in rows}
    assert len(by_name) == len(rows)
    assert set(by_name["shared:latest"]["servers"]) == {"ollama-1", "openai-1"}
    assert by_name["tiny-a"]["servers"] == ["llamacpp-tiny-a"]
    assert by_name["llama3:latest"]["details"]["quantization_level"] == "Q4_K_M"  # as the node said


def test_ps_names_the_server_of_each_row(http: Curl) -> None:
    http.post("/api/generate", {"model": "llama3", "prompt": ""})
    rows = {row["name"]: row["server"] for row in http.get("/api/ps").json["models"]}
    assert rows["llama3:latest"] == "ollama-1"
    assert rows["tiny-a"] == "llamacpp-tiny-a"


def test_version_is_one_that_ollamas_clients_accept(http: Curl) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", http.get("/api/version").json["version"])


@pytest.mark.parametrize("header", [(), JSON, ("-H", "Content-Type: text/plain"), ("-H", "Content-Type:")])
def test_a_body_needs_no_json_content_type(http: Curl, header: tuple[str, ...]) -> None:
    reply = http.post("/api/generate", {"model": "llama3", "prompt": "Hello", "stream": False}, *header)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.json["response"] == "echo: Hello"
    assert reply.json["model"] == "llama3"


def test_a_body_in_chunks_is_read(http: Curl) -> None:
    body = {"model": "llama3", "prompt": "Hello", "stream": False}
    assert http.post("/api/generate", body, "-H", "Transfer-Encoding: chunked").json["response"] == "echo: Hello"


@pytest.mark.parametrize("name", ["llama3", "gpt-fake", "claude-fake", "tiny-a"])
def test_ollama_streams_ndjson_when_nothing_is_said(http: Curl, name: str) -> None:
    for path, body in (("/api/generate", {"prompt": "say 4 words"}), ("/api/chat", CHAT)):
        reply = http.post(path, {"model": name, "options": {"num_predict": 4, "seed": 11}, **body})
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/x-ndjson"
        assert len(reply.lines) > 2
        assert [line["done"] for line in reply.lines] == [False] * (len(reply.lines) - 1) + [True]
        assert {line["model"] for line in reply.lines} == {name}


def test_a_stream_has_the_bytes_of_its_node(fleet: LiveFleet, http: Curl) -> None:
    def without_times(reply: Reply) -> bytes:
        return re.sub(rb'"created_at":"[^"]*"', b"", reply.body)

    body = {"model": "llama3", **CHAT, "stream": True}
    direct = curl(f"{fleet.fake('ollama').url}/api/chat", "-d", json.dumps(body))
    assert without_times(http.post("/api/chat", body)) == without_times(direct)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("name", ["llama3", "gpt-fake", "claude-fake", "tiny-a"])
@pytest.mark.parametrize("query", ["", "?debug=true"])
def test_openai_streams_events_to_the_done_marker(http: Curl, path: str, name: str, query: str) -> None:
    body = {"model": name, "max_tokens": 4, "seed": 11, "stream": True}
    body |= CHAT if "chat" in path else {"prompt": "say 4 words"}
    reply = http.post(path + query, body, *JSON)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    *events, last = [event for event in reply.events if not event.startswith('{"debug"')]
    assert last == "[DONE]"
    assert len(events) > 2
    assert all(json.loads(event)["object"] in ("chat.completion.chunk", "text_completion") for event in events)


@pytest.mark.parametrize("name", ["llama3", "gpt-fake", "claude-fake", "tiny-a"])
def test_anthropic_streams_named_events(http: Curl, name: str) -> None:
    reply = http.post("/v1/messages", {"model": name, "max_tokens": 4, "stream": True, **CHAT}, *JSON)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    names = [line.removeprefix("event: ") for line in reply.body.decode().splitlines() if line.startswith("event: ")]
    assert names[0] == "message_start"
    assert names[-1] == "message_stop"
    assert [json.loads(event)["type"] for event in reply.events] == names


def test_what_is_missing_is_named(http: Curl) -> None:
    assert http.post("/api/generate", {"prompt": "Hello"}).json == {"error": "model is required"}
    for path, body in (
        ("/api/generate", {"prompt": "Hello"}),
        ("/api/chat", CHAT),
        ("/api/embed", {"input": "Hello"}),
        ("/api/show", {}),
    ):
        reply = http.post(path, body)
        assert reply.status == 400, path
        assert reply.json["error"] == "model is required"
    reply = http.post("/v1/chat/completions", {"model": "llama3"}, *JSON)
    assert reply.status == 400
    assert reply.json["error"].items() >= {"type": "invalid_request_error", "param": "messages"}.items()
    assert reply.json["error"]["code"] == "missing_required_parameter"


def test_bad_json_is_the_clients_fault_in_its_own_dialect(http: Curl) -> None:
    for path in ("/api/chat", "/v1/chat/completions", "/v1/messages", "/v1/embeddings"):
        for text in ('{"model": "llama3", ', "not json", "[]", '"text"'):
            reply = http.post(path, text)
            assert reply.status == 400, (path, text)
            assert reply.json["error"], (path, text)


def test_an_unknown_model_is_named_in_each_dialect(http: Curl) -> None:
    reply = http.post("/api/generate", {"model": "nope", "prompt": "Hello"})
    assert reply.status == 404
    assert "nope" in reply.json["error"]
    reply = http.post("/v1/chat/completions", {"model": "nope", **CHAT}, *JSON)
    assert reply.status == 404
    assert reply.json["error"]["code"] == "model_not_found"
    reply = http.post("/v1/messages", {"model": "nope", "max_tokens": 4, **CHAT}, *JSON)
    assert reply.status == 404
    assert reply.json["error"]["type"] == "not_found_error"
    reply = http.get("/v1/models/nope")
    assert reply.status == 404
    assert reply.json["error"].items() >= {"param": "model", "code": "model_not_found"}.items()


def test_an_unknown_path_is_not_found(http: Curl) -> None:
    for path in ("/api/nothing", "/v1/nothing", "/nothing"):
        reply = http.get(path)
        assert reply.status == 404, path
        assert reply.json["error"]


def test_load_and_unload_by_empty_prompt(fleet: LiveFleet, http: Curl) -> None:
    loaded = http.post("/api/generate", {"model": "llama3", "prompt": ""})
    assert (loaded.status, loaded.json["done_reason"]) == (200, "load")
    assert fleet.fake("ollama").loaded() == ["llama3:latest"]
    unloaded = http.post("/api/generate", {"model": "llama3", "prompt": "", "keep_alive": 0})
    assert (unloaded.status, unloaded.json["done_reason"]) == (200, "unload")
    assert fleet.fake("ollama").loaded() == []
    assert http.post("/api/chat", {"model": "llama3", "messages": []}).json["done_reason"] == "load"


def test_show_takes_model_and_name(http: Curl) -> None:
    for field in ("model", "name"):
        shown = http.post("/api/show", {field: "llama3"})
        assert shown.status == 200
        assert shown.json["details"]["family"] == "llama"


def test_both_forms_of_embedding(http: Curl) -> None:
    one = http.post("/api/embeddings", {"model": "nomic-embed-text", "prompt": "Hello"})
    many = http.post("/api/embed", {"model": "nomic-embed-text", "input": ["Hello", "you"]})
    assert (one.status, many.status) == (200, 200)
    assert many.json["embeddings"][0] == one.json["embedding"]
    assert len(many.json["embeddings"]) == 2


def test_the_library_is_not_changed_by_default(http: Curl) -> None:
    for path in ("/api/pull", "/api/push", "/api/create", "/api/copy"):
        reply = http.post(path, {"model": "llama3", "source": "llama3", "destination": "other"})
        assert reply.status == 400, path
        assert "pull_enabled" in reply.json["error"], path
    assert http.post("/api/delete", {"model": "llama3"}, "-X", "DELETE").status == 400


@pytest.mark.parametrize("broken", ["ollama", "openai"])
def test_another_node_answers_and_the_trace_says_so(fleet: LiveFleet, http: Curl, broken: str) -> None:
    fleet.fake(broken).mode("status", status=500, model="shared" if broken == "ollama" else "shared:latest")
    body = {"model": "shared", **CHAT, "stream": False}
    for _ in range(6):
        reply = http.post("/api/chat?debug=true", body, "-H", "X-Placement-Policy: round_robin")
        assert reply.status == 200
        assert reply.json["message"]["content"] == "echo: say 4 words"
        debug = reply.json["debug"]
        other = "openai-1" if broken == "ollama" else "ollama-1"
        assert debug["selectedServerId"] == other
        if debug["failoverOccurred"]:
            assert debug["serversTried"] == [f"{broken}-1", other]
            assert reply.headers["x-failover-occurred"] == "1"
            assert reply.headers["x-servers-tried"] == f"{broken}-1,{other}"
            return
    raise AssertionError(f"{broken}-1 was never tried")


def test_a_request_to_one_node_goes_to_it_alone(http: Curl) -> None:
    for node in ("ollama-1", "openai-1"):
        for _ in range(3):
            reply = http.post(f"/api/chat--{node}", {"model": "shared:latest", **CHAT})
            assert reply.status == 200
            assert reply.lines[-1]["done"] is True  # complete, although nothing was said of streaming
            assert reply.headers["x-selected-server"] == node
    missing = http.post("/v1/chat/completions--nowhere", {"model": "shared:latest", **CHAT}, *JSON)
    assert missing.status == 404
    assert "nowhere" in missing.json["error"]["message"]


def test_a_key_may_come_in_either_header(fleet: LiveFleet) -> None:
    body = json.dumps({"model": "llama3", **CHAT, "stream": False})
    for header in (f"Authorization: Bearer {fleet.key}", f"X-API-Key: {fleet.key}", f"x-api-key: {fleet.key}"):
        assert curl(f"{fleet.url}/api/chat", "-H", header, "-d", body).status == 200
    refused = curl(f"{fleet.url}/api/chat", "-d", body)
    assert refused.status == 401
    assert refused.json["error"]


def test_a_strange_host_name_is_refused(fleet: LiveFleet, http: Curl) -> None:
    for path in ("/api/tags", "/health"):
        assert http.get(path, "-H", "Host: attacker.example").status == 421
    body = {"model": "llama3", **CHAT}
    assert http.post("/api/chat", body, "-H", "Host: attacker.example").status == 421
    assert http.post("/api/chat", body, "-H", "Origin: http://attacker.example").status == 403
    assert fleet.fake("ollama").requests("/api/chat") == []
