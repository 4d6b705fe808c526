"""Who may do what. A Principal has a role; a role grants permissions; `allowed` is the only judge.

    viewer      sees that the service is well, the fleet, its models, breakers, queue and numbers
    operator    viewer, and keeps the fleet running: nodes, models on nodes, breakers, bans, the queue
    developer   operator, and sends inference, chooses the placement of its requests, and sees why they went where
    admin       developer, and what reaches beyond one's own requests: configuration, keys, other people's prompts

Each role includes the one before it, as in the hive contract. Beside them stands

    node        a worker: registers itself, sends heartbeats, takes tasks and reports on them; nothing else

A key that should do less than its role, such as an application that only sends inference, is given scopes: the
permissions that it keeps. A scope never adds one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from orchestrator.domain.limiter import RateLimit
from orchestrator.domain.model_name import key_of


class Role(StrEnum):
    NODE = "node"
    VIEWER = "viewer"
    OPERATOR = "operator"
    DEVELOPER = "developer"
    ADMIN = "admin"


class Permission(StrEnum):
    """What a route asks for. The word after the dot is `read` unless something changes."""

    HEALTH_READ = "health.read"  # the details; liveness itself is open
    METRICS_READ = "metrics.read"
    MODELS_READ = "models.read"
    FLEET_READ = "fleet.read"  # nodes, what is in flight (without prompts), statistics
    BREAKERS_READ = "breakers.read"  # breakers and bans
    QUEUE_READ = "queue.read"
    TASKS_READ = "tasks.read"  # without what goes in and comes out of other principals' tasks
    TOOLS_READ = "tools.read"
    ARTIFACTS_READ = "artifacts.read"  # and their bytes, but not those of other principals' tasks

    FLEET_WRITE = "fleet.write"  # add, change, drain and remove nodes
    NODES_REPORT = "nodes.report"  # be a worker: register, send heartbeats, take tasks, report on them
    MODELS_WRITE = "models.write"  # pull, copy, delete, load and unload; aliases
    BREAKERS_WRITE = "breakers.write"  # force and reset breakers; ban and lift bans
    QUEUE_WRITE = "queue.write"
    TOOLS_WRITE = "tools.write"  # register, change, tag and remove tools
    TASKS_WRITE = "tasks.write"  # cancel, replay and pause anybody's tasks; start and stop scheduling

    INFERENCE_USE = "inference.use"
    TASKS_SUBMIT = "tasks.submit"  # and cancel and replay one's own
    TOOLS_CALL = "tools.call"
    ARTIFACTS_WRITE = "artifacts.write"  # upload, register, verify and delete
    POLICY_OVERRIDE = "policy.override"  # placement policy and node of one's own request
    BYPASS_USE = "bypass.use"  # a direct route past health, bans and breakers
    DEBUG_TRACE = "debug.trace"  # the decision trace of one's own request
    CONFIG_READ = "config.read"  # secrets are masked

    TOOLS_APPROVE = "tools.approve"  # agree to, or refuse, other principals' calls of tools
    CONFIG_WRITE = "config.write"
    KEYS_READ = "keys.read"
    KEYS_WRITE = "keys.write"
    PROMPTS_READ = "prompts.read"  # what other principals sent and got
    LOGS_READ = "logs.read"
    LOGS_WRITE = "logs.write"  # forget the entries in memory


_VIEWER = frozenset(
    {
        Permission.HEALTH_READ,
        Permission.METRICS_READ,
        Permission.MODELS_READ,
        Permission.FLEET_READ,
        Permission.BREAKERS_READ,
        Permission.QUEUE_READ,
        Permission.TASKS_READ,
        Permission.TOOLS_READ,
        Permission.ARTIFACTS_READ,
    }
)
_OPERATOR = _VIEWER | {
    Permission.NODES_REPORT,
    Permission.FLEET_WRITE,
    Permission.MODELS_WRITE,
    Permission.BREAKERS_WRITE,
    Permission.QUEUE_WRITE,
    Permission.TOOLS_WRITE,
    Permission.TASKS_WRITE,
}
_DEVELOPER = _OPERATOR | {
    Permission.INFERENCE_USE,
    Permission.TASKS_SUBMIT,
    Permission.TOOLS_CALL,
    Permission.ARTIFACTS_WRITE,
    Permission.POLICY_OVERRIDE,
    Permission.BYPASS_USE,
    Permission.DEBUG_TRACE,
    Permission.CONFIG_READ,
}
GRANTS: dict[Role, frozenset[Permission]] = {
    Role.NODE: frozenset({Permission.NODES_REPORT}),
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.DEVELOPER: _DEVELOPER,
    Role.ADMIN: frozenset(Permission),
}


class PrincipalKind(StrEnum):
    KEY = "key"
    ANONYMOUS = "anonymous"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `models` is an allow-list of names, where a last `*` stands for any ending; empty: all models."""

    id: str
    name: str
    role: Role
    kind: PrincipalKind = PrincipalKind.KEY
    models: frozenset[str] = frozenset()
    scopes: frozenset[Permission] = frozenset()  # empty: all that the role grants
    priority: int = 0  # of its requests in the queue, unless they ask for another
    max_priority: int = 100
    rate_limit: RateLimit | None = None
    max_concurrency: int | None = None


