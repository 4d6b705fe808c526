"""Live changes, and the fleet contract's view of the settings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.domain.errors import ConfigurationError
from orchestrator.domain.placement import DEFAULT_POLICY, POLICIES, PolicyOptions
from orchestrator.settings import (
    SECTIONS,
    Settings,
    apply,
    diff,
    from_legacy,
    from_legacy_tree,
    inert_keys,
    keys,
    legacy_view,
    live_paths,
    schema,
)


def test_a_change_merges_and_leaves_the_old_tree_alone() -> None:
    old = Settings()
    new = apply(old, {"queue": {"max_size": 5}, "retry.max_attempts": 7, "models": {"aliases": {"a": "b"}}})
    assert (new.queue.max_size, new.queue.timeout) == (5, 300.0)
    assert old == Settings()
    changes = diff(old, new)
    assert [(one.path, one.old, one.new, one.live) for one in changes] == [
        ("models.aliases", {}, {"a": ["b"]}, True),
        ("queue.max_size", 1000, 5, True),
        ("retry.max_attempts", 3, 7, True),
    ]
    assert [one.live for one in diff(old, apply(old, {"server.port": 1}))] == [False]
    assert apply(new, {"models.aliases": {"a": None, "c": "d"}}).models.aliases == {"c": ("d",)}


def test_live_keys() -> None:
    live = live_paths()
    for section in (
        "gateway",
        "queue",
        "load_balancer",
        "circuit_breaker",
        "retry",
        "streaming",
        "health_check",
        "security",
    ):
        inside = {path for path in diff_paths() if path.startswith(f"{section}.")}
        assert inside
        assert inside <= live
    assert {"models.aliases", "logging.level"} <= live
    assert not {path for path in live if path.partition(".")[0] in ("server", "database", "tracing", "auth")}


def diff_paths() -> set[str]:
    return set(keys())


def test_the_legacy_view_speaks_camel_case_and_milliseconds() -> None:
    view = legacy_view(apply(Settings(), {"nodes": [{"id": "a", "url": "http://h", "api_key": "secret"}]}))
    assert set(SECTIONS) <= set(view)
    assert view["port"] == 9000
    assert view["queue"]["timeout"] == 300_000
    assert isinstance(view["queue"]["timeout"], int)
    assert view["loadBalancer"]["weights"]["successRate"] == 0.2
    assert view["circuitBreaker"]["openTimeout"] == 5000
    assert view["healthCheck"]["maxConcurrentChecks"] == 10
    assert view["retry"]["maxRetriesPerServer"] == 2
    assert view["servers"] == [
        {"id": "a", "url": "http://h", "type": "ollama", "maxConcurrency": 4, "apiKey": "***REDACTED***"}
    ]
    json.dumps(view)


def test_placement_reads_its_options_from_the_legacy_view() -> None:
    """The names and defaults of both sides agree."""
    assert PolicyOptions.parse(legacy_view(Settings())["loadBalancer"]) == PolicyOptions()
    changed = apply(Settings(), {"load_balancer.warm_first.load_cost": "2s", "load_balancer.weights.vram": 0.5})
    options = PolicyOptions.parse(legacy_view(changed)["loadBalancer"])
    assert (options.warm_first.load_cost_ms, options.weights.vram) == (2000.0, 0.5)


def test_every_policy_of_the_domain_can_be_set() -> None:
    assert Settings().gateway.policy == DEFAULT_POLICY
    for name in POLICIES:
        assert apply(Settings(), {"gateway.policy": name.replace("_", "-").upper()}).gateway.policy == name
    allowed = schema()["$defs"]["Gateway"]["properties"]["policy"]["enum"]
    assert set(allowed) == set(POLICIES)


@pytest.mark.parametrize(
    ("section", "changes", "expected"),
    [
        ("queue", {"maxSize": 2000, "timeout": 1500}, {"queue": {"max_size": 2000, "timeout": 1.5}}),
        ("circuitBreaker", {"openTimeout": 120000}, {"circuit_breaker": {"open_time": 120.0}}),
        ("circuitBreaker", {"backoff": {"rateLimitMaxMs": 1000}}, {"circuit_breaker": {"max_retry_after": 1.0}}),
        ("loadBalancer", {"weights": {"vram": 0.3}}, {"load_balancer": {"weights": {"vram": 0.3}}}),
        ("security", {"corsOrigins": ["*"]}, {"server": {"cors_origins": ["*"]}}),
        ("streaming", {"maxHandoffAttempts": 1, "bufferSize": 9}, {"streaming": {"max_continuations": 1}}),
        ("healthCheck", {"intervalMs": 30000}, {"health_check": {"interval": 30.0}}),
        ("retry", {"maxRetriesPerServer": 0}, {"retry": {"max_attempts": 1}}),
        ("cooldown", {"defaultMaxConcurrency": 8}, {"load_balancer": {"default_max_concurrency": 8}}),
        ("tags", {"cacheTtlMs": 1000}, {}),
        ("metrics", {"enabled": False, "decay": {"enabled": True}}, {"metrics": {"enabled": False}}),
    ],
)
def test_a_legacy_change_becomes_ours(section: str, changes: dict[str, Any], expected: dict[str, Any]) -> None:
    assert from_legacy(section, changes) == expected
    apply(Settings(), from_legacy(section, changes))


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_of_the_view_can_be_sent_back(section: str) -> None:
    settings = Settings()
    assert apply(settings, from_legacy(section, legacy_view(settings)[section])) == settings


def test_the_whole_view_can_be_sent_back_with_one_value_edited() -> None:
    settings = apply(Settings(), {"nodes": [{"id": "a", "url": "http://h", "api_key": "secret"}]})
    view = legacy_view(settings)
    assert from_legacy_tree(view, settings) == {}
    view["enableMetrics"] = False
    view["queue"]["maxSize"] = 5
    assert from_legacy_tree(view, settings) == {"metrics": {"enabled": False}, "queue": {"max_size": 5}}


@pytest.mark.parametrize(
    ("section", "changes", "expected"),
    [
        ("queues", {}, "unknown section 'queues': did you mean 'queue'?"),
        ("queue", {"maxsize": 1}, "unknown key 'queue.maxsize': did you mean 'queue.maxSize'?"),
        ("queue", {"zzz": 1}, "unknown key 'queue.zzz'"),
        ("loadBalancer", {"weights": {"vrm": 1}}, "did you mean 'loadBalancer.weights.vram'?"),
    ],
)
def test_unknown_legacy_names_are_refused(section: str, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_legacy(section, changes)
    assert expected in str(caught.value)


def test_a_wrong_legacy_value_is_refused_by_apply() -> None:
    wrong: tuple[Any, ...] = ("soon", None, True, [], {"a": 1}, -1)
    for value in wrong:
        with pytest.raises(ConfigurationError):
            apply(Settings(), from_legacy("queue", {"timeout": value}))


def test_a_bottomless_change_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(ConfigurationError, match="nested too deep"):
        apply(Settings(), {"models": {"aliases": deep}})
    with pytest.raises(ConfigurationError, match="nested too deep"):
        from_legacy("queue", {"unknown": deep})


def test_keys_without_effect_are_named() -> None:
    found = inert_keys("streaming", {"bufferSize": 1, "maxHandoffAttempts": 2})
    assert list(found) == ["streaming.bufferSize"]
    assert found["streaming.bufferSize"]
