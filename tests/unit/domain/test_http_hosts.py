"""Where tasks of the type http may connect to."""

from __future__ import annotations

import pytest

from orchestrator.domain.http_hosts import HttpHosts
from orchestrator.domain.worker_hosts import read_address

EVERYTHING = ("0.0.0.0/0", "::/0")


@pytest.mark.parametrize(
    ("entries", "host", "address", "allowed"),
    [
        ((), "example.com", "93.184.216.34", False),
        (("example.com",), "example.com", "93.184.216.34", True),
        (("example.com",), "EXAMPLE.com", "93.184.216.34", True),
        (("example.com",), "other.com", "93.184.216.34", False),
        (("*.example.com",), "a.example.com", "93.184.216.34", True),
        (("example.com",), "example.com", "127.0.0.1", False),
        (("example.com",), "example.com", "10.0.0.1", False),
        (("example.com",), "example.com", "100.64.0.1", False),
        (("example.com",), "example.com", "169.254.169.254", False),
        (("example.com",), "example.com", "64:ff9b::7f00:1", False),
        (("example.com",), "example.com", "2002:7f00:1::", False),
        (("example.com",), "example.com", "168.63.129.16", False),
        (("example.com", "10.0.0.0/8"), "example.com", "10.0.0.1", True),
        (EVERYTHING, "anywhere", "93.184.216.34", True),
        (EVERYTHING, "anywhere", "2606:4700::1111", True),
        (EVERYTHING, "anywhere", "127.0.0.1", False),
        (EVERYTHING, "anywhere", "192.168.1.1", False),
        (EVERYTHING, "anywhere", "::1", False),
        (EVERYTHING, "anywhere", "fc00::1", False),
        (EVERYTHING, "anywhere", "ff02::1", False),
        (EVERYTHING, "anywhere", "0.0.0.0", False),
        (EVERYTHING, "anywhere", "168.63.129.16", False),
        (("168.63.129.16",), "anywhere", "168.63.129.16", True),
        (("127.0.0.1",), "127.0.0.1", "127.0.0.1", True),
        (("127.0.0.1",), "127.0.0.2", "127.0.0.2", False),
        (("168.0.0.0/7",), "anywhere", "169.254.169.254", False),
        (("169.254.0.0/16",), "anywhere", "169.254.169.254", True),
        (("fc00::/7",), "anywhere", "fd00::1", True),
    ],
)
def test_what_a_rule_permits(entries: tuple[str, ...], host: str, address: str, allowed: bool) -> None:
    found = read_address(address)
    assert found is not None
    assert HttpHosts.of(entries).permits(host, found) is allowed


def test_only_entries_switch_it_on() -> None:
    assert not HttpHosts.of(())
    assert HttpHosts.of(("example.com",))
