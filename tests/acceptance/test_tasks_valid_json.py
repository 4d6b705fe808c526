"""JSON that is valid: what cannot be kept is refused by what is wrong with it, the rest comes back as it was sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service import tasks_service
from stub_node import stub_node

JSON = {"Content-Type": "application/json"}
KEPT = 900  # levels
DEEP = "[" * 1_500 + "]" * 1_500
# With what follows, and with nothing behind: msgspec has other words for the two.
HALVES = [r'"\ud83d and more text behind it"', r'"\ud83d"', r'"\ude00"', r'"\\\ud83d"', r'["\ude00\ud83d"]']
BODIES = [
    ("/tasks", '{{"task_type": "t", "input_data": {}}}'),
    ("/tasks?by=route", '{{"task_type": "t", "input_data": {}}}'),
    ("/tasks/t/result", '{{"status": "completed", "result_data": {}}}'),
    ("/tasks/results", '{{"results": [{{"result_data": {}}}]}}'),
    ("/nodes/n/register", '{{"metadata": {{"a": {}}}}}'),
    ("/nodes/n/heartbeat", '{{"agents": {}}}'),
    ("/schedules", '{{"interval": 5, "task": {{"task_type": "t", "input_data": {}}}}}'),
    ("/tasks/bulk", '{{"action": {}}}'),
]


async def test_what_is_too_deep_or_half_a_character_is_called_so(tmp_path: Path) -> None:
    async with tasks_service(tmp_path) as http:
        for path, body in BODIES:
            for value, error in [(DEEP, "nested too deep"), *((half, "an unpaired surrogate") for half in HALVES)]:
                answer = await http.post(path, content=body.format(value), headers=JSON)
                assert (answer.status_code, error in answer.json()["error"]) == (400, True), (path, value[:40])
                assert "not JSON" not in answer.text


async def test_what_is_no_json_is_called_so(tmp_path: Path) -> None:
    async with tasks_service(tmp_path) as http:
        for path, body in BODIES:
            for value in (r'"\\ud83d', r'"\ud83d\ude00', '"a', "NaN", '"\\x"'):
                answer = await http.post(
                    path, content=body.format(value)[: None if value == "NaN" else -1], headers=JSON
                )
                assert (answer.status_code, "not JSON" in answer.json()["error"]) == (400, True), (path, value)


@pytest.mark.parametrize(("value", "error"), [(DEEP, "nested too deep"), (r'"\ud83d"', "an unpaired surrogate")])
async def test_a_node_that_answers_so_is_not_asked_again(tmp_path: Path, value: str, error: str) -> None:
    async with tasks_service(tmp_path) as http, stub_node((200, f'{{"success": true, "result": {value}}}')) as node:
        await http.post("/nodes/n/register", json={"host": "127.0.0.1", "port": node.port})
        task_id = (await http.post("/tasks", json={"task_type": "t"})).json()["task_id"]
        task = (await http.get(f"/tasks/{task_id}", params={"wait": 20})).json()["task"]
    assert (task["state"], task["attempt"], error in task["error_message"]) == ("failed", 1, True)


async def test_what_the_reference_allows_comes_back(tmp_path: Path) -> None:
    deep = "[" * KEPT + "]" * KEPT
    async with tasks_service(tmp_path) as http:
        await http.post("/nodes/p/register", json={"mode": "pull"})
        body = f'{{"task_type": "t", "input_data": {deep}}}'
        task_id = (await http.post("/tasks", content=body, headers=JSON)).json()["task_id"]
        [task] = json.loads((await http.post("/nodes/p/tasks/pull", json={"wait": 10})).text)["tasks"]
        report = f'{{"status": "completed", "attempt": 1, "node_id": "p", "result_data": {deep}}}'
        assert (await http.post(f"/tasks/{task_id}/result", content=report, headers=JSON)).status_code == 200
        shown = (await http.get(f"/tasks/{task_id}")).text
    assert task["input_data"] == json.loads(deep)
    assert shown.count(deep) == 6, "input, result and its other name, at the top and under data"


async def test_every_number_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    odd = '{"a":1e400,"b":123456789012345678901234567890,"c":0.1000000000000000055511151231257827,"d":-0.0,"e":1.0}'
    async with tasks_service(tmp_path) as http:
        await http.post("/nodes/p/register", json={"mode": "pull"})
        body = f'{{"task_type": "t", "input_data": {odd}, "metadata": {odd}, "requirements": {{"x": {odd}}}}}'
        task_id = (await http.post("/tasks", content=body, headers=JSON)).json()["task_id"]
        queued = (await http.get("/dashboard/tasks/queue")).text
        pulled = (await http.post("/nodes/p/tasks/pull", json={"wait": 10})).text
        report = f'{{"status": "completed", "attempt": 1, "result_data": {odd}, "performance_metrics": {odd}}}'
        assert (await http.post(f"/tasks/{task_id}/result", content=report, headers=JSON)).status_code == 200
        shown = (await http.get(f"/tasks/{task_id}")).text
    assert queued.count(odd) == 2
    assert pulled.count(odd) == 3
    for field in ("input_data", "metadata", "result_data", "result", "performance_metrics", 'requirements":{"x'):
        assert shown.replace(": ", ":").count(f'"{field}":{odd}') == 2, field


async def test_every_number_of_a_schedules_task_does(tmp_path: Path) -> None:
    odd = '{"a":1e400,"b":123456789012345678901234567890}'
    task = f'{{"task_type": "t", "input_data": {odd}, "metadata": {odd}}}'
    body = f'{{"schedule_id": "s", "interval": 3600, "task": {task}}}'
    async with tasks_service(tmp_path) as http:
        assert (await http.post("/schedules", content=body, headers=JSON)).status_code == 200
        shown = (await http.get("/schedules/s")).text
        task_id = (await http.post("/schedules/s/trigger")).json()["task_id"]
        run = (await http.get(f"/tasks/{task_id}")).text
        strange = body.encode().replace(b'"t"', b'"t", "unread": "\xff"').replace(b'"s"', b'"other"')
        refused = await http.post("/schedules", content=strange, headers=JSON)
    assert shown.count(odd) == 4
    assert run.count(odd) == 2, "input_data"
    assert run.count(odd[1:]) == 4, "input_data, and metadata behind what the schedule says"
    assert (refused.status_code, refused.json()["details"]["field"]) == (400, "task")
