"""Roles, scopes and models decide what a principal may do."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from orchestrator.domain.access import (
    GRANTS,
    Permission,
    Principal,
    PrincipalKind,
    Role,
    allowed,
    anonymous,
    format_key,
    may_use_model,
    parse_key,
    visible_part,
)

SECRET = "s" * 20 + "-_" + "9" * 10


def principal(role: Role = Role.DEVELOPER, **fields: Any) -> Principal:
    return Principal("k1", "ada", role, **fields)


def test_each_role_includes_the_one_before_it_and_admin_has_all() -> None:
    roles = [Role.VIEWER, Role.OPERATOR, Role.DEVELOPER, Role.ADMIN]
    for lesser, greater in pairwise(roles):
        assert GRANTS[lesser] < GRANTS[greater]
    assert GRANTS[Role.ADMIN] == frozenset(Permission)


@pytest.mark.parametrize(
    ("permission", "least"),
    [
        (Permission.FLEET_READ, Role.VIEWER),
        (Permission.METRICS_READ, Role.VIEWER),
        (Permission.FLEET_WRITE, Role.OPERATOR),
        (Permission.MODELS_WRITE, Role.OPERATOR),
        (Permission.INFERENCE_USE, Role.DEVELOPER),
        (Permission.POLICY_OVERRIDE, Role.DEVELOPER),
        (Permission.CONFIG_READ, Role.DEVELOPER),
        (Permission.CONFIG_WRITE, Role.ADMIN),
        (Permission.KEYS_WRITE, Role.ADMIN),
        (Permission.PROMPTS_READ, Role.ADMIN),
    ],
)
def test_the_least_role_for_a_permission(permission: Permission, least: Role) -> None:
    for role in Role:
        assert allowed(principal(role), permission) == (list(Role).index(role) >= list(Role).index(least))


def test_a_viewer_changes_nothing() -> None:
    assert all(permission.value.endswith(".read") for permission in GRANTS[Role.VIEWER])


def test_scopes_take_away_and_never_add() -> None:
    app = principal(scopes=frozenset({Permission.INFERENCE_USE, Permission.KEYS_WRITE}))
    assert allowed(app, Permission.INFERENCE_USE)
    assert not allowed(app, Permission.FLEET_WRITE)
    assert not allowed(app, Permission.KEYS_WRITE)


def test_the_allow_list_of_models() -> None:
    key = principal(models=frozenset({"llama3", "qwen*", "fast:latest"}))
    for name in ("llama3", "llama3:latest", "qwen2.5:7b", "fast"):
        assert allowed(key, Permission.INFERENCE_USE, name)
        assert may_use_model(key, name)
    for name in ("llama3:8b", "llama", "my-qwen", ""):
        assert not allowed(key, Permission.INFERENCE_USE, name)
        assert not may_use_model(key, name)
    assert allowed(key, Permission.FLEET_READ, "llama3:8b")
    assert may_use_model(principal(), "anything")


def test_an_alias_opens_nothing_that_the_key_may_not_name() -> None:
    key = principal(models=frozenset({"llama3"}))
    assert may_use_model(key, "cheap", ["llama3:latest"])
    assert not may_use_model(key, "cheap", ["llama3:latest", "gpt-4o"])
    assert not may_use_model(key, "cheap", [])
    assert may_use_model(principal(models=frozenset({"cheap"})), "cheap", ["gpt-4o"])


def test_without_authentication_everybody_is_one_principal() -> None:
    everybody = anonymous()
    assert everybody.kind is PrincipalKind.ANONYMOUS
    assert allowed(everybody, Permission.CONFIG_WRITE)
    assert not allowed(anonymous(Role.VIEWER), Permission.INFERENCE_USE)


def test_a_key_of_ours_and_back() -> None:
    text = format_key("ab12CD34", SECRET)
    assert text == f"orc_ab12CD34_{SECRET}"
    assert parse_key(text) == ("ab12CD34", SECRET)
    assert visible_part(text) == "orc_ab12CD34"


@pytest.mark.parametrize(("visible", "secret"), [("short", SECRET), ("ab-12345", SECRET), ("ab12CD34", "short")])
def test_a_weak_key_is_not_made(visible: str, secret: str) -> None:
    with pytest.raises(ValueError, match="a key needs"):
        format_key(visible, secret)


@pytest.mark.parametrize(
    "text", ["", "plain", "sk-123", "orc_short_x", f"orc_ab12CD3_{SECRET}", f"abc_ab12CD34_{SECRET}", "orc_ab12CD34_x"]
)
def test_other_texts_are_no_keys_of_ours_but_show_little(text: str) -> None:
    assert parse_key(text) is None
    assert len(visible_part(text)) <= 7
    assert not text or text not in visible_part(text)
