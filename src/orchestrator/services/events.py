"""What is worth a log entry: the names, and the listeners that write those which nobody else does.

Everything logs through the standard library: the message is the event's name, `extra` its fields.
"""

from __future__ import annotations

import logging

from orchestrator.domain.breaker import Breaker
from orchestrator.domain.breaker_policy import BreakerState, Transition
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.health import Health
from orchestrator.services.fleet.node import FleetNode

EVENTS: dict[str, str] = {
    "service_started": "The service listens. `version`, `port`, `nodes`.",
    "service_stopping": "A signal or an operator ended the service; requests under way may finish. `active`.",
    "service_stopped": "The last request is over and everything is written down.",
    "node_up": "A node passed its probes. `node`, `url`, `kind`, `models` (how many).",
    "node_down": "A node failed its probes. `node`, `url`, `kind`, `error`.",
    "node_changed": "A healthy node has other models or speaks another dialect. `node`, `url`, `kind`, `models`.",
    "node_state_changed": "An operator drained a node, or took it into maintenance or back. `node`, `state`, `reason`.",
    "node_registered": "An operator added a node. `node`, `url`, `kind`.",
    "node_removed": "An operator removed a node. `node`.",
    "worker_registered": "A worker is new. `worker`, `mode`.",
    "worker_status_changed": "A worker is in another state; a warning when its tasks have to run elsewhere. `worker`, "
    "`previous`, `status`, `reason` (empty: it or an operator said so).",
    "worker_removed": "An operator removed a worker. `worker`.",
    "breaker_changed": "A breaker is in another state; a warning when it opens. `node`, `model` (empty: the node's "
    "own), `previous`, `state`, `reason`.",
    "drain_started": "An operator drains the whole service. `timeout` (seconds), `active`.",
    "drain_finished": "No request is left, or the time is over. `finished`.",
    "drain_cancelled": "The operator called the drain off.",
    "history_behind": "The database is away; the history waits for it in memory. `error`, `waiting` (requests).",
    "history_caught_up": "The database is back and the history written. `dropped` (since the start of the process).",
    "history_dropped": "The database was away too long: part of the history is lost. `count`, `requests`, `decisions`, "
    "`rollups`.",
    "history_cleaned": "Old history was deleted. `rows`.",
    "history_not_cleaned": "The database was away when old history was to be deleted. `error`.",
    "setting_changed": "A setting has another value. `setting`, `old`, `new` (secrets masked), `who`.",
    "model_loaded": "A warm-up put a model into a node's memory. `node`, `model`, `seconds` (none: it was there).",
    "model_not_loaded": "A warm-up failed. `node`, `model`, `error`.",
    "model_unloaded": "An operator, or `models.unload_idle_after`, took a model out of memory. `node`, `model`.",
    "model_not_unloaded": "An idle model could not be taken out of memory. `node`, `model`, `error`.",
    "model_job_started": "A pull, copy or creation of a model began. `job`, `kind`, `model`, `node` (empty: none yet).",
    "model_job_resumed": "A job of a process that is gone was taken up. The same fields.",
    "model_job_ended": "A job is done or was cancelled. The same fields, `status`.",
    "model_job_failed": "A job failed. The same fields, `error`.",
    "model_jobs_not_written": "The database was away when the jobs' progress was to be written down. `error`.",
    "tasks_taken_over": "Tasks of a process that is gone are looked after here. `tasks` (how many).",
    "tasks_forgotten": "Finished tasks were deleted (`tasks.keep_finished`, `max_completed`, `max_failed`). `tasks`.",
    "tasks_not_forgotten": "The database was away when finished tasks were to be deleted. `error`.",
    "not_checkpointed": "SQLite's log cannot be moved to its place, and grows. Told once, until it can. `error`.",
    "tasks_not_written": "The database is away; changes of tasks wait for it. `error`, `waiting`.",
    "tasks_not_read": "The database is away; what other processes did with tasks is looked up later. `error`.",
    "tools_disabled": "Tools were disabled because their nodes are not active. `count`, `tools` (the first 20).",
    "tools_enabled": "Tools came back with their nodes. `count`, `tools` (the first 20).",
    "meanings_not_made": "Vectors for the search by meaning could not be made; again in 30 seconds. `error`.",
    "meanings_forgotten": "Another embedding model is used: the vectors of the one before were deleted. `model`, "
    "`count`.",
    "tool_call_ended": "A call of a tool succeeded or was cancelled. `call`, `tool`, `principal`, `state`, `attempts`, "
    "`seconds`.",
    "tool_call_failed": "A call of a tool failed. The same fields, `code`, `error`.",
    "tool_broke": "A tool ended with an exception that is no error of ours: please report it. `call`, `tool`.",
    "tool_calls_interrupted": "Calls ran in a process that is gone: nobody knows how far they were. `count`.",
    "tool_calls_not_written": "The database was away when the end of a call, or old calls, were to be looked after. "
    "`error`.",
    "tool_host_changed": "A host that tools connect to is left alone, tried, or used again; a warning when it is left "
    "alone. `host`, `previous`, `state`, `reason`.",
    "tool_containers_removed": "Containers of an earlier process were removed. `count`.",
    "tool_containers_not_swept": "Docker was away when left containers were looked for. `error`.",
    "approval_wanted": "A call of a tool waits for a person. `call`, `tool`, `principal`, `side_effect`.",
    "approval_decided": "A person has decided about a call. `call`, `tool`, `principal`, `approved`, `by`, `reason`.",
    "approvals_expired": "Calls expired because nobody decided in time. `count`.",
    "mcp_server_connected": "An MCP server is connected. `server`, `transport`, `protocol`, `tools` (how many).",
    "mcp_server_lost": "An MCP server could not be reached, or its connection ended; it is tried again. `server`, "
    "`error`.",
    "mcp_server_said": "A line that the command of an MCP server wrote to standard error. `server`, `line`.",
    "mcp_servers_not_read": "The database was away when the list of MCP servers was to be read. `error`.",
    "artifact_damaged": "An artifact's bytes are not what came, or gone. `artifact`, `state` (damaged, missing).",
    "object_store_failed": "The store of the artifacts' bytes refused, or did not answer. `error`.",
    "artifacts_swept": "A clean-up removed something. `expired`, `uploads`, `orphans` (how many).",
    "artifacts_not_swept": "The database or the store of the bytes was away at a clean-up. `error`.",
    "bug": "An exception that is no error of ours: please report it. `exception`, `method`, `path`, `request`.",
    "log_lines_lost": "The output was too slow or failed. `count`.",
    "request": "One finished request; its fields are below.",
}

_log = logging.getLogger("orchestrator.fleet")


class FleetEvents:
    """Logs nodes that come and go, and breakers that change."""

    def __init__(self, fleet: Fleet, health: Health) -> None:
        self._up = {node.id for node in fleet.nodes.values() if node.healthy}
        health.on_change.append(self._node)
        fleet.on_breaker.append(self._breaker)

    def _node(self, node: FleetNode) -> None:
        told: dict[str, object] = {"node": node.id, "url": node.spec.url, "kind": node.spec.kind.value}
        if not node.healthy:
            self._up.discard(node.id)
            _log.warning("node_down", extra={**told, "error": node.error})
            return
        event = "node_changed" if node.id in self._up else "node_up"
        self._up.add(node.id)
        _log.info(event, extra={**told, "models": len(node.entries())})

    def _breaker(self, breaker: Breaker, change: Transition) -> None:
        level = logging.WARNING if change.state is BreakerState.OPEN else logging.INFO
        fields = {
            "node": breaker.node,
            "model": breaker.model,
            "previous": change.previous.value,
            "state": change.state.value,
            "reason": change.reason,
        }
        _log.log(level, "breaker_changed", extra=fields)
