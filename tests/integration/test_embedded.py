"""The embedded engine: real llama.cpp servers in child processes, and what becomes of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from orchestrator.bootstrap.service import Service
from orchestrator.domain.errors import ConfigurationError
from orchestrator.domain.node import AdminState, NodeKind, NodeSource
from service import running_service, spawned_service

NODE = "llamacpp-tiny"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
            "required": ["city"],
        },
    },
}


def embedded(*files: Path) -> dict[str, object]:
    return {"models": {"embedded": [str(file) for file in files]}}


def children(pid: int) -> list[int]:
    """The engine's processes below a process."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                arguments = (entry / "cmdline").read_bytes()
                found += [int(entry.name)] if b"adapters.llamacpp.child" in arguments else []
    return found


def told_about(pid: int) -> bytes:
    """What every user of the machine, or the same one, can read of a process."""
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


def alive(pid: int) -> bool:
    """A zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until_dead(pid: int) -> None:
    async with asyncio.timeout(10):
        while alive(pid):  # noqa: ASYNC110 - not our child: nothing to wait on
            await asyncio.sleep(0.02)


def engine_url(service: Service) -> str:
    node = service.fleet.get(NODE)
    assert node is not None
    return node.spec.url


async def chat(http: httpx2.AsyncClient, url: str, **fields: object) -> httpx2.Response:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 120, **fields}
    return await http.post(f"{url}/v1/chat/completions", json=body)


async def test_a_file_is_served_in_three_dialects_from_the_first_moment(
    gguf_file: Path, tmp_path: Path, http: httpx2.AsyncClient
) -> None:
    async with running_service(embedded(gguf_file), tmp_path) as running:
        await running.healthy(1)
        node = running.service.fleet.get(NODE)
        assert node is not None
        assert (node.spec.kind, node.spec.source) == (NodeKind.LLAMACPP, NodeSource.EMBEDDED)

        answer = (await chat(http, running.url)).json()
        assert answer["choices"][0]["message"]["content"]
        assert answer["usage"]["completion_tokens"] > 0

        messages = {"model": "tiny", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}
        answer = (await http.post(f"{running.url}/v1/messages", json=messages)).json()
        assert answer["content"][0]["text"]

        body = {"model": "tiny", "messages": messages["messages"], "options": {"num_predict": 20}}
        lines = (await http.post(f"{running.url}/api/chat", json=body)).text.splitlines()
        assert '"done":true' in lines[-1]


async def test_one_model_answers_embeds_and_calls_tools(
    gguf_file: Path, tmp_path: Path, http: httpx2.AsyncClient
) -> None:
    async with running_service(embedded(gguf_file), tmp_path) as running:
        await running.healthy(1)

        answer = (await http.post(f"{running.url}/api/embed", json={"model": "tiny", "input": ["a", "b c"]})).json()
        assert [len(vector) for vector in answer["embeddings"]] == [64, 64]
        assert answer["embeddings"][0] != answer["embeddings"][1]

        choice = (await chat(http, running.url, tools=[TOOL])).json()["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["tool_calls"][0]["function"]["name"] == "weather"


async def test_the_engine_answers_nobody_but_the_gateway(
    gguf_file: Path, tmp_path: Path, http: httpx2.AsyncClient
) -> None:
    async with running_service(embedded(gguf_file), tmp_path) as running:
        await running.healthy(1)
        refused = await chat(http, engine_url(running.service))
        assert refused.status_code == 401
        [child] = children(os.getpid())
        node = running.service.fleet.get(NODE)
        assert node is not None
        assert node.secret is not None
        assert node.secret.encode() not in told_about(child)


async def test_a_killed_engine_is_started_again(gguf_file: Path, tmp_path: Path, http: httpx2.AsyncClient) -> None:
    async with running_service(embedded(gguf_file), tmp_path) as running:
        await running.healthy(1)
        before = engine_url(running.service)
        [child] = children(os.getpid())
        os.kill(child, signal.SIGKILL)
        await running.until(lambda: engine_url(running.service) != before)
        assert running.service.fleet.resolve("tiny").name == "tiny"  # unavailable, and still known
        await running.healthy(1)
        assert (await chat(http, running.url)).status_code == 200
        assert (tmp_path / "data" / "logs" / f"{NODE}.log").stat().st_size > 0


async def test_a_stop_ends_the_engine(gguf_file: Path, tmp_path: Path) -> None:
    async with running_service(embedded(gguf_file), tmp_path) as running:
        await running.healthy(1)
        [child] = children(os.getpid())
    assert not alive(child)


async def test_the_engine_does_not_outlive_a_killed_service(gguf_file: Path, tmp_path: Path) -> None:
    with spawned_service(embedded(gguf_file), tmp_path, healthy=1) as spawned:
        [child] = children(spawned.process.pid)
        spawned.kill()
        await until_dead(child)


async def test_a_removed_engine_is_stopped(gguf_file: Path, tmp_path: Path) -> None:
    async with running_service(embedded(gguf_file), tmp_path) as running:
        await running.healthy(1)
        [child] = children(os.getpid())
        await running.service.registry.unregister(NODE)
        await until_dead(child)
        assert running.service.fleet.nodes == {}


async def test_a_drain_outlives_a_restart(gguf_file: Path, tmp_path: Path) -> None:
    async with running_service(embedded(gguf_file), tmp_path) as running:
        await running.service.registry.set_state(NODE, AdminState.DRAINING, "new fan")
    async with running_service(embedded(gguf_file), tmp_path) as running:
        node = running.service.fleet.get(NODE)
        assert node is not None
        assert (node.spec.admin_state, node.spec.admin_reason) == (AdminState.DRAINING, "new fan")


async def test_several_files_are_several_nodes(gguf_file: Path, tmp_path: Path, http: httpx2.AsyncClient) -> None:
    other = tmp_path / "Other Model (q8).gguf"
    shutil.copy(gguf_file, other)
    async with running_service(embedded(gguf_file, other), tmp_path) as running:
        await running.healthy(2)
        assert set(running.service.fleet.nodes) == {NODE, "llamacpp-Other-Model-q8"}
        rows = (await http.get(f"{running.url}/v1/models")).json()["data"]
        assert [row["id"] for row in rows] == ["Other Model (q8)", "tiny"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"PK\x03\x04 an archive", "is not a GGUF file"),
        (b"GGUF\x03", "header is broken"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 16, "header is broken"),
        (b"GGUF\x03\0\0\0" + b"\0" * 8 + b"\x01" + b"\0" * 7 + b"\xff" * 8, "header is broken"),
    ],
)
async def test_a_file_that_is_no_model_keeps_the_service_from_starting(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "broken.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        async with running_service(embedded(file), tmp_path, first=True):
            pass
    assert not (tmp_path / "data" / "orchestrator.db").exists()


async def test_two_files_of_one_name_are_refused(gguf_file: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    shutil.copy(gguf_file, tmp_path / "sub" / "tiny.gguf")
    with pytest.raises(ConfigurationError, match="have the same name"):
        async with running_service(embedded(gguf_file, tmp_path / "sub" / "tiny.gguf"), tmp_path):
            pass


async def test_without_the_extra_the_message_names_it(gguf_file: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.modules['xllamacpp'] = None\n"
        "from orchestrator.adapters.llamacpp.llama_server import LlamaOptions, llama_servers\n"
        "assert llama_servers([], LlamaOptions(), Path('logs')) == []\n"
        f"llama_servers([{str(gguf_file)!r}], LlamaOptions(), Path('logs'))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    _, output = await process.communicate()
    assert b"ConfigurationError" in output
    assert b"orchestrator[llamacpp]" in output
