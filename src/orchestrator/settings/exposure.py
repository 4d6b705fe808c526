"""Refuses to be reachable from other machines without authentication."""

from __future__ import annotations

from orchestrator.settings.problem import Problem, failure
from orchestrator.settings.tree import Settings
from orchestrator.settings.url import loopback


def check_exposure(settings: Settings) -> None:
    """Raises ConfigurationError, saying what to do, when an address that others can reach would be open to all."""
    if settings.auth.enabled:
        return
    bound = [("server.host", settings.server.host)]
    bound += [
        (f"server.listeners[{index}].host", listener.host)
        for index, listener in enumerate(settings.server.listeners)
        if listener.host is not None
    ]
    problems = [
        Problem(
            path,
            f"{path} is '{host}', which other machines can reach, and auth.enabled is false",
            f"either set {path} to 127.0.0.1, or turn authentication on: auth.enabled: true with a key under auth.keys "
            "(or ORCHESTRATOR_AUTH__ENABLED=true and ADMIN_API_KEYS=<a long random text>)",
        )
        for path, host in bound
        if not loopback(host)
    ]
    if problems:
        raise failure(problems)
