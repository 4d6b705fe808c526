"""Whatever is wrong below /api/v1, `details.field` names it, by the name that the client used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2

from service import tasks_service

TASKS: list[tuple[str, dict[str, Any]]] = [
    ("task_type", {"input_data": 1}),
    ("task_type", {"task_type": 5}),
    ("task_type", {"task_type": "x" * 600}),
    ("task_id", {"task_type": "x", "task_id": "a b"}),
    ("priority", {"task_type": "x", "priority": 9}),
    ("priority", {"task_type": "x", "priority": "urgent"}),
    ("priority", {"task_type": "x", "priority": []}),
    ("timeout", {"task_type": "x", "timeout": 0}),
    ("max_retries", {"task_type": "x", "max_retries": 1.5}),
    ("deadline", {"task_type": "x", "deadline": -1}),
    ("not_before", {"task_type": "x", "not_before": "soon"}),
    ("backoff.most", {"task_type": "x", "backoff": {"most": -1}}),
    ("backoff.factor", {"task_type": "x", "backoff": {"factor": 2}}),
    ("callback_url", {"task_type": "x", "callback_url": "ftp://a/"}),
    ("idempotency_key", {"task_type": "x", "idempotency_key": "k" * 600}),
    ("metadata", {"task_type": "x", "metadata": []}),
    ("dependencies", {"task_type": "x", "task_id": "a", "dependencies": ["a"]}),
    ("dependencies", {"task_type": "x", "dependencies": ["\0"]}),
    ("dependencies[1]", {"task_type": "x", "dependencies": ["a", 1]}),
    ("on_dependency_failure", {"task_type": "x", "on_dependency_failure": "odd"}),
    ("requirements", {"task_type": "x", "requirements": "x"}),
    ("requirements.min_cpu", {"task_type": "x", "requirements": {"min_cpu": "x"}}),
    ("requirements.min_cpu", {"task_type": "x", "requirements": {"min_cpu": 101}}),
    ("requirements.capabilities", {"task_type": "x", "requirements": {"capabilities": ["\0"]}}),
    ("requirements.labels", {"task_type": "x", "requirements": {"labels": {"a": 1}}}),
]
SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("interval", {"interval": "often", "task": {"task_type": "x"}}),
    ("catch_up", {"interval": 5, "catch_up": "odd", "task": {"task_type": "x"}}),
    ("unknown", {"unknown": 1}),
    ("task.priority", {"interval": 5, "task": {"task_type": "x", "priority": 9}}),
    ("task.requirements.min_cpu", {"interval": 5, "task": {"task_type": "x", "requirements": {"min_cpu": "x"}}}),
]
NODES: list[tuple[str, str, dict[str, Any]]] = [
    ("limit", "/nodes/n/tasks/pull", {"limit": 0}),
    ("wait", "/nodes/n/tasks/pull", {"wait": 31}),
    ("running", "/nodes/n/tasks/pull", {"running": "all"}),
    ("attempt", "/tasks/t/result", {"status": "completed", "attempt": "first"}),
    ("status", "/tasks/t/result", {"status": "odd"}),
    ("results[0].attempt", "/tasks/results", {"results": [{"attempt": "first"}]}),
    ("results", "/tasks/results", {}),
    ("attempt", "/tasks/t/progress", {"progress": 0.5}),
]
QUERIES = [
    ("limit", "/tasks?limit=0"),
    ("offset", "/tasks?offset=-1"),
    ("wait", "/tasks/t?wait=many"),
    ("limit", "/schedules?limit=x"),
]
SETTINGS: list[tuple[str, Any]] = [
    ("network.max_nodes", 0),
    ("network.load_balance_algorithm", "astrology"),
    ("orchestrator.log_level", "LOUD"),
    ("orchestrator.max_retries", "many"),
    ("orchestrator.port", 9999),
    ("security.api_key_required", True),
]


def names(answer: httpx2.Response, field: str) -> dict[str, Any]:
    assert answer.status_code == 400, answer.text
    assert answer.json()["details"].get("field") == field, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_of_a_task(tmp_path: Path) -> None:
    async with tasks_service(tmp_path, "n") as http:
        for field, body in TASKS:
            for path in ("/tasks", "/tasks?by=route"):
                assert field.rpartition(".")[2] in names(await http.post(path, json=body), field)["error"]


async def test_of_a_schedule(tmp_path: Path) -> None:
    async with tasks_service(tmp_path, "n") as http:
        for field, body in SCHEDULES:
            names(await http.post("/schedules", json=body), field)


async def test_of_what_a_node_says(tmp_path: Path) -> None:
    async with tasks_service(tmp_path, "n") as http:
        for field, path, body in NODES:
            names(await http.post(path, json=body), field)


async def test_of_a_query(tmp_path: Path) -> None:
    async with tasks_service(tmp_path, "n") as http:
        for field, path in QUERIES:
            names(await http.get(path), field)


async def test_of_the_configuration(tmp_path: Path) -> None:
    async with tasks_service(tmp_path, "n") as http:
        for name, value in SETTINGS:
            section, _, key = name.partition(".")
            whole = names(await http.put("/config", json={section: {key: value}}), name)
            one = names(await http.put(f"/config/{name}", json={"value": value}), name)
            assert whole["error"] == one["error"]
            assert name in whole["error"]
            assert "tasks." not in str(whole), "our own name, which the client does not know"