def anonymous(role: Role = Role.ADMIN, rate_limit: RateLimit | None = None) -> Principal:
    """Everybody, where no authentication is configured: on loopback that is the person at this machine."""
    return Principal("anonymous", "anonymous", role, PrincipalKind.ANONYMOUS, rate_limit=rate_limit)


def allowed(principal: Principal, permission: Permission, resource: str | None = None) -> bool:
    """Whether `principal` may. `resource` is the model for INFERENCE_USE; other permissions have none yet."""
    if permission not in GRANTS[principal.role]:
        return False
    if principal.scopes and permission not in principal.scopes:
        return False
    if resource is None or not principal.models or permission is not Permission.INFERENCE_USE:
        return True
    return _listed(principal.models, resource)


def may_use_model(principal: Principal, asked: str, names: Iterable[str] = ()) -> bool:
    """Whether the allow-list admits a model: by the name that was asked for, or by all the names it may stand for.

    `names` are those of the catalogue (`Resolved.names`). So a key for `llama3` may use an alias of it, but not one
    that falls back to another model; a key for the alias itself may use whatever that stands for.
    """
    models = principal.models
    if not models or _listed(models, asked):
        return True
    targets = list(names)
    return bool(targets) and all(_listed(models, name) for name in targets)


def _listed(models: frozenset[str], name: str) -> bool:
    if name in models:
        return True
    key = key_of(name)
    return any(
        (key.startswith(entry[:-1]) or name.startswith(entry[:-1])) if entry.endswith("*") else key_of(entry) == key
        for entry in models
    )


# Keys. What is stored and looked up is a hash (`api_key.hash_secret`) of the whole text: of a key of ours as well as of
# any other string that an older system used. Because the look-up compares hashes, its timing tells nothing about the
# key, and it needs no constant-time comparison; a secret that is compared as it is needs `hmac.compare_digest`.

KEY_PREFIX = "orc"
VISIBLE = 8
_LEAST_SECRET = 32  # characters of base64url: 192 bits


class KeyText(NamedTuple):
    """The parts of `orc_<8 visible>_<secret>`."""

    visible: str
    secret: str


def format_key(visible: str, secret: str) -> str:
    """A new key's text, from random letters and digits made by the caller; the secret may hold `-` and `_` too."""
    if len(visible) != VISIBLE or not visible.isalnum() or len(secret) < _LEAST_SECRET:
        raise ValueError(f"a key needs {VISIBLE} visible letters or digits and {_LEAST_SECRET} secret characters")
    return f"{KEY_PREFIX}_{visible}_{secret}"


def parse_key(text: str) -> KeyText | None:
    """The parts of a key of ours. None for any other text, which may still be a key that an older system gave out."""
    parts = text.split("_", 2)
    if len(parts) != 3 or parts[0] != KEY_PREFIX or len(parts[1]) != VISIBLE or not parts[1].isalnum():
        return None
    return KeyText(parts[1], parts[2]) if len(parts[2]) >= _LEAST_SECRET else None


def visible_part(text: str) -> str:
    """What may be shown of a key, so that people can tell keys apart: nothing of a short one."""
    parts = parse_key(text)
    if parts is not None:
        return f"{KEY_PREFIX}_{parts.visible}"
    return f"{text[:4]}..." if len(text) >= 20 else "..."
