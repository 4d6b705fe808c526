"""`Cron` by cronsim, which follows Debian's cron when the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from orchestrator.domain.errors import InvalidRequest

LONGEST = 200  # characters of an expression


class CronSimCalendar:
    """Has no state."""

    def after(self, expression: str, zone: str, moment: float) -> float | None:
        start = datetime.fromtimestamp(moment, UTC).astimezone(_zone(zone))
        if len(expression) > LONGEST:
            raise InvalidRequest(f"cron: at most {LONGEST} characters", details={"field": "cron"})
        try:
            for found in CronSim(expression, start):
                # In the hour that comes twice, and where a time is moved out of the hour that is left out, cronsim
                # says moments that are not later than the one it was asked about.
                if found.timestamp() > moment:
                    return found.timestamp()
        except (CronSimError, ValueError) as error:
            raise InvalidRequest(f"cron: '{expression}': {error}", details={"field": "cron"}) from None
        except OverflowError:
            pass
        return None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidRequest(f"timezone: there is no '{name}'", details={"field": "timezone"}) from None
