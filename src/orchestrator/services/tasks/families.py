"""The numbers of tasks and nodes for `GET /metrics`, under the tasks contract's names."""

from __future__ import annotations

from orchestrator.ports.telemetry import Family
from orchestrator.services.metrics.snapshot import distribution, family, single
from orchestrator.services.tasks.figures import Figures
from orchestrator.services.tasks.scheduler import Scheduler
from orchestrator.services.tasks.webhooks import Webhooks
from orchestrator.services.workers import Workers


class TaskFamilies:
    """A source of `Metrics`."""

    def __init__(self, figures: Figures, scheduler: Scheduler, workers: Workers, webhooks: Webhooks) -> None:
        self._figures = figures
        self._webhooks = webhooks
        self._scheduler = scheduler
        self._workers = workers

    def families(self) -> list[Family]:
        figures, workers = self._figures, list(self._workers.current().values())
        nodes, rate = figures.nodes(), figures.lately().success_rate
        running = sum(len(seat.running) for seat in self._scheduler.seats.by_id.values())
        api = figures.api
        return [
            family("web4ai_requests_total", list(api.calls.items())),
            family(
                "web4ai_api_response_time_seconds",
                [((endpoint,), distribution(seconds)) for endpoint, seconds in api.seconds.items()],
            ),
            family("web4ai_tasks_total", list(figures.ended.items())),
            family(
                "web4ai_task_duration_seconds",
                [((of,), distribution(seconds)) for of, seconds in figures.durations.items()],
            ),
            single("web4ai_task_success_rate", 1.0 if rate is None else rate),
            single("web4ai_pending_tasks", max(len(self._scheduler.tasks) - running, 0)),
            single("web4ai_active_nodes", nodes.active),
            single("web4ai_network_utilization", nodes.utilization),
            family("web4ai_node_cpu_usage", [((worker.id,), worker.cpu_usage) for worker in workers]),
            family("web4ai_node_memory_usage", [((worker.id,), worker.memory_usage) for worker in workers]),
            family("web4ai_node_failures_total", [((node,), count) for node, count in figures.failures.items()]),
            family(
                "orchestrator_webhook_attempts_total",
                [((outcome,), count) for outcome, count in self._webhooks.attempts.items()],
            ),
        ]
