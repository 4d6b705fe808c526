"""Workers whose handlers run as tasks of a real Ray cluster of several nodes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_command import environment

from orchestrator_client import AsyncClient, TaskResult, TaskStatus, Worker
from servers.ray_nodes import ENVIRONMENT, RayNodes
from service import RunningService, free_port, running_service

WAIT = 60.0  # seconds: Ray starts a process for each of its tasks at first
CONFIG: dict[str, Any] = {
    "security": {"rate_limit_max": None, "admin_rate_limit_max": None},
    "tasks": {"heartbeat_interval": 1.0, "node_timeout": 20.0},
}
pytestmark = pytest.mark.timeout(240)

MODULE = """
import asyncio, os, time
from pathlib import Path
from orchestrator_client import Permanent, RayCluster, Worker

worker = Worker(heartbeat=0.2, grace=20.0)


def node():
    import ray
    return ray.get_runtime_context().get_node_id()


@worker.task("where")
def where(data):
    with open(data["journal"], "a") as journal:
        journal.write(f"{data['number']} {node()}\\n")
    while "go" in data and not os.path.exists(data["go"]):
        time.sleep(0.02)
    time.sleep(data.get("seconds", 0))
    return {"node": node(), "number": data["number"]}


impatient = Worker(heartbeat=0.2, executor=RayCluster(patience=4.0))
impatient.task("where")(where)


@worker.task("say")
def say(data, ctx):
    for number in range(3):
        ctx.log(f"line {number}")
    ctx.progress(0.5, "half of it")
    while not ctx.cancelled and not Path(data["go"]).exists():
        time.sleep(0.02)
    if ctx.cancelled:
        Path(data["seen"]).write_text("plain")
    ctx.log("last", "warning")
    return [ctx.task_type, ctx.attempt, ctx.seconds_left < 300]


@worker.task("soft")
async def soft(data):
    try:
        await asyncio.sleep(data["seconds"])
    except asyncio.CancelledError:
        Path(data["seen"]).write_text("async")
        raise
    return "slept"


@worker.task("hard")
def hard(data):
    Path(data["began"]).write_text("yes")
    try:
        while True:
            time.sleep(0.05)
    finally:
        Path(data["seen"]).write_text("interrupted")


@worker.task("faulty")
def faulty(data):
    if data == "permanent":
        raise Permanent("no such file")
    if data == "die":
        os._exit(3)
    if data == "odd":
        return object()
    raise ValueError(data)


@worker.task("disk", resources={"num_cpus": 0.5, "custom": {"disk": 1}})
async def disk(data, ctx):
    return node()


@worker.task("graphics", resources={"num_gpus": 1})
def graphics(data):
    return os.environ.get("CUDA_VISIBLE_DEVICES")
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    cluster = RayNodes()
    try:
        cluster.add(num_cpus=2, resources={"disk": 1})
        yield cluster
    finally:
        cluster.close()


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[RunningService, AsyncClient]]:
    async with running_service(CONFIG, tmp_path) as run, AsyncClient(run.url, "") as client:
        yield run, client


@asynccontextmanager
async def worked(
    tmp_path: Path, url: str, address: str, *more: str, name: str = "worker", ends: int | None = 0
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """`orchestrator worker` with the cluster at `address`, which is told to stop at the end."""
    (tmp_path / "ray_app_under_test.py").write_text(MODULE)
    command = [sys.executable, "-m", "orchestrator", "worker", f"ray_app_under_test:{name}", "--node-id", "w"]
    command += ["--executor", "ray", "--ray-address", address] if name == "worker" else []
    changes = ENVIRONMENT if name == "worker" else ENVIRONMENT | {"RAY_ADDRESS": address}
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, "--url", url, *more, cwd=tmp_path, env=environment(**changes), stdout=output, stderr=output
        )
    try:
        yield process, log
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WAIT):
            status = await process.wait()
        assert ends is None or status == ends, log.read_text()
    except BaseException as error:
        error.add_note(log.read_text()[-8_000:])
        raise
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_there(client: AsyncClient, slots: int) -> dict[str, Any]:
    """The worker as the service knows it, when it has so many slots."""
    async with asyncio.timeout(WAIT):
        while True:
            for node in await client.get_nodes():
                if node.node_id == "w" and node.raw["max_concurrency"] == slots:
                    return dict((await client.get_node("w")).raw)
            await asyncio.sleep(0.1)


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def until_file(path: Path) -> str:
    async with asyncio.timeout(WAIT):
        while not text_of(path):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)
    return text_of(path)


