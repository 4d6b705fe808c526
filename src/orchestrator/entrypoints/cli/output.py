"""Data goes to standard output, talk to standard error; colour and frames only where a person looks on."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

STATE_STYLES = {
    **dict.fromkeys(("ok", "healthy", "closed", "active", "ready", "OK"), "green"),
    **dict.fromkeys(("unhealthy", "open", "FAIL"), "red"),
    **dict.fromkeys(("draining", "maintenance", "half-open", "paused", "WARN"), "yellow"),
}


class HelpConsole(Console):
    """Rich would exit with status 1 when the reader of the help leaves."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def out() -> Console:
    """Made anew each time, so that it follows a redirected standard output and NO_COLOR."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """One document; a person gets it indented."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(data, indent=indent, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def say(text: str, style: str = "") -> None:
    """Talk."""
    err().print(Text(text, style=style))


def warn(text: str) -> None:
    err().print(f"[yellow]warning:[/yellow] {escape(text)}")


def fail(text: str) -> None:
    err().print(f"[bold red]error:[/bold red] {escape(text)}")


def print_text(text: str) -> None:
    """Data that is one text."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = "") -> None:
    """A table for a person; for a pipe, lines of tab-separated cells under one line of column names.

    `empty` is said on standard error when there are no rows.
    """
    cells = [[shown(cell) for cell in row] for row in rows]
    if not cells and empty:
        say(empty)
        return
    if not sys.stdout.isatty():
        lines = [list(columns), *cells]
        print_text("\n".join("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in line) for line in lines))
        return
    out().print(rich_table(columns, cells))


def rich_table(columns: Sequence[str], cells: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style=STATE_STYLES.get(cell, "")) for cell in row))
    return table


def print_fields(fields: Mapping[str, Any]) -> None:
    """Names and values, one a line."""
    if not sys.stdout.isatty():
        print_text("\n".join(f"{name}\t{shown(value)}" for name, value in fields.items()))
        return
    out().print(fields_table(fields))


def fields_table(fields: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name, value in fields.items():
        text = shown(value)
        table.add_row(Text(name, style="bold"), Text(text, style=STATE_STYLES.get(text, "")))
    return table


def shown(value: Any) -> str:
    """A cell's text. Control characters of what others named are made visible, so that no name moves the cursor."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={shown(inner)}" for name, inner in value.items()) or "-"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(shown(inner) for inner in value) or "-"
    return printable(str(value))


def printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def span(seconds: float) -> str:
    """A duration as people say it: `350 ms`, `12.3 s`, `5 min`, `3 h 12 min`, `2 d 4 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def moment(milliseconds: int | None) -> str | None:
    """A time since the epoch as local time."""
    if milliseconds is None:
        return None
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))


def size(count: int) -> str | None:
    """Bytes in GB or MB, as model files are sold; None for an unknown size."""
    if not count:
        return None
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
