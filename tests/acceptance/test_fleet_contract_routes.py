"""Every route that tells something (fleet contract, sections 1.1, 1.2, 1.5): 200, and the documented fields."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fleet_contract import LLAMA, ContractFleet, at, contract_fleet, has

pytestmark = pytest.mark.asyncio(loop_scope="module")

BREAKER = (
    "state failureCount successCount totalRequestCount blockedRequestCount lastFailure lastSuccess nextRetryAt "
    "errorRate errorCounts consecutiveSuccesses halfOpenStartedAt halfOpenAttempts activeTestsInProgress"
)
RECOVERY = (
    "serverId totalRecoveryAttempts successfulRecoveries failedRecoveries currentConsecutiveFailures "
    "lastRecoveryAttempt lastSuccessfulRecovery failureRate averageTimeBetweenFailures pattern circuitBreakerImpact "
    "lastFailureReason firstRecordedFailure"
)
WINDOW = (
    "startTime endTime count latencySum latencySquaredSum minLatency maxLatency errors tokensGenerated tokensPrompt"
)
PERCENTILES = "p50 p95 p99"
REQUEST = "id timestamp model endpoint streaming duration success tokensGenerated tokensPrompt errorType ttft"
MODEL = f"servers.a.models.{LLAMA}"
STREAMS = (
    "recentTTFTs ttftPercentiles avgTTFT recentStreamingDurations streamingDurationPercentiles avgStreamingDuration "
    "recentChunkCounts chunkCountPercentiles avgChunkCount"
)
# The route, and what is where in its answer.
ROUTES: list[tuple[str, dict[str, str]]] = [
    ("/health", {"": "status uptime timestamp orchestrator"}),
    ("/health/live", {"": "status"}),
    ("/health/ready", {"": "status healthyServers"}),
    ("/api/tags", {"": "models", "models.0": "name model size digest details modified_at servers"}),
    ("/api/ps", {"": "models", "models.0": "name model size digest expires_at size_vram server"}),
    ("/api/version", {"": "version"}),
    ("/v1/models", {"": "object data", "data.0": "id object created owned_by"}),
    ("O/servers", {"": "success count servers", "servers.0": "id url healthy lastResponseTime models maxConcurrency"}),
    ("O/model-map", {"": "success modelToServers serverToModels totalModels totalServers"}),
    ("O/models", {"": "success count models"}),
    ("O/health", {"": "success status uptime version servers requestsPerSecond"}),
    ("O/stats", {"stats": "totalServers healthyServers totalModels inFlightRequests circuitBreakers"}),
    ("O/in-flight", {"": "success total inFlight"}),
    ("O/servers/a/models", {"": "success serverId serverUrl models", "models.0": "name modified_at size digest"}),
    ("O/models/status", {"": "success summary models"}),
    (f"O/models/{LLAMA}/status", {"": "success model status servers"}),
    ("O/models/recommendations", {"": "success recommendations count"}),
    ("O/models/idle", {"": "success threshold models count"}),
    ("O/models/fleet-stats", {"popularModels.0": "name serverCount percentage servers"}),
    ("O/circuit-breakers", {"": "success circuitBreakers", "circuitBreakers.0": f"serverId model {BREAKER} lbScore"}),
    ("O/circuit-breakers/a", {"": "serverId stats", "stats": BREAKER}),
    (f"O/circuit-breakers/a/{LLAMA}", {"": "key serverId model stats lbScore", "stats": BREAKER}),
    (f"O/servers/a/models/{LLAMA}/circuit-breaker", {"circuitBreaker": f"name {BREAKER} errorRatePercent"}),
    (
        "O/recovery-failures",
        {
            "": "success totalServers serversWithFailures serversWithPersistentFailures totalRecoveryAttempts "
            "totalFailures overallFailureRate topFailingServers commonErrorTypes timeRange",
            "timeRange": "start end",
            "topFailingServers.0": "serverId failureCount",
        },
    ),
    ("O/recovery-failures/stats/all", {"": "success count servers", "servers.0": RECOVERY}),
    ("O/recovery-failures/recent?limit=5", {"": "success count records"}),
    (
        "O/recovery-failures/b",
        {
            "": f"success {RECOVERY}",
            "circuitBreakerImpact": "totalTransitions openStateContributions lastTransition lastOpenReason",
        },
    ),
    (
        "O/recovery-failures/b/history?limit=5&offset=0",
        {
            "": "success serverId count limit offset history",
            "history.0": "timestamp serverId error errorType attemptNumber consecutiveFailures source metadata",
        },
    ),
    (
        "O/recovery-failures/b/analysis",
        {"": "success windowMs serverId pattern trend confidence recommendations"},
    ),
    (
        "O/recovery-failures/b/circuit-breaker-impact",
        {
            "": "success serverId isImpacted totalTransitions openTransitions openToHealthyRatio "
            "averageTimeInOpenState modelLevelIssues recommendations"
        },
    ),
    (
        f"O/recovery-failures/a/circuit-breaker-transitions?model={LLAMA}",
        {
            "": "success serverId model count transitions",
            "transitions.0": "timestamp serverId model previousState newState reason",
        },
    ),
    ("O/bans", {"": "success count bans"}),
    ("O/config", {"": "success config source"}),
    ("O/config/schema", {"": "success schema"}),
    ("O/logs?limit=5&level=info", {"": "logs count total"}),
    (
        "O/metrics",
        {
            "": "success timestamp global servers",
            "global": "totalRequests totalErrors totalTokens requestsPerSecond avgLatency errorRate streaming",
            "global.streaming": "totalStreamingRequests avgChunkCount avgTTFT avgStreamingDuration streamingPercentage",
            "servers.a": "healthy inFlight queued models",
            MODEL: "windows percentiles successRate throughput avgTokensPerRequest streamingMetrics",
            f"{MODEL}.windows": "1m 5m 15m 1h 24h",
            f"{MODEL}.windows.1m": WINDOW,
            f"{MODEL}.percentiles": PERCENTILES,
            f"{MODEL}.streamingMetrics": STREAMS,
        },
    ),
    (
        f"O/metrics/a/{LLAMA}",
        {
            "": "success serverId model metrics",
            "metrics": "realtime historical percentiles derived",
            "metrics.realtime": "inFlight queued",
            "metrics.derived": "successRate throughput avgTokensPerRequest",
        },
    ),
    (
        "O/metrics/recovery-tests",
        {
            "": "success timestamp aggregate recoveryProbabilities",
            "aggregate": "totalTests successes failures timeouts cancellations averageDuration",
        },
    ),
    ("O/metrics/recovery-tests/a", {"": "success timestamp breakerName metrics recoveryProbability totalTests"}),
    (
        "O/analytics/summary",
        {
            "summary": "totalRequests totalErrors avgLatency uniqueModels uniqueServers timeRange requestsPerSecond "
            "errorRate"
        },
    ),
    (
        "O/analytics/top-models?limit=3&timeRange=1h",
        {"": "success timeRange models count", "models.0": "model requests percentage avgLatency errorRate"},
    ),
    (
        "O/analytics/server-performance",
        {
            "": "success timeRange servers count",
            "servers.0": "id requests avgLatency p95Latency p99Latency errorRate throughput utilization score",
        },
    ),
    (
        "O/analytics/errors",
        {
            "": "success timeRange totalErrors byType byServer byModel trend recentErrors",
            "recentErrors.0": "timestamp serverId model errorType message",
        },
    ),
    (
        "O/analytics/capacity",
        {
            "": "success current forecast trends recommendations",
            "current": "totalCapacity usedCapacity availableCapacity queueDepth saturation",
            "forecast": "nextHour next24Hours",
            "forecast.nextHour": "predictedSaturation confidence recommendation",
            "trends": "requestsPerHour saturationLevels timestamps",
        },
    ),
    ("O/analytics/trends/latency", {"": "success metric analysis timeRange", "analysis": "direction slope confidence"}),
    (
        "O/analytics/decisions?limit=3",
        {
            "": "success count events",
            "events.0": "timestamp model selectedServerId algorithm candidates selectionReason",
            "events.0.candidates.0": "serverId totalScore breakdown",
            "events.0.candidates.0.breakdown": "latencyScore successRateScore loadScore capacityScore",
        },
    ),
    (
        f"O/analytics/decisions/trends/a/{LLAMA}",
        {
            "trend": "timestamps scores latencyScores successRateScores loadScores capacityScores selectionCount "
            "avgPosition"
        },
    ),
    ("O/analytics/selection-stats", {"stats.0": "serverId totalSelections byModel avgScore"}),
    ("O/analytics/algorithms", {"algorithms.*": "count percentage"}),
    (
        "O/analytics/score-timeline",
        {"": "intervalMinutes dataPoints", "dataPoints.0": "timestamp avgScore minScore maxScore serverCount"},
    ),
    ("O/analytics/metrics-impact", {"impact": "latency successRate load capacity", "impact.*": "correlation weight"}),
    ("O/analytics/servers-with-history", {"": "success count serverIds"}),
    (
        "O/analytics/requests/a",
        {"": "success serverId model count requests", "requests.0": f"{REQUEST} streamingDuration queueWaitTime"},
    ),
    ("O/analytics/requests/search", {"": "count requests", "requests.0": f"{REQUEST} serverId errorMessage"}),
    ("O/analytics/requests/browse", {"requests.0": f"{REQUEST} isRetry"}),
    (
        "O/analytics/request-stats/a",
        {
            "stats": "totalRequests successfulRequests failedRequests avgDuration p50Latency p95Latency p99Latency "
            "avgTokensGenerated avgTokensPrompt requestsPerMinute errorRate byModel byEndpoint"
        },
    ),
    (
        "O/analytics/request-timeline",
        {
            "": "success serverId hours intervalMinutes dataPoints",
            "dataPoints.0": "timestamp count successCount errorCount avgDuration",
        },
    ),
    ("O/analytics/summary-snapshots", {"": "success count snapshots"}),
    ("O/analytics/rollups/hourly", {"": "success count rollups"}),
    ("O/analytics/rollups/daily", {"": "success count rollups"}),
    ("O/queue", {"": "success queue inFlight"}),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ContractFleet]:
    """A fleet that has something to tell: answers whole and streamed, errors, a server that was down, a breaker."""
    async with contract_fleet(tmp_path_factory.mktemp("told"), retry={"max_attempts": 1}) as fleet:
        nodes = fleet.running.service.fleet.nodes
        await fleet.b.kill()
        await fleet.running.until(lambda: not nodes["b"].healthy)
        await fleet.generate()
        for stream in (False, True):
            assert (await fleet.generate("/api/generate--a", stream=stream)).status_code == 200
        fleet.a.mode("status", status=500, times=1)
        assert (await fleet.generate("/api/generate--a")).status_code == 502
        for word in ("open", "reset"):
            await fleet.post(f"O/circuit-breakers/a/{LLAMA}/{word}")
        async with asyncio.timeout(20):
            while not (await fleet.get("O/recovery-failures"))["totalFailures"]:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.02)
        await fleet.b.restart()
        await fleet.running.healthy(2)
        yield fleet


@pytest.mark.parametrize(("path", "fields"), ROUTES, ids=[path for path, _ in ROUTES])
async def test_contract_fields(told: ContractFleet, path: str, fields: dict[str, str]) -> None:
    answer = await told.get(path)
    for where, names in fields.items():
        has(at(answer, where), names, f"{path} at '{where}'")


async def test_contract_health_check(told: ContractFleet) -> None:
    answer = await told.post("O/health-check")
    assert [server["id"] for server in answer["servers"]] == ["a", "b"]
    has(answer["servers"][0], "id healthy lastResponseTime models")


async def test_contract_logs_clear(told: ContractFleet) -> None:
    has(await told.post("O/logs/clear"), "message")


@pytest.mark.parametrize("path", ["/api/nothing", "/v1/audio/nothing", "O/nothing"])
async def test_contract_unknown_paths(told: ContractFleet, path: str) -> None:
    unknown = await told.call("GET", path)
    assert unknown.status_code == 404
    assert "error" in unknown.json()


async def test_contract_recovery_is_reset(told: ContractFleet) -> None:
    has(await told.post("O/recovery-failures/b/reset"), "success message")
    assert (await told.get("O/recovery-failures/b"))["totalRecoveryAttempts"] == 0
