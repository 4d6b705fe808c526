"""One template over plain data, in a sandbox that changes nothing. The caller bounds its time and memory."""

from __future__ import annotations

from typing import Any

from jinja2 import ChainableUndefined, StrictUndefined, TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from orchestrator.adapters.jinja.filters import FILTERS, FilterProblem

UNDEFINED: dict[str, type[Undefined]] = {"strict": StrictUndefined, "empty": ChainableUndefined}


def environment(undefined: str = "strict") -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        undefined=UNDEFINED[undefined],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    made.filters.update(FILTERS)
    return made


def render(template: str, data: dict[str, Any], undefined: str, most: int) -> dict[str, Any]:
    """`content`, at most `most` characters."""
    pieces, size = [], 0
    try:
        for piece in environment(undefined).from_string(template).generate(data):
            size += len(piece)
            if size > most:
                return {"problem": f"the result has more than {most:,} characters"}
            pieces.append(piece)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        return {"problem": f"template{f', line {line}' if line else ''}: {error.message}"}
    except FilterProblem as error:
        return {"problem": f"template: {error}"}
    except MemoryError:
        return {"problem": "the template takes too much memory"}
    except RecursionError:
        return {"problem": "the template calls itself too often"}
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, OverflowError) as error:
        return {"problem": f"template: {type(error).__name__}: {error}"[:1_000]}
    return {"content": "".join(pieces)}