async def wait_all(client: AsyncClient, ids: list[str]) -> list[TaskResult]:
    return [await client.wait_for_task(task_id, WAIT) for task_id in ids]


async def test_handlers_run_in_the_cluster_with_their_resources(tmp_path: Path, nodes: RayNodes) -> None:
    async with served(tmp_path) as (run, client), worked(tmp_path, run.url, nodes.address):
        node = await until_there(client, 2)
        assert node["task_types"] == ["disk", "faulty", "hard", "say", "soft", "where"]  # no GPU anywhere
        journal = str(tmp_path / "journal")
        done = await client.submit_and_wait("where", {"journal": journal, "number": 1}, wait_timeout=WAIT)
        assert done.ok, done.error_message
        assert len(done.result_data["node"]) == 56
        assert (await client.submit_and_wait("soft", {"seconds": 0}, wait_timeout=WAIT)).result_data == "slept"
        ids = await client.submit_many({"task_type": "disk"} for _ in range(4))
        assert {one.result_data for one in await wait_all(client, ids)} == {done.result_data["node"]}

        waits = await client.submit_task("graphics")
        assert (await client.get_task(waits)).status is TaskStatus.PENDING
        more = await asyncio.to_thread(nodes.add, num_cpus=1, num_gpus=1)
        try:
            assert (await client.wait_for_task(waits, WAIT)).result_data == "0"
        finally:
            await asyncio.to_thread(nodes.kill, more)
        await until_there(client, 2)


async def test_failures_are_told_and_counted_by_the_ledger(tmp_path: Path, nodes: RayNodes) -> None:
    async with served(tmp_path) as (run, client), worked(tmp_path, run.url, nodes.address):
        backoff = {"base": 0.01, "most": 0.05}
        ids = {
            data: await client.submit_task("faulty", data, max_retries=1, backoff=backoff)
            for data in ("permanent", "odd", "bad luck", "die")
        }
        told = {data: await client.wait_for_task(task_id, WAIT) for data, task_id in ids.items()}
        assert {one.status for one in told.values()} == {TaskStatus.FAILED}
        assert (told["permanent"].error_message, told["permanent"].attempt) == ("no such file", 1)
        assert "not JSON" in (told["odd"].error_message or "")
        assert (told["bad luck"].error_message, told["bad luck"].attempt) == ("ValueError: bad luck", 2)
        assert (told["die"].error_message, told["die"].attempt) == ("the process of the handler died", 2)


async def test_progress_log_lines_and_cancellation(tmp_path: Path, nodes: RayNodes) -> None:
    async with served(tmp_path) as (run, client), worked(tmp_path, run.url, nodes.address):
        go, seen = tmp_path / "go", {name: tmp_path / name for name in ("say", "soft", "hard")}
        task_id = await client.submit_task("say", {"go": str(go), "seen": str(tmp_path / "not")}, timeout=200)
        async with asyncio.timeout(WAIT):
            while (task := await client.get_task(task_id)).progress != 0.5:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)
        assert task.progress_message == "half of it"
        go.touch()
        assert (await client.wait_for_task(task_id, WAIT)).result_data == ["say", 1, True]
        lines = await client.logs(task_id)
        assert [one.message for one in lines] == ["line 0", "line 1", "line 2", "last"]
        assert lines[-1].level == "warning"

        plain = await client.submit_task("say", {"go": str(tmp_path / "never"), "seen": str(seen["say"])})
        async with asyncio.timeout(WAIT):
            while (await client.get_task(plain)).progress != 0.5:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)
        began = tmp_path / "began"
        hard = await client.submit_task("hard", {"began": str(began), "seen": str(seen["hard"])})
        await until_file(began)
        for unwanted in (plain, hard):
            assert (await client.cancel_task(unwanted, "enough")).status is TaskStatus.CANCELLED
        assert await until_file(seen["say"]) == "plain"
        assert await until_file(seen["hard"]) == "interrupted"
        soft = await client.submit_task("soft", {"seconds": 600, "seen": str(seen["soft"])})
        async with asyncio.timeout(WAIT):
            while (await client.get_task(soft)).status is not TaskStatus.ACTIVE:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)
        await asyncio.sleep(2.0)  # it sleeps, and says nothing
        await client.cancel_task(soft)
        assert await until_file(seen["soft"]) == "async"


