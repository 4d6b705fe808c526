"""Workers in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import workers
from orchestrator.domain.storable import check_storable, is_key
from orchestrator.domain.worker import Agent, Worker, WorkerMode, WorkerStatus

_REFRESH = sa.update(workers).where(workers.c.id == sa.bindparam("worker"))


class SqlWorkers:
    """`WorkerStore` on one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> tuple[Worker, ...]:
        rows = await self._database.rows(sa.select(workers))
        return tuple(sorted((_worker(row._mapping) for row in rows), key=lambda worker: worker.id))

    async def put(self, worker: Worker) -> None:
        check_storable(worker, worker.id)
        await self._database.run(self._database.replace(workers), {**_registration(worker), **_reports(worker)})

    async def put_many(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            check_storable(worker, worker.id)
        if workers:
            await self._database.run(_REFRESH, [{"worker": worker.id, **_reports(worker)} for worker in workers])

    async def delete(self, worker_id: str) -> bool:
        if not is_key(worker_id):
            return False
        return await self._database.run(sa.delete(workers).where(workers.c.id == worker_id)) > 0


def _registration(worker: Worker) -> dict[str, Any]:
    """What changes by a registration or an operator only."""
    return {
        "id": worker.id,
        "host": worker.host,
        "port": worker.port,
        "node_type": worker.node_type,
        "held": worker.held.value if worker.held is not None else "",
        "mode": worker.mode.value,
        "capabilities": sorted(worker.capabilities),
        "task_types": sorted(worker.task_types),
        "labels": dict(worker.labels),
        "slots": worker.slots,
        "agents_count": worker.agents_count,
        "version": worker.version,
        "location": worker.location,
        "metadata": dict(worker.metadata),
        "registered_at": worker.registered_at,
        "owner": worker.owner,
    }


def _reports(worker: Worker) -> dict[str, Any]:
    """What changes all the time."""
    return {
        "status": worker.status.value,
        "agents": [asdict(agent) for agent in worker.agents],
        "cpu_usage": worker.cpu_usage,
        "memory_usage": worker.memory_usage,
        "gpu_usage": worker.gpu_usage,
        "load_score": worker.load_score,
        "memory_mb": worker.memory_mb,
        "network_latency": worker.network_latency,
        "reliability": worker.reliability,
        "task_seconds": worker.task_seconds,
        "tasks_completed": worker.tasks_completed,
        "tasks_failed": worker.tasks_failed,
        "up_since": worker.up_since,
        "heartbeat_at": worker.heartbeat_at,
    }


def _worker(row: Mapping[Any, Any]) -> Worker:
    values = dict(row)
    return Worker(
        **values
        | {
            "status": WorkerStatus(values["status"]),
            "held": WorkerStatus(values["held"]) if values["held"] else None,
            "mode": WorkerMode(values["mode"]),
            "capabilities": frozenset(values["capabilities"]),
            "task_types": frozenset(values["task_types"]),
            "agents": tuple(_agent(agent) for agent in values["agents"]),
        }
    )


def _agent(stored: Mapping[str, Any]) -> Agent:
    lists = {name: tuple(stored[name]) for name in ("capabilities", "specialized_models")}
    return Agent(**{**stored, **lists})
