"""Programs in containers as tools, against an engine that is not Docker but speaks its API."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from docker_engine import STDERR, STDOUT, Container, FakeDocker, Program, docker_engine
from orchestrator.adapters.docker import DockerContainers
from orchestrator.domain.errors import InvalidRequest, ToolCrashed, ToolFailed
from orchestrator.domain.tool import Execution, Tool, ToolKind
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.services.tool_calls.container_tool import AllowedImage, ContainerTool
from task_load import until

NOW = 1_000_000.0
IMAGES = (AllowedImage("python:3.*", memory=256 << 20, cpus=0.5, pids=20), AllowedImage("net/*", network=True))


class Running:
    """A runner of containers, and the engine behind it."""

    def __init__(self, runner: ContainerTool, engine: FakeDocker, docker: DockerContainers) -> None:
        self.runner = runner
        self.engine = engine
        self.docker = docker

    async def call(self, arguments: dict[str, Any], **binding: Any) -> CallOutcome:
        return await self.runner.run(order(arguments, **binding))


def order(arguments: dict[str, Any], **binding: Any) -> CallOrder:
    return CallOrder("call/1", tool(**binding), arguments, "me", 2, 30.0)


def tool(**binding: Any) -> Tool:
    return Tool("t", "t", "c", execution=Execution(ToolKind.CONTAINER, {"image": "python:3.13", **binding}))


@asynccontextmanager
async def running(program: Program) -> AsyncIterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        programs = {"python:3.13": program, "net/fetch:1": program}
        async with docker_engine(Path(folder), programs) as (host, engine):
            docker = DockerContainers(host, "here")
            try:
                yield Running(ContainerTool(IMAGES, docker, lambda: NOW), engine, docker)
            finally:
                await docker.close()


async def double(container: Container) -> int:
    given = json.loads(await container.read())
    await container.write(STDERR, b"working\n")
    await container.write(STDOUT, json.dumps({"sum": given["a"] * 2}).encode())
    return 0


async def silent(container: Container) -> int:
    await container.read()
    return 0


async def hang(container: Container) -> int:
    await asyncio.sleep(600)
    return 0


async def test_arguments_go_in_as_json_and_json_comes_out() -> None:
    async with running(double) as run:
        assert (await run.call({"a": 21})).result == {"sum": 42}
        assert run.engine.removed == ["orchestrator-call-1-2"]
        assert not run.engine.containers


async def test_what_a_container_is_created_with() -> None:
    async with running(silent) as run:
        assert (await run.call({}, command=["python", "-c", "1"], env={"A": "b"}, workdir="/srv")).result is None
        assert run.engine.created == [
            {
                "Image": "python:3.13",
                "Cmd": ["python", "-c", "1"],
                "Env": ["A=b"],
                "WorkingDir": "/srv",
                "User": "65534:65534",
                "Labels": {"orchestrator.installation": "here", "orchestrator.ends": "1000090"},
                "Tty": False,
                "OpenStdin": True,
                "StdinOnce": True,
                "AttachStdin": True,
                "AttachStdout": True,
                "AttachStderr": True,
                "NetworkDisabled": True,
                "HostConfig": {
                    "NetworkMode": "none",
                    "Memory": 256 << 20,
                    "MemorySwap": 256 << 20,
                    "NanoCpus": 500_000_000,
                    "PidsLimit": 20,
                    "ReadonlyRootfs": True,
                    "Tmpfs": {"/tmp": f"rw,noexec,nosuid,nodev,size={64 << 20}"},
                    "ShmSize": 64 << 20,
                    "CapDrop": ["ALL"],
                    "CapAdd": [],
                    "SecurityOpt": ["no-new-privileges:true"],
                    "Privileged": False,
                    "Binds": [],
                    "Mounts": [],
                    "Devices": [],
                    "IpcMode": "private",
                    "PidMode": "",
                    "Init": True,
                    "AutoRemove": False,
                    "RestartPolicy": {"Name": "no"},
                    "LogConfig": {"Type": "none", "Config": {}},
                    "Ulimits": [
                        {"Name": "core", "Soft": 0, "Hard": 0},
                        {"Name": "nofile", "Soft": 1024, "Hard": 1024},
                    ],
                },
            }
        ]


async def test_the_network_is_there_only_where_the_operator_grants_it() -> None:
    async with running(silent) as run:
        await run.call({}, image="net/fetch:1", network="bridge", read_only=False, memory=64 << 20)
        host = run.engine.created[0]["HostConfig"]
        assert (host["NetworkMode"], host["ReadonlyRootfs"], host["Memory"]) == ("bridge", False, 64 << 20)
        assert run.engine.created[0]["NetworkDisabled"] is False
        await run.call({}, image="net/fetch:1")
        assert run.engine.created[1]["HostConfig"]["NetworkMode"] == "none"


@pytest.mark.parametrize(
    "binding",
    [
        {"network": "bridge"},
        {"network": "host"},
        {"network": "container:other"},
        {"image": "alpine"},
        {"image": "evil/python:3.13"},
        {"image": "--privileged"},
        {"image": "python:3.13\n"},
        {"image": "../../etc"},
        {"memory": 1 << 40},
        {"memory": 0},
        {"cpus": 4},
        {"pids": -1},
        {"privileged": True},
        {"mounts": ["/:/host"]},
        {"volumes": {"/": "/host"}},
        {"user": "root"},
        {"env": {"A=B": "c"}},
        {"env": {"A": "b\0"}},
        {"command": "sh -c id"},
        {"workdir": "relative"},
    ],
)
async def test_a_binding_beyond_what_the_operator_allows_creates_nothing(binding: dict[str, Any]) -> None:
    async with running(silent) as run:
        with pytest.raises(InvalidRequest, match=r"execution\.binding"):
            run.runner.check(tool(**binding))
        with pytest.raises(InvalidRequest):
            await run.call({}, **binding)
        assert not run.engine.created


def test_without_images_nothing_is_allowed() -> None:
    with pytest.raises(InvalidRequest, match=r"tools\.images"):
        ContainerTool((), None, lambda: NOW).check(tool())


async def test_text_is_a_result_too() -> None:
    async def program(container: Container) -> int:
        await container.write(STDOUT, "hé ".encode())
        await container.write(STDOUT, b"there")
        return 0

    async with running(program) as run:
        assert (await run.call({})).result == "hé there"


async def test_an_exit_status_is_a_no_with_the_last_words() -> None:
    async def program(container: Container) -> int:
        await container.write(STDOUT, b"half")
        await container.write(STDERR, b"first\nno such file: x\n")
        return 3

    async with running(program) as run:
        with pytest.raises(ToolFailed, match="Exit status 3: first no such file: x") as caught:
            await run.call({})
        assert caught.value.details == {"exit_status": 3}
        assert run.engine.removed


async def test_too_little_memory_is_a_crash() -> None:
    async def program(container: Container) -> int:
        container.out_of_memory = True
        return 137

    async with running(program) as run:
        with pytest.raises(ToolCrashed, match="more memory"):
            await run.call({})


async def test_a_flood_is_cut_and_the_container_removed() -> None:
    async def program(container: Container) -> int:
        while True:
            await container.write(STDOUT, b"x" * (1 << 18))

    async with running(program) as run:
        with pytest.raises(ToolFailed, match="wrote more than"):
            await run.call({})
        assert run.engine.removed


async def test_a_program_need_not_read_what_it_is_given() -> None:
    async def program(container: Container) -> int:
        await container.write(STDOUT, b"1")
        return 0

    async with running(program) as run:
        assert (await run.call({"text": "x" * (4 << 20)})).result == 1


@pytest.mark.parametrize("moment", ["create", "inspect", "start", "wait", "running"])
async def test_a_cancelled_call_leaves_no_container(moment: str) -> None:
    async with running(hang if moment == "running" else silent) as run:
        held = asyncio.Event()
        if moment != "running":
            run.engine.slow[moment] = held
        call = asyncio.create_task(run.call({}))
        await until(lambda: run.engine.asked[-1:] == [moment] or (moment == "running" and run.engine.running()))
        call.cancel()
        await asyncio.sleep(0.05)
        held.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        await run.docker.close()
        assert not run.engine.containers


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ("create", 500, ToolCrashed),
        ("create", 400, InvalidRequest),
        ("create", 409, ToolCrashed),
        ("start", 400, InvalidRequest),
        ("start", 500, ToolCrashed),
        ("attach", 500, ToolCrashed),
        ("wait", 500, ToolCrashed),
    ],
)
async def test_what_the_engine_refuses(fault: str, status: int, error: type[Exception]) -> None:
    async with running(silent) as run:
        run.engine.faults[fault] = status
        with pytest.raises(error, match=f"no {fault} today"):
            await run.call({})
        assert not run.engine.containers


async def test_an_image_that_is_not_there_is_not_fetched() -> None:
    async with running(silent) as run:
        with pytest.raises(InvalidRequest, match=r"No such image: python:3\.99"):
            await run.call({}, image="python:3.99")


async def test_without_an_engine_a_call_can_be_tried_again(tmp_path: Path) -> None:
    docker = DockerContainers(f"unix://{tmp_path}/none.sock", "here")
    try:
        with pytest.raises(ToolCrashed, match="annot connect to Docker"):
            await ContainerTool(IMAGES, docker, lambda: NOW).run(order({}))
    finally:
        await docker.close()


async def test_what_an_earlier_process_left_is_removed_when_its_time_is_over() -> None:
    async with running(hang) as run:
        call = asyncio.create_task(run.call({}))
        await until(run.engine.running)
        (mine,) = run.engine.containers.values()
        other = Container("other", "other", {"Labels": {"orchestrator.installation": "there"}}, silent)
        run.engine.containers["other"] = other
        assert await run.docker.sweep(NOW + 89) == 0
        assert await run.docker.sweep(NOW + 90) == 1
        assert set(run.engine.containers) == {"other"}
        with pytest.raises(ToolCrashed):
            await call
        assert mine.name in run.engine.removed
