"""Configuration while the service runs: the fleet contract's checks 36 and 37."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from admin_api import admin, prompt
from cli_command import CommandLine

from orchestrator.settings import live_paths
from orchestrator.testing.model_server import ModelServer


async def test_the_view_has_both_spellings_and_no_secret(tmp_path: Path) -> None:
    nodes = [{"id": "a", "url": "http://127.0.0.1:9", "api_key": "sk-very-secret"}]
    async with admin(tmp_path, nodes=nodes, queue={"max_size": 7}) as (_, api):
        answer = await api.get("/config")
        assert "sk-very-secret" not in answer.text
        shown = answer.json()
        assert shown["success"] is True
        assert shown["source"].endswith("orchestrator.yaml")
        assert shown["config"]["queue"]["maxSize"] == 7
        assert shown["config"]["servers"][0]["apiKey"] == "***REDACTED***"
        assert shown["settings"]["queue"]["max_size"] == 7
        assert shown["settings"]["nodes"][0]["api_key"] == "***REDACTED***"
        assert shown["origins"]["queue.max_size"]["source"] == "file"
        assert shown["origins"]["server.port"]["source"] == "flag"


@pytest.mark.parametrize(
    ("section", "body", "path", "value"),
    [
        ("queue", {"maxSize": 2000}, "queue.max_size", 2000),
        ("queue", {"timeout": 5000}, "queue.timeout", 5.0),
        ("queue", {"max_size": 20, "timeout": 7}, "queue.timeout", 7.0),
        ("streaming", {"maxHandoffAttempts": 5}, "streaming.max_continuations", 5),
        ("circuitBreaker", {"openTimeout": 9000}, "circuit_breaker.open_time", 9.0),
        ("loadBalancer", {"weights": {"latency": 0.9}}, "load_balancer.weights.latency", 0.9),
        ("healthCheck", {"intervalMs": 2000}, "health_check.interval", 2.0),
        ("gateway", {"policy": "round-robin"}, "gateway.policy", "round_robin"),
        ("circuit_breaker", {"open_time": 8}, "circuit_breaker.open_time", 8.0),
        ("models", {"aliases": {"fast": "llama3"}}, "models.aliases", {"fast": ["llama3"]}),
        ("logging", {"level": "warn"}, "logging.level", "warning"),
    ],
)
async def test_a_section_takes_either_spelling(
    tmp_path: Path, section: str, body: dict[str, Any], path: str, value: Any
) -> None:
    async with admin(tmp_path) as (_, api):
        changed = await api.patch(f"/config/{section}", json=body)
        assert changed.status_code == 200, changed.text
        assert changed.json()["section"] == section
        assert path in [one["path"] for one in changed.json()["changed"]]
        found: Any = (await api.get("/config")).json()
        assert found["origins"][path]["source"] == "database"
        found = found["settings"]
        for step in path.split("."):
            found = found[step]
        assert found == value


async def test_wrong_changes_change_nothing(tmp_path: Path) -> None:
    async with admin(tmp_path) as (_, api):
        before = (await api.get("/config")).json()
        bad = await api.patch("/config/nonsense", json={"a": 1})
        assert bad.status_code == 400
        assert bad.json()["error"] == "Invalid configuration section"
        assert {"loadBalancer", "circuitBreaker", "security", "metrics", "streaming", "queue"} <= set(
            bad.json()["validSections"]
        )
        for method, path, body in (
            ("POST", "/config", {"port": 99999}),
            ("POST", "/config", {"config": {"port": "many"}}),
            ("PATCH", "/config/queue", {"maxSize": -1}),
            ("PATCH", "/config/queue", {"maxSise": 5}),
            ("PATCH", "/config", {"queue.max_size": "many"}),
            ("PATCH", "/config", {"queue": {"max_size": 5}, "gateway": {"policy": "nonsense"}}),
            ("PATCH", "/config", json.loads('{"a":' * 500 + "1" + "}" * 500)),
        ):
            answer = await api.request(method, path, json=body)
            assert answer.status_code == 400, (path, body)
            assert answer.json()["error"] == "Configuration validation failed"
            assert answer.json()["details"]
        after = (await api.get("/config")).json()
        assert after == before


async def test_what_needs_a_restart_is_refused_by_name(tmp_path: Path) -> None:
    async with admin(tmp_path) as (_, api):
        answer = await api.patch("/config", json={"queue.max_size": 5, "server.grace": 3})
        assert answer.status_code == 400
        assert answer.json()["restartRequired"] == ["server.grace"]
        assert "needs a restart" in answer.json()["error"]
        assert (await api.get("/config")).json()["settings"]["queue"]["max_size"] == 1000


async def test_a_backup_can_be_sent_back(tmp_path: Path) -> None:
    nodes = [{"id": "a", "url": "http://127.0.0.1:9", "api_key": "sk-very-secret"}]
    async with admin(tmp_path, nodes=nodes) as (running, api):
        await api.patch("/config/queue", json={"maxSize": 42})
        backup = (await api.get("/config")).json()
        same = await api.post("/config", json=backup)
        assert (same.status_code, same.json()["changed"]) == (200, [])
        await api.patch("/config/queue", json={"maxSize": 43})
        await api.patch("/config", json={"models.aliases": {"fast": "llama3"}})
        restored = await api.post("/config", json=backup)
        assert restored.status_code == 200, restored.text
        assert running.service.settings.queue.max_size == 42
        bare = await api.post("/config", json={"queue": {"maxSize": 44}})
        assert bare.json()["config"]["queue"]["maxSize"] == 44
        assert running.service.settings.nodes[0].api_key is not None
        assert running.service.settings.nodes[0].api_key.get_secret_value() == "sk-very-secret"


async def test_a_change_takes_effect_at_once_and_outlives_a_restart(tmp_path: Path) -> None:
    async with ModelServer(["llama3"]) as server:
        nodes = [{"id": "a", "url": server.url}]
        async with admin(tmp_path, nodes=nodes) as (running, api):
            await running.healthy(1)
            await api.patch(
                "/config",
                json={
                    "gateway.policy": "random",
                    "gateway.ollama_stream_default": False,
                    "models.aliases": {"fast": "llama3"},
                    "queue.max_size": 3,
                    "circuit_breaker.base_failure_threshold": 6,
                    "retry.max_attempts": 1,
                    "retry.budget_ratio": 0.9,
                    "health_check.timeout": 1.5,
                    "load_balancer.default_max_concurrency": 7,
                    "load_balancer.warm_first.wait": False,
                },
            )
            service = running.service
            assert service.gateway.placement.policy == "random"
            assert service.gateway.placement.options.warm_first.wait is False
            assert service.gateway.queue.policy.max_size == 3
            assert service.gateway.limits.max_attempts == 1
            assert service.gateway.retry_budget.ratio == 0.9
            assert service.fleet.nodes["a"].breaker.policy.threshold == 6
            assert service.health.rules.timeout == 1.5
            assert service.fleet.nodes["a"].spec.max_concurrency == 7
            async with httpx2.AsyncClient(base_url=running.url) as client:
                body = {"model": "fast", "prompt": "hi"}
                answer = await client.post("/api/generate", json=body)
                assert answer.headers["content-type"] == "application/json"
                assert answer.json()["done"] is True
        async with admin(tmp_path, nodes=nodes) as (running, api):
            await running.healthy(1)
            assert running.service.gateway.placement.policy == "random"
            assert running.service.gateway.queue.policy.max_size == 3
            assert running.service.fleet.nodes["a"].spec.max_concurrency == 7
            history = (await api.get("/config/history")).json()["history"]
            assert history[0]["who"] == "anonymous"
            assert history[0]["when"] > 1_600_000_000_000
            assert history[0]["document"]["queue"] == {"max_size": 3}
            removed = await api.patch("/config", json={"models.aliases": {"fast": None}})
            assert removed.json()["settings"]["models"]["aliases"] == {}
            async with httpx2.AsyncClient(base_url=running.url) as client:
                assert (await client.post("/api/generate", json=prompt("fast"))).status_code == 404


async def test_reload_reads_the_file_and_keeps_or_drops_what_the_api_changed(tmp_path: Path) -> None:
    async with admin(tmp_path, queue={"max_size": 10}) as (running, api):
        file = tmp_path / "orchestrator.yaml"
        await api.patch("/config/queue", json={"maxSize": 20})
        document = yaml.safe_load(file.read_text())
        document["queue"] = {"max_size": 30, "max_priority": 9}
        document["server"] = {"grace": 5}
        file.write_text(yaml.safe_dump(document))
        kept = (await api.post("/config/reload")).json()
        assert kept["overridden"] == ["queue.max_size"]
        assert kept["restartRequired"] == ["server.grace"]
        assert (running.service.settings.queue.max_size, running.service.settings.queue.max_priority) == (20, 9)
        assert running.service.settings.server.grace == 30
        assert (await api.get("/config")).json()["restartRequired"] == ["server.grace"]
        dropped = (await api.post("/config/reload", json={"discardChanges": True})).json()
        assert dropped["overridden"] == []
        assert running.service.settings.queue.max_size == 30
        file.write_text("queue: {max_size: many}")
        broken = await api.post("/config/reload")
        assert broken.status_code == 400
        assert running.service.settings.queue.max_size == 30


async def test_save_folds_the_changes_into_the_file(tmp_path: Path) -> None:
    file = tmp_path / "orchestrator.yaml"
    async with admin(tmp_path, queue={"max_size": 10}, models={"aliases": {"old": "llama3"}}) as (_, api):
        text = file.read_text()
        await api.patch("/config", json={"queue.max_size": 20, "models.aliases": {"old": None, "new": "llama3"}})
        saved = (await api.post("/config/save")).json()
        assert saved["path"] == str(file)
        document = yaml.safe_load(file.read_text())
        assert document["queue"]["max_size"] == 20
        assert document["models"]["aliases"] == {"new": ["llama3"]}
        assert (tmp_path / "orchestrator.yaml.bak").read_text() == text
        other = await api.post("/config/save", json={"configPath": "copy.json"})
        assert other.status_code == 200, other.text
        assert json.loads((tmp_path / "data/config/copy.json").read_text())["queue"]["max_size"] == 20
        again = await api.post("/config/reload", json={"configPath": "copy.json"})
        assert again.status_code == 200, again.text


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "/etc/orchestrator.yaml", "../../escape.yaml", "../orchestrator.db", "x.txt", "x", "a\x00.yaml"],
)
async def test_no_other_file_is_touched(tmp_path: Path, path: str) -> None:
    async with admin(tmp_path) as (_, api):
        for route in ("/config/save", "/config/reload"):
            answer = await api.post(route, json={"configPath": path})
            assert answer.status_code == 400, answer.text
        assert not (tmp_path / "escape.yaml").exists()


async def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target.yaml"
    target.write_text("secret: 1\n")
    async with admin(tmp_path) as (_, api):
        folder = tmp_path / "data/config"
        folder.mkdir(parents=True)
        (folder / "link.yaml").symlink_to(target)
        for route in ("/config/save", "/config/reload"):
            assert (await api.post(route, json={"configPath": "link.yaml"})).status_code == 400
        assert target.read_text() == "secret: 1\n"


async def test_the_schema_says_what_is_live(tmp_path: Path) -> None:
    async with admin(tmp_path) as (_, api):
        schema = (await api.get("/config/schema")).json()["schema"]
        assert schema["$defs"]["Queue"]["properties"]["max_size"]["live"] is True
        assert "queue.max_size" in live_paths()


async def test_the_queue_can_be_paused_and_looked_into(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url, "max_concurrency": 1}]) as (running, api),
        httpx2.AsyncClient(base_url=running.url, timeout=20) as client,
    ):
        await running.healthy(1)
        assert (await api.post("/queue/pause")).json() == {"success": True, "paused": True}
        refused = await client.post("/api/generate", json=prompt())
        assert refused.status_code == 503
        assert (await api.get("/queue")).json()["queue"]["paused"] is True
        assert (await api.post("/queue/resume")).json() == {"success": True, "paused": False}
        assert (await client.post("/api/generate", json=prompt())).status_code == 200


async def test_history_tells_what_changed_and_a_version_can_be_put_back(tmp_path: Path) -> None:
    async with admin(tmp_path, queue={"max_size": 10}) as (running, api):
        await api.patch("/config/queue", json={"maxSize": 20})
        await api.patch("/config", json={"queue.max_size": 30, "models.aliases": {"fast": "llama3"}})
        history = (await api.get("/config/history")).json()["history"]
        assert [one["version"] for one in history] == [2, 1]
        assert history[0]["changed"] == [
            {"path": "models.aliases", "old": None, "new": {"fast": ["llama3"]}},
            {"path": "queue.max_size", "old": 20, "new": 30},
        ]
        assert history[1]["changed"] == [{"path": "queue.max_size", "old": None, "new": 20}]
        assert (await api.get("/config/history?limit=1")).json()["history"] == history[:1]

        back = (await api.post("/config/rollback", json={"version": 1})).json()
        assert [one["path"] for one in back["changed"]] == ["models.aliases", "queue.max_size"]
        assert running.service.gateway.queue.policy.max_size == 20
        assert running.service.settings.models.aliases == {}
        history = (await api.get("/config/history")).json()["history"]
        assert (history[0]["version"], history[0]["document"]) == (3, {"queue": {"max_size": 20}})
        assert history[0]["who"] == "anonymous"
        again = (await api.post("/config/rollback", json={"version": 3})).json()
        assert again["changed"] == []
        assert (await api.get("/config/history")).json()["count"] == 3


async def test_versions_that_cannot_be_put_back_change_nothing(tmp_path: Path) -> None:
    async with admin(tmp_path) as (running, api):
        store = running.service.storage.overrides
        for document in ({"server": {"grace": 5}, "queue": {"max_size": 5}}, {"queue": {"max_size": -5}}, {"what": 1}):
            await store.put(document, "an older release", 1.0)
        before = (await api.get("/config")).json()
        stuck = await api.post("/config/rollback", json={"version": 1})
        assert (stuck.status_code, stuck.json()["restartRequired"]) == (400, ["server.grace"])
        for version, path in ((2, "queue.max_size"), (3, "what")):
            wrong = await api.post("/config/rollback", json={"version": version})
            assert wrong.status_code == 400
            assert [one["path"] for one in wrong.json()["problems"]] == [path]
        assert (await api.post("/config/rollback", json={"version": 99})).status_code == 404
        for body in ({}, {"version": "one"}, {"version": 0}, {"version": True}, {"version": 1, "more": 1}):
            assert (await api.post("/config/rollback", json=body)).status_code == 400, body
        assert (await api.get("/config")).json() == before


async def test_a_whole_backup_puts_everything_back(tmp_path: Path) -> None:
    """Check 37: the answer of GET, wrapped as it is, in another process; what came later is gone."""
    changes = {
        "queue": {"max_size": 7, "timeout": 3},
        "gateway": {"policy": "random", "model_fallbacks": {"llama3": "tiny"}},
        "models.aliases": {"fast": "llama3"},
        "logging.level": "warning",
    }
    async with admin(tmp_path) as (_, api):
        assert (await api.patch("/config", json=changes)).status_code == 200
        backup = (await api.get("/config")).json()
    async with admin(tmp_path) as (running, api):
        later = {"queue.max_size": 8, "models.aliases": {"other": "tiny"}, "gateway.model_fallbacks": {"llama3": None}}
        assert (await api.patch("/config", json=later)).status_code == 200
        assert running.service.settings.models.aliases == {"fast": ("llama3",), "other": ("tiny",)}
        restored = await api.post("/config", json=backup)
        assert restored.status_code == 200, restored.text
        after = (await api.get("/config")).json()
        assert after["settings"] == backup["settings"]
        assert after["config"] == backup["config"]


async def test_the_next_request_runs_by_the_change_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    async with (
        ModelServer(["llama3"]) as server,
        admin(tmp_path, nodes=[{"id": "a", "url": server.url}]) as (running, api),
        httpx2.AsyncClient(base_url=running.url, timeout=20) as client,
    ):
        await running.healthy(1)

        async def kinds() -> tuple[int, int, str]:
            aliased = await client.post("/api/generate", json=prompt("fast"))
            plain = await client.post("/api/generate", json={"model": "llama3", "prompt": "hi"})
            return aliased.status_code, plain.status_code, plain.headers["content-type"].partition(";")[0]

        assert await kinds() == (404, 200, "application/x-ndjson")
        process = running.task
        await api.patch("/config", json={"models.aliases": {"fast": "llama3"}, "gateway.ollama_stream_default": False})
        assert await kinds() == (200, 200, "application/json")
        bad = {"models.aliases": {"fast": None}, "gateway.ollama_stream_default": True, "queue.max_size": "many"}
        refused = await api.patch("/config", json=bad)
        assert refused.status_code == 400
        (problem,) = refused.json()["problems"]
        assert problem["path"] == "queue.max_size"
        assert "integer" in problem["reason"]
        assert await kinds() == (200, 200, "application/json")
        assert (await api.get("/config/history")).json()["count"] == 1
        await api.patch("/config/queue", json={"enabled": False})
        await api.post("/queue/pause")
        assert (await client.post("/api/generate", json=prompt())).status_code == 503
        assert running.task is process
        assert not process.done()


async def test_the_command_line_shows_and_undoes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with admin(tmp_path, queue={"max_size": 10}) as (running, _):
        command = CommandLine(capsys, running.url)
        assert "Nothing was changed yet" in (await command("config", "history")).err
        await command("config", "set", "queue.max_size=20")
        await command("config", "set", "queue.max_size=30")
        rows = (await command("config", "history")).rows
        assert [(row["version"], row["who"], row["changed"]) for row in rows] == [
            ("2", "anonymous", "queue.max_size: 20 -> 30"),
            ("1", "anonymous", "queue.max_size: null -> 20"),
        ]
        back = await command("config", "rollback", "1")
        assert (back.status, back.err.strip()) == (0, "queue.max_size: 30 -> 20")
        assert (await command("config", "rollback", "77")).status == 1
        saved = await command("config", "save", "--json")
        file = tmp_path / "orchestrator.yaml"
        assert saved.json["path"] == str(file)
        assert yaml.safe_load(file.read_text())["queue"]["max_size"] == 20
        file.write_text(file.read_text().replace("max_size: 20", "max_size: 25"))
        reloaded = await command("config", "reload", "--discard")
        assert (reloaded.status, reloaded.err.strip()) == (0, "queue.max_size: 20 -> 25")
        assert running.service.settings.queue.max_size == 25
