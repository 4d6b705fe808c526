"""What is refused, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import NO_FILE, Settings, apply, check_exposure, load


def message(changes: Mapping[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        apply(Settings(), changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"server": {"prot": 1}}, "unknown key 'server.prot': did you mean 'server.port'?"),
        ({"queue": {"maxSize": 1}}, "unknown key 'queue.maxSize': did you mean 'queue.max_size'?"),
        ({"loadBalancer": {}}, "unknown key 'loadBalancer': did you mean 'load_balancer'?"),
        ({"load_balancer": {"weights": {"vramm": 1}}}, "did you mean 'load_balancer.weights.vram'?"),
        ({"port": 1}, "unknown key 'port': did you mean 'server.port'?"),
        ({"serv.port": 1}, "unknown key 'serv': did you mean 'server'?"),
        ({"metrics": {"zzz": 1}}, "unknown key 'metrics.zzz': known here: enabled, require_auth"),
        (
            {"nodes": [{"id": "a", "ulr": "x"}]},
            "unknown key 'nodes[0].ulr': did you mean 'nodes[0].url'?",
        ),
        ({"nodes": [{"url": "http://h"}]}, "nodes[0].id: has to be given"),
        ({"gateway.policy": "warm_frist"}, "(it is 'warm_frist'): did you mean 'warm_first'?"),
        ({"server.port": 70000}, "server.port: must be less than or equal to 65535 (it is 70000)"),
        ({"server.port": True}, "server.port: must be a number, not true or false"),
        ({"queue.timeout": True}, "queue.timeout: must be a number, not true or false"),
        ({"circuit_breaker.slow_first_token": True}, "must be a number, not true or false"),
        ({"queue.timeout": "1 fortnight"}, "queue.timeout: must be a number of seconds"),
        ({"queue.timeout": float("inf")}, "queue.timeout: must be a finite number"),
        ({"server.max_body": "1 acre"}, "server.max_body: must be a number of bytes"),
        ({"circuit_breaker.open_time": 301}, "circuit_breaker: open_time must not be above open_max"),
        ({"models.aliases": {"a": ["b", "a"]}}, "models: alias 'a' points to itself"),
        ({"models.aliases": {"a": []}}, "models: alias 'a' needs at least one target"),
        ({"database.url": "mysql://h/d"}, "database.url: must start with sqlite:///, postgresql:// or memory://"),
        ({"auth.keys": [{"name": "a", "key": "12345678", "priority": 9, "max_priority": 3}]}, "must not be below"),
        ({"auth.keys": [{"name": "a", "key": "12345678"}, {"name": "a", "key": "87654321"}]}, "the same name"),
        ({"auth.keys": [{"name": "a", "key": "12345678"}, {"name": "b", "key": "12345678"}]}, "the same key"),
    ],
)
def test_a_problem_is_told_with_its_path_and_what_was_meant(changes: dict[str, Any], expected: str) -> None:
    assert expected in message(changes)


@pytest.mark.parametrize("id", ["x:y", "", "-a", "a b", "a/b", "a" * 101, "a\n"])
def test_node_ids_are_checked(id: str) -> None:
    assert "nodes[0].id: " in message({"nodes": [{"id": id, "url": "http://h"}]})


@pytest.mark.parametrize(
    "url",
    [
        "not a url",
        "ftp://h",
        "http://",
        "http://u:p@h",
        "http://h:0",
        "http://h:99999",
        "http://h?q=1",
        "http://h#f",
        "",
    ],
)
def test_node_urls_are_checked(url: str) -> None:
    assert "nodes[0].url: " in message({"nodes": [{"id": "a", "url": url}]})


def test_node_urls_are_normalised_and_distinct() -> None:
    nodes = [{"id": "a", "url": "http://Host:1/base/"}]
    assert apply(Settings(), {"nodes": nodes}).nodes[0].url == "http://host:1/base"
    assert "two nodes have the url" in message({"nodes": [*nodes, {"id": "b", "url": "http%3A%2F%2Fhost:1/base"}]})
    assert "two nodes have the id" in message({"nodes": [*nodes, {"id": "a", "url": "http://other"}]})


def test_all_problems_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text("server:\n  prot: 1\nqueue:\n  max_size: many\nnodes:\n  - id: a\n    url: ftp://h\n")
    with pytest.raises(ConfigurationError) as caught:
        load(path, {"ORCHESTRATOR_RETRY__MAX_ATTEMPTS": "0"}, {"history.capacity": -1})
    problems = {one["path"]: one for one in caught.value.details["problems"]}
    assert {name: one["where"] for name, one in problems.items()} == {
        "server.prot": f"{path}:2",
        "queue.max_size": f"{path}:4",
        "nodes[0].url": f"{path}:7",
        "retry.max_attempts": "ORCHESTRATOR_RETRY__MAX_ATTEMPTS",
        "history.capacity": "command line",
    }
    assert problems["server.prot"]["suggestion"] == "did you mean 'server.port'?"
    assert str(caught.value).startswith("5 problems in the configuration:\n  - ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", 0.25),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("2d", 172800.0),
        ("2.5", 2.5),
        (7, 7.0),
        ("100ms", 0.1),
    ],
)
def test_durations(text: object, expected: float) -> None:
    assert apply(Settings(), {"queue.timeout": text}).queue.timeout == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("64KiB", 65536), ("10MB", 10_000_000), ("1.5 MiB", 1572864), (4096, 4096), ("4096", 4096)]
)
def test_sizes(text: object, expected: int) -> None:
    assert apply(Settings(), {"server.max_body": text}).server.max_body == expected


@given(st.text(max_size=20))
def test_no_text_makes_a_duration_check_fail_otherwise_than_refuse(text: str) -> None:
    try:
        found = apply(Settings(), {"queue.timeout": text}).queue.timeout
    except ConfigurationError:
        return
    assert found > 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "127.0.0.1.example.org"])
def test_an_open_address_without_authentication_is_refused(host: str) -> None:
    settings = apply(Settings(), {"server.host": host})
    with pytest.raises(ConfigurationError) as caught:
        check_exposure(settings)
    for hint in (host, "127.0.0.1", "auth.enabled: true", "ADMIN_API_KEYS"):
        assert hint in str(caught.value)
    check_exposure(apply(settings, {"auth.enabled": True}))
    listener = {"server.listeners": [{"port": 11434, "host": host}]}
    with pytest.raises(ConfigurationError, match=r"server\.listeners\[0\]\.host"):
        check_exposure(apply(Settings(), listener))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.1", "[::1]"])
def test_a_loopback_address_needs_no_authentication(host: str) -> None:
    check_exposure(apply(Settings(), {"server.host": host, "server.listeners": [{"port": 11434}]}))


def test_host_names_are_the_loopback_ones_our_own_and_those_allowed() -> None:
    server = apply(Settings(), {"server.host": "192.0.2.1", "server.allowed_hosts": ["AI.example.org"]}).server
    assert server.host_names == frozenset({"localhost", "127.0.0.1", "::1", "192.0.2.1", "ai.example.org"})
    assert apply(Settings(), {"server.allowed_hosts": ["*"]}).server.host_names is None


def test_flags_are_checked_like_everything_else() -> None:
    with pytest.raises(ConfigurationError, match=r"command line: unknown key .*did you mean"):
        load(NO_FILE, {}, {"server.prot": 1})
