"""`orchestrator chat`: tokens as they come, one object, a conversation, and answers that are stopped or break."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_command import CommandLine, spawn, terminal

from orchestrator.testing.model_server import ModelServer
from service import RunningService, running_service


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@asynccontextmanager
async def talker(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[RunningService, ModelServer]]:
    async with ModelServer(["llama3"], **settings) as server:
        config = {"nodes": [{"id": "a", "url": server.url, "kind": "openai"}], "retry": {"max_attempts": 1}}
        async with running_service(config, tmp_path) as running:
            await running.healthy(1)
            yield running, server


def asked(server: ModelServer) -> Any:
    """The body of the last chat request; probes come in between."""
    return [one for one in server.requests if one.path == "/v1/chat/completions"][-1].body


async def test_an_answer_goes_to_standard_output_and_its_speed_to_standard_error(
    command: CommandLine, tmp_path: Path
) -> None:
    async with talker(tmp_path, reply="Because of Rayleigh.") as (running, server):
        options = ("--system", "Be brief.", "--temperature", "0.5", "--max-tokens", "50")
        result = await command.at(running.url)("chat", "llama3", "Why is the sky blue?", *options)
        assert result.status == 0
        assert result.out == "Because of Rayleigh.\n"
        assert "tokens" in result.err
        body = asked(server)
        assert body["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Why is the sky blue?"},
        ]
        assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.5, 50, True)


async def test_json_is_one_object(command: CommandLine, tmp_path: Path) -> None:
    async with talker(tmp_path, reply="Hello to you.") as (running, _):
        result = await command.at(running.url)("chat", "llama3", "Hello", "--json")
    answer = result.json
    assert result.err == ""
    assert answer["content"] == "Hello to you."
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["duration"] >= answer["ttft"] > 0


async def test_a_prompt_comes_from_a_pipe(tmp_path: Path) -> None:
    async with talker(tmp_path, reply="Seen.") as (running, server):
        result = await spawn("chat", "llama3", "--url", running.url, stdin="line one\nline two\n")
        assert (result.status, result.out) == (0, "Seen.\n")
        assert asked(server)["messages"][-1]["content"] == "line one\nline two\n"
        empty = await spawn("chat", "llama3", "--url", running.url, stdin="")
        assert empty.status == 2
        assert "there is no prompt" in empty.err


async def test_a_node_can_be_named(command: CommandLine, tmp_path: Path) -> None:
    async with talker(tmp_path) as (running, _):
        run = command.at(running.url)
        assert (await run("chat", "llama3", "Hello", "--node", "a", "--json")).json["content"]
        missing = await run("chat", "llama3", "Hello", "--node", "b")
        assert missing.status == 1
        assert "'b' not found" in missing.err
        unknown = await run("chat", "lama3", "Hello", "--json")
        assert unknown.status == 1
        assert unknown.json["code"] == "model_not_found"


async def test_an_answer_that_breaks_off_is_a_failure(command: CommandLine, tmp_path: Path) -> None:
    async with talker(tmp_path, reply="one two three four five six") as (running, server):
        run = command.at(running.url)
        server.mode("cut", after=2)
        broken = await run("chat", "llama3", "Count")
        assert broken.status == 1
        assert broken.out.startswith("one")
        assert "six" not in broken.out
        assert broken.err.startswith("error: ")
        assert (await run("chat", "llama3", "Count", "--json")).json["error"]


async def test_a_conversation_remembers(tmp_path: Path) -> None:
    async with (
        talker(tmp_path, reply="I see.") as (running, server),
        terminal("chat", "llama3", "--system", "Be kind.", "--url", running.url) as screen,
    ):
        await screen.until(">>> ")
        screen.type("first\n")
        await screen.until("I see.")
        await screen.until("tokens")
        await screen.until(">>> ")
        screen.type("second\n")
        await screen.until("I see.")
        await screen.until(">>> ")
        said = [message["content"] for message in asked(server)["messages"]]
        assert said == ["Be kind.", "first", "I see.", "second"]
        screen.type("/clear\n")
        await screen.until(">>> ")
        screen.type("third\n")
        await screen.until("I see.")
        await screen.until(">>> ")
        said = [message["content"] for message in asked(server)["messages"]]
        assert said == ["Be kind.", "third"]
        screen.type("/exit\n")
        assert await screen.end() == 0


async def test_an_interrupt_stops_the_answer_and_not_the_conversation(tmp_path: Path) -> None:
    async with (
        talker(tmp_path, reply="one two three four") as (running, server),
        terminal("chat", "llama3", "--url", running.url) as screen,
    ):
        await screen.until(">>> ")
        server.mode("hang_mid", after=2, times=1)
        screen.type("count\n")
        await screen.until("one")
        await server.wait_for(lambda server: server.hanging == 1)
        screen.interrupt()
        await server.wait_for(lambda server: server.disconnects == 1, 2.0)
        await screen.until("Stopped.")
        await screen.until(">>> ")
        screen.type("go on\n")
        await screen.until("four")
        said = [message["content"] for message in asked(server)["messages"]]
        assert said[0] == "count"
        assert said[1].startswith("one")
        assert said[2] == "go on"
        await screen.until(">>> ")
        screen.interrupt()
        screen.type("\n")  # a signal that comes before the line is read is heard when it is
        await screen.until("/clear forgets")
        await screen.until(">>> ")
        screen.type("\x04")
        assert await screen.end() == 0


async def test_an_interrupt_ends_a_single_question(tmp_path: Path) -> None:
    async with talker(tmp_path, reply="one two three four") as (running, server):
        server.mode("hang_mid", after=2)
        async with terminal("chat", "llama3", "count", "--url", running.url) as screen:
            await screen.until("one")
            screen.interrupt()
            assert await screen.end() == 128 + signal.SIGINT
        await server.wait_for(lambda server: server.disconnects == 1, 2.0)


async def test_a_failure_does_not_end_the_conversation(tmp_path: Path) -> None:
    async with (
        talker(tmp_path, reply="Better.") as (running, server),
        terminal("chat", "llama3", "--url", running.url) as screen,
    ):
        await screen.until(">>> ")
        server.mode("status", status=400, message="no such thing", times=1)
        screen.type("first\n")
        await screen.until("no such thing")
        await screen.until(">>> ")
        screen.type("second\n")
        await screen.until("Better.")
        said = [message["content"] for message in asked(server)["messages"]]
        assert said == ["second"]


async def test_a_terminal_shows_no_control_characters_and_a_pipe_shows_all(tmp_path: Path) -> None:
    async with talker(tmp_path, reply="red\x1b[31malert") as (running, _):
        async with terminal("chat", "llama3", "Hello", "--url", running.url) as screen:
            assert await screen.end() == 0
        assert "red[31malert" in screen.text
        piped = await spawn("chat", "llama3", "Hello", "--url", running.url)
        assert piped.out == "red\x1b[31malert\n"
