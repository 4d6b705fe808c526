"""The calendar of cron expressions."""

from __future__ import annotations

from typing import Protocol


class Cron(Protocol):
    """Five fields (minute, hour, day of month, month, day of week) or six with the second first."""

    def after(self, expression: str, zone: str, moment: float) -> float | None:
        """The first moment after this one (seconds since the epoch) at which the expression holds in the IANA time
        zone; None when there is none within 50 years. A fixed time of day that the clock leaps over counts when the
        leap is done, one that it passes twice counts once. Raises InvalidRequest for an expression or zone that does
        not exist."""
