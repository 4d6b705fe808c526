"""`orchestrator keys`."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Remote, Seconds, Yes

keys = App(name="keys", help="API keys: who may call the service.")
RoleName = Literal["node", "viewer", "operator", "developer", "admin"]


@keys.command(name="list")
def list_keys(*, remote: Remote = HERE) -> None:
    """List the keys, without their texts.

    Examples: `orchestrator keys list`
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/keys")
    if remote.json:
        output.print_json(answer)
        return
    rows = [
        (
            one["id"],
            one["name"],
            one.get("prefix"),
            one["role"],
            one["status"],
            one["models"] or "all",
            output.moment(one.get("expiresAt")),
            output.moment(one.get("lastUsedAt")),
        )
        for one in answer["keys"]
    ]
    columns = ("id", "name", "begins with", "role", "status", "models", "expires", "last used")
    output.print_table(columns, rows, "There are no keys.")


@keys.command
def create(
    name: str,
    /,
    *,
    role: RoleName = "developer",
    model: Annotated[list[str] | None, Parameter(negative=())] = None,
    rate_limit: int | None = None,
    priority: int = 0,
    expires_in: Seconds | None = None,
    remote: Remote = HERE,
) -> None:
    """Make a key. Its text is printed once, on standard output, and cannot be shown again.

    For example:

    - `orchestrator keys create laptop`
    - `orchestrator keys create grafana --role viewer`
    - `orchestrator keys create ci --model llama3 --rate-limit 60 --expires-in 30d > ci.key`

    Parameters
    ----------
    name
        Name in logs, metrics and lists.
    role
        What the key may do; each role includes those before it.
    model
        Model that the key may use; without any, all. Can be given several times.
    rate_limit
        Inference requests a minute.
    priority
        Queue priority of the key's requests, 0 to 100.
    expires_in
        How long it is valid, such as 12h or 30d; without it, until it is revoked.
    """
    body: dict[str, Any] = {"name": name, "role": role, "models": model or [], "priority": priority}
    if rate_limit is not None:
        body["rateLimit"] = rate_limit
    if expires_in is not None:
        body["expiresAt"] = round((time.time() + expires_in) * 1000)
    with Connection(remote) as connection:
        answer = connection.admin("POST", "/keys", body)
    if remote.json:
        output.print_json(answer)
        return
    output.say(f"The key {answer['name']} ({answer['role']}). This is the only time that its text is shown:")
    output.print_text(answer["key"])


@keys.command
def revoke(id: str, /, *, yes: Yes = False, remote: Remote = HERE) -> None:
    """Make a key open nothing from now on.

    Examples: `orchestrator keys revoke 0f3c --yes`

    Parameters
    ----------
    id
        The key's id, as `orchestrator keys list` shows it.
    yes
        Do not ask.
    """
    confirm(f"Revoke the key {id}? This cannot be taken back.", yes)
    with Connection(remote) as connection:
        answer = connection.admin("DELETE", f"/keys/{segment(id)}")
    done(remote, answer, f"Revoked {id}.")
