"""`orchestrator chat`."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated, Any, TextIO

from cyclopts import Parameter
from cyclopts.validators import Number

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.answer import Answer, Terminal, ask
from orchestrator.entrypoints.cli.connection import Connection
from orchestrator.entrypoints.cli.failure import CommandFailed, WrongUsage
from orchestrator.entrypoints.cli.options import HERE, Remote

HELP = "/clear forgets the conversation, /exit or Ctrl-D leaves, Ctrl-C stops an answer."


def chat(
    model: str,
    prompt: str | None = None,
    /,
    *,
    system: str | None = None,
    temperature: Annotated[float | None, Parameter(validator=Number(gte=0))] = None,
    max_tokens: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    node: str | None = None,
    remote: Remote = HERE,
) -> None:
    """Talk to a model. The answer appears as it comes; Ctrl-C stops it.

    For example:

    - `orchestrator chat llama3`
    - `orchestrator chat llama3 "Why is the sky blue?"`
    - `orchestrator chat llama3 --system "Answer in one line." < question.txt`
    - `orchestrator chat llama3 "Hello" --json`

    Without a prompt and without a pipe, it keeps talking: each line is a question, and the conversation is kept until
    you leave. The answer goes to standard output; reasoning (dimmed) and the speed go to standard error.

    Parameters
    ----------
    model
        Model or alias, as `orchestrator models list` shows it.
    prompt
        What to say; otherwise standard input is read.
    system
        Instructions that come before the conversation.
    temperature
        Sampling temperature; the model's own when not given.
    max_tokens
        Longest answer, in tokens.
    node
        Send it to this node, whatever the placement would choose.
    """
    if node is not None and "/" in node:
        raise WrongUsage(f"--node: '{node}' is not the name of a node")
    path = "/v1/chat/completions" + (f"--{node}" if node is not None else "")
    body: dict[str, Any] = {"model": model, "temperature": temperature, "max_tokens": max_tokens}
    body = {name: value for name, value in body.items() if value is not None}
    messages = [{"role": "system", "content": system}] if system is not None else []
    with Connection(remote) as connection:
        if prompt is None and sys.stdin.isatty():
            if remote.json:
                raise WrongUsage("--json needs a prompt, as an argument or on standard input")
            Conversation(connection, path, body, messages).run()
            return
        text = prompt if prompt is not None else read_prompt(sys.stdin)
        question = body | {"messages": [*messages, {"role": "user", "content": text}]}
        if remote.json:
            output.print_json(ask(connection, path, question, None).facts())
            return
        terminal = Terminal()
        try:
            answer = ask(connection, path, question, terminal)
        finally:
            terminal.end()
    output.say(answer.speed(), "dim")


def read_prompt(stream: TextIO) -> str:
    try:
        text = stream.read()
    except UnicodeDecodeError:
        raise WrongUsage("standard input is not text") from None
    if not text.strip():
        raise WrongUsage("there is no prompt: give one as an argument or on standard input")
    return text


class Conversation:
    """Question and answer until the person leaves."""

    def __init__(self, connection: Connection, path: str, body: dict[str, Any], messages: list[dict[str, Any]]) -> None:
        self._connection = connection
        self._path = path
        self._body = body
        self._opening = list(messages)
        self._messages = list(messages)

    def run(self) -> None:
        with suppress(ImportError):  # a Python without it still reads lines
            import readline  # noqa: F401 - importing it gives `input` line editing and the arrow keys
        output.say(f"{self._body['model']} at {self._connection.url}. {HELP}", "dim")
        staying = True
        while staying:
            try:
                staying = self._step(input(">>> "))
            except KeyboardInterrupt:
                output.say("\n" + HELP, "dim")
            except EOFError:
                output.say("")
                return

    def _step(self, line: str) -> bool:
        """Does what a line asks for; False when it asks to leave."""
        match line.strip():
            case "":
                pass
            case "/exit" | "/quit":
                return False
            case "/clear":
                self._messages = list(self._opening)
                output.say("Forgotten.", "dim")
            case "/help" | "/?":
                output.say(HELP, "dim")
            case text:
                self._turn(text)
        return True

    def _turn(self, text: str) -> None:
        question = {"role": "user", "content": text}
        terminal = Terminal()
        answer = Answer()
        try:
            body = self._body | {"messages": [*self._messages, question]}
            ask(self._connection, self._path, body, terminal, answer)
            output.say(answer.speed(), "dim")
        except KeyboardInterrupt:
            terminal.end()
            output.say("Stopped.", "dim")
        except CommandFailed as error:
            terminal.end()
            output.fail(error.message)
        if answer.text:
            # What was said is part of the conversation, even when it was cut short.
            self._messages += [question, {"role": "assistant", "content": answer.text}]
