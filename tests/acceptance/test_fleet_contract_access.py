"""The fleet contract's check 40, first part: who may, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleet_contract import contract_fleet, has

USER, ADMIN_KEY = "sk-a-key-of-a-user-of-the-fleet", "sk-a-key-of-an-admin-of-the-fleet"
KEYS = [
    {"API_KEYS": USER, "ADMIN_API_KEYS": ADMIN_KEY},
    {"ORCHESTRATOR_API_KEYS": USER, "ORCHESTRATOR_ADMIN_API_KEYS": ADMIN_KEY},
]


@pytest.mark.parametrize(
    "environ",
    [{"ENABLE_AUTH": "true", **KEYS[0]}, {"ORCHESTRATOR_ENABLE_AUTH": "true", **KEYS[1]}],
    ids=["ENABLE_AUTH", "ORCHESTRATOR_ENABLE_AUTH"],
)
async def test_check_40_authentication(tmp_path: Path, environ: dict[str, str]) -> None:
    async with contract_fleet(tmp_path, "a", environ=environ) as fleet:
        for headers, said in (
            ({}, "Authentication required"),
            ({"Authorization": "Bearer wrong"}, "Authentication failed"),
            ({"X-API-Key": "wrong"}, "Authentication failed"),
        ):
            refused = await fleet.call("GET", "O/servers", headers=headers)
            assert refused.status_code == 401
            assert refused.json()["error"] == said
            assert isinstance(refused.json()["message"], str)

        # Addresses end up in logs and histories: no key is taken from there.
        assert (await fleet.call("GET", f"O/servers?apiKey={USER}")).status_code == 401
        for key in (USER, ADMIN_KEY):
            for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
                assert (await fleet.ok("GET", "O/servers", headers=headers))["count"] == 1
        admin, user = ({"X-API-Key": key} for key in (ADMIN_KEY, USER))
        body = {"maxSize": 9}
        assert (await fleet.call("PATCH", "O/config/queue", body, headers=user)).status_code == 403
        assert (await fleet.call("PATCH", "O/config/queue", body, headers=admin)).status_code == 200

        generate = {"model": "llama3", "prompt": "hi", "stream": False}
        assert (await fleet.call("POST", "/api/generate", generate)).status_code == 401
        assert (await fleet.call("POST", "/api/generate", generate, headers=user)).status_code == 200
        for path in ("/health", "/health/live", "/health/ready", "/metrics"):  # for probes and scrapers, without a key
            assert (await fleet.call("GET", path)).status_code == 200, path


async def test_check_40_the_admin_limit(tmp_path: Path) -> None:
    security = {"rate_limit_max": 631, "admin_rate_limit_max": 50}  # the defaults
    async with contract_fleet(tmp_path, "a", security=security) as fleet:
        for number in range(50):
            answer = await fleet.call("POST", "O/queue/resume")
            assert answer.status_code == 200, number
            has(answer.headers, "ratelimit-policy ratelimit-limit ratelimit-remaining ratelimit-reset")

        refused = await fleet.call("POST", "O/queue/resume")

        assert refused.status_code == 429
        body = refused.json()
        assert body["error"] == "Too many requests"
        assert isinstance(body["message"], str)
        assert 0 < body["retryAfter"] <= 300
        assert int(refused.headers["retry-after"]) == body["retryAfter"]
        has(refused.headers, "ratelimit-policy ratelimit-limit ratelimit-remaining ratelimit-reset")
        assert refused.headers["ratelimit-remaining"] == "0"
        assert (await fleet.call("GET", "O/servers")).status_code == 200  # reading has its own, wider limit
        assert (await fleet.generate()).status_code == 200  # inference has none


async def test_check_40_the_monitoring_limit(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a", security={"rate_limit_max": 5}) as fleet:
        codes = [(await fleet.call("GET", "O/servers")).status_code for _ in range(6)]
        assert codes == [200] * 5 + [429]
        assert (await fleet.call("GET", "O/health")).status_code == 200  # not counted