async def test_a_killed_ray_node_loses_no_task(tmp_path: Path, nodes: RayNodes) -> None:
    journal, go = tmp_path / "journal", tmp_path / "go"

    def began() -> list[list[str]]:
        """Number and node, as the handlers wrote them."""
        return [line.split() for line in text_of(journal).splitlines()]

    async with served(tmp_path) as (run, client), worked(tmp_path, run.url, nodes.address):
        await until_there(client, 2)
        other = await asyncio.to_thread(nodes.add, num_cpus=2)
        await until_there(client, 4)
        data = {"journal": str(journal), "go": str(go)}
        ids = await client.submit_many(
            # No retries: a node's death is nobody's failure.
            {"task_type": "where", "input_data": {**data, "number": number}, "max_retries": 0}
            for number in range(12)
        )
        async with asyncio.timeout(WAIT):
            while len(began()) < 4:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)
        killed = sorted(number for number, node in began() if node == other)
        assert len(killed) == 2
        await asyncio.to_thread(nodes.kill, other)
        go.touch()
        done = await wait_all(client, ids)
        assert [one.result_data and one.result_data["number"] for one in done] == list(range(12)), done
        assert {one.retry_count for one in done} == {0}
        assert other not in {one.result_data["node"] for one in done}
        counts = Counter(number for number, _ in began())
        assert sorted(number for number, times in counts.items() if times > 1) == killed  # and nothing else ran again
        await until_there(client, 2)


async def test_a_worker_that_stops_finishes_what_runs_in_the_cluster(tmp_path: Path, nodes: RayNodes) -> None:
    journal = tmp_path / "journal"
    async with served(tmp_path) as (run, client):
        async with worked(tmp_path, run.url, nodes.address, "--concurrency", "1") as (process, _):
            data = {"journal": str(journal), "seconds": 1.0}
            running = await client.submit_task("where", {**data, "number": 0})
            waiting = await client.submit_task("where", {**data, "number": 1})
            await until_file(journal)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(WAIT):
                assert await process.wait() == 0
        assert (await client.get_task(running)).status is TaskStatus.COMPLETED
        assert (await client.get_task(waiting)).status is TaskStatus.PENDING
        assert (await client.get_node("w")).raw["max_concurrency"] == 1


async def test_no_cluster_and_no_ray_are_explained(tmp_path: Path) -> None:
    for number, (hidden, said) in enumerate(((False, "There is no Ray cluster at"), (True, "Ray is not installed"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        if hidden:
            (folder / "ray.py").write_text("raise ImportError('hidden')")
        address = f"127.0.0.1:{free_port()}"
        async with worked(folder, "http://127.0.0.1:9", address, "--json", ends=None) as (process, log):
            async with asyncio.timeout(WAIT):
                assert await process.wait() == 1
            assert said in log.read_text()
            assert said in json.loads(log.read_text().splitlines()[-1])["error"]


async def test_a_cluster_that_dies_loses_no_task(tmp_path: Path, nodes: RayNodes) -> None:
    """The last test of this file: it leaves no cluster."""
    journal = tmp_path / "journal"
    plain = Worker(node_id="plain")
    plain.task("where")(lambda data: "elsewhere")
    async with (
        served(tmp_path) as (run, client),
        worked(tmp_path, run.url, nodes.address, name="impatient", ends=None) as (ray, log),
    ):
        data = {"journal": str(journal), "number": 0, "seconds": 600}
        task_id = await client.submit_task("where", data, max_retries=0, timeout=900)
        await until_file(journal)
        await asyncio.to_thread(nodes.kill_head)
        async with asyncio.timeout(WAIT):
            assert await ray.wait() != 0  # for its supervisor
        plain.url = run.url
        serving = asyncio.create_task(plain.serve())
        task = await client.wait_for_task(task_id, WAIT)
        assert (task.result_data, task.node_id, task.retry_count) == ("elsewhere", "plain", 0)
        plain.stop()
        await serving
        assert "has not answered" in log.read_text()
