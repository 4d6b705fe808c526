"""What is known of an attempt."""

from __future__ import annotations


class Report:
    """`ok` None: the attempt is given back, and nobody is to blame. `final`: another attempt would not help. `seconds`
    is how long the node took, `status` its HTTP status, 0 where none came. Never changes."""

    __slots__ = ("agent", "error", "final", "ok", "performance", "result", "seconds", "status")

    def __init__(
        self,
        ok: bool | None,
        result: bytes | None = None,
        error: str = "",
        final: bool = False,
        agent: str = "",
        performance: bytes | None = None,
        seconds: float = 0.0,
        status: int = 200,
    ) -> None:
        self.ok = ok
        self.result = result
        self.error = error
        self.final = final
        self.agent = agent
        self.performance = performance
        self.seconds = seconds
        self.status = status

    def with_result(self, result: bytes) -> Report:
        """The same with another result."""
        return Report(self.ok, result, self.error, self.final, self.agent, self.performance, self.seconds, self.status)
