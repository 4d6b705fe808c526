from __future__ import annotations

import base64
from ipaddress import ip_address

import pytest

from orchestrator.domain import webhook as deliveries
from orchestrator.domain.webhook import GIVE_UP, LONGEST_PAUSE, DeliveryState, key_of, signature
from orchestrator.domain.webhook_hosts import WebhookHosts

ENDED = deliveries.ended("t", 3, "http://x", "", 1_000.0)


def test_pauses_grow_until_it_is_given_up_within_a_day() -> None:
    webhook, now, pauses = ENDED, 1_000.0, list[float]()
    while webhook.state is DeliveryState.PENDING:
        webhook = deliveries.missed(webhook, now, 500, "status 500", first_pause=5.0, rand=0.5)
        pauses.append(webhook.next_at - now)
        now = webhook.next_at
    assert pauses[:4] == [5.0, 10.0, 20.0, 40.0]
    assert max(pauses) == LONGEST_PAUSE
    assert 1_000.0 + GIVE_UP - LONGEST_PAUSE <= now <= 1_000.0 + GIVE_UP
    assert (webhook.state, webhook.last_error, webhook.done_at) == (DeliveryState.FAILED, "status 500", now)
    assert webhook.attempts == len(pauses)


def test_a_pause_is_within_a_quarter() -> None:
    shortest, longest = (
        deliveries.missed(ENDED, 1_000.0, None, "x", first_pause=4.0, rand=rand).next_at - 1_000.0
        for rand in (0.0, 1.0)
    )
    assert (shortest, longest) == (3.0, 5.0)


def test_the_signature_of_the_standard_webhooks_example() -> None:
    # github.com/standard-webhooks/standard-webhooks, the libraries' common test vector
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    found = signature(key_of(secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_keys() -> None:
    assert key_of("plain") == b"plain"
    assert key_of("whsec_" + base64.b64encode(b"key").decode()) == b"key"
    with pytest.raises(ValueError, match="base64"):
        key_of("whsec_!")


NEVER = ["169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "fd00:ec2::254"]
INSIDE = ["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "100.100.100.200", "168.63.129.16"]


@pytest.mark.parametrize("address", NEVER + INSIDE)
def test_metadata_and_special_addresses_are_refused(address: str) -> None:
    assert not WebhookHosts.of((), loopback=True).permits("x", ip_address(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
def test_loopback_only_while_the_service_is_there(address: str) -> None:
    assert not WebhookHosts.of((), loopback=False).permits("x", ip_address(address))
    assert WebhookHosts.of((), loopback=True).permits("x", ip_address(address))


def test_a_list_says_all() -> None:
    rule = WebhookHosts.of(("10.0.0.0/8", "127.0.0.1", "*.example.com"), loopback=False)
    assert rule.permits("x", ip_address("10.1.2.3"))
    assert rule.permits("x", ip_address("127.0.0.1"))
    assert rule.permits("a.example.com", ip_address("8.8.8.8"))
    assert not rule.permits("x", ip_address("8.8.8.8"))
    assert WebhookHosts.of((), loopback=False).permits("x", ip_address("8.8.8.8"))
