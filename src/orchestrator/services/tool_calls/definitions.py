"""Whether what a tool says of its calls can hold. Nothing is executed or connected for it."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.tool import ATTEMPTS_LIMIT, COST_LIMIT, TIMEOUT_LIMIT, Execution, Tool
from orchestrator.ports.schemas import Schemas


class Definitions:
    """Checks tools before the registry keeps them."""

    def __init__(self, check_binding: Callable[[Tool], None], schemas: Schemas) -> None:
        """`check_binding` knows the kinds: `Catalogue.check`."""
        self._check_binding = check_binding
        self._schemas = schemas

    def check(self, tool: Tool) -> None:
        """Raises InvalidRequest, whose `field` says where. A tool that is only described may have schemas of any form:
        nobody uses them."""
        execution = tool.execution
        if execution is None:
            return
        _check_limits(execution)
        for field, schema in (("input_schema", tool.input_schema), ("output_schema", tool.output_schema)):
            if schema is not None:
                try:
                    self._schemas.check(schema)
                except InvalidRequest as error:
                    raise _wrong(field, error.message) from None
        self._check_binding(tool)


def _check_limits(execution: Execution) -> None:
    if not 1 <= execution.attempts <= ATTEMPTS_LIMIT:
        raise _wrong("execution.attempts", f"1 to {ATTEMPTS_LIMIT}")
    if execution.timeout is not None and not 0 < execution.timeout <= TIMEOUT_LIMIT:
        raise _wrong("execution.timeout", f"above 0, at most {TIMEOUT_LIMIT:,.0f} seconds")
    if not 0 <= execution.cost <= COST_LIMIT:
        raise _wrong("execution.cost", f"0 to {COST_LIMIT:,.0f}")


def _wrong(field: str, text: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {text}", details={"field": field})
