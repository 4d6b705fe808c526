"""One POST of a webhook: what it says, where it goes, how it is signed (Standard Webhooks 1.0)."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from orchestrator.domain.task.task import Task
from orchestrator.domain.webhook import Webhook, signature
from orchestrator.domain.webhook_hosts import WebhookHosts
from orchestrator.ports.upstream import Target, Upstream
from orchestrator.services.tasks.callback_url import read_callback_url
from orchestrator.services.tasks.reach import Reach

TIMEOUT = 15.0  # seconds for one POST
MOST_ANSWERED = 1 << 20  # bytes of an answer


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """`key` signs, empty: nothing is signed. `first_pause`: seconds between the first attempt and the second."""

    key: bytes = b""
    first_pause: float = 5.0
    hosts: WebhookHosts = field(default_factory=WebhookHosts)


class WebhookPost:
    """Sends. Redirects are not followed."""

    def __init__(self, upstream: Upstream, reach: Reach) -> None:
        self._upstream = upstream
        self._reach = reach

    async def send(self, webhook: Webhook, task: Task, key: bytes, now: float) -> int:
        """The status of the answer. Raises UpstreamError, and InvalidRequest for a URL that cannot be called."""
        url = read_callback_url(webhook.url)
        address = await self._reach.address(url.host, url.port)
        body = said(task)
        target = Target(f"webhook:{url.host}:{address}:{url.port}:{url.tls}", address, url.port, url.tls, name=url.host)
        answer = await self._upstream.fetch(
            target,
            "POST",
            url.path,
            headers=headers(webhook, body, key, int(now)),
            body=body,
            timeout=TIMEOUT,
            max_body=MOST_ANSWERED,
        )
        return answer.status


def headers(webhook: Webhook, body: bytes, key: bytes, now: int) -> dict[str, str]:
    message_id = f"msg_{webhook.id}"
    found = {"Content-Type": "application/json", "webhook-id": message_id, "webhook-timestamp": str(now)}
    return found | {"webhook-signature": signature(key, message_id, now, body)} if key else found


def said(task: Task) -> bytes:
    """The body: the same with every attempt."""
    return msgspec.json.encode(
        {
            "task_id": task.id,
            "status": task.state.value,
            "state": task.state.value,
            "result_data": msgspec.Raw(task.result or b"null"),
            "error_message": task.error or None,
            "node_id": task.node or None,
            "execution_time": task.execution_time,
            "attempt": task.attempt,
            "timestamp": task.finished_at,
        }
    )
