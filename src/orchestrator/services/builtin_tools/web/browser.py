"""The tool `headless-browser`: pages as they are sent, without running what is in them."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from orchestrator.domain.errors import InvalidRequest, NotAvailable, RateLimited, ToolCrashed, ToolFailed, ToolTimeout
from orchestrator.domain.tool import SideEffect
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    FLAG,
    TEXT,
    choice,
    described,
    fields,
    needs,
    offered,
    results,
)
from orchestrator.services.builtin_tools.web.client import SECONDS, TIMEOUT
from orchestrator.services.builtin_tools.web.search import BACKENDS, WebSearch
from orchestrator.services.builtin_tools.web.visit import READING, plain_url, read_apart, visited
from orchestrator.services.egress import MOST_REDIRECTS, Egress, Fetched

READ = "orchestrator.adapters.selectolax.pages:read"
SCRIPTED = ("scrape_js", "navigate", "screenshot", "click", "fill", "wait", "execute_js")
ACTIONS = ("scrape", "verify", "search")
MAX_PAGE = 4 << 20  # bytes
MINUTE, MOST_REQUESTS = 60.0, 30  # of one principal
CACHED, KEPT = 64, 300.0  # pages, seconds
MOST_PRINCIPALS = 10_000
READABLE = ("text/", "application/xhtml", "application/xml", "application/json")


class HeadlessBrowser:
    """`BuiltinTool`."""

    def __init__(
        self,
        egress: Egress,
        apart: Apart,
        search: WebSearch,
        monotonic: Callable[[], float] = time.monotonic,
        patience: float = READING,
    ) -> None:
        """`patience`: seconds for reading a page that is there."""
        self._patience = patience
        self._egress = egress
        self._apart = apart
        self._search = search
        self._monotonic = monotonic
        self._asked: OrderedDict[str, deque[float]] = OrderedDict()  # times of requests, by principal
        self._pages: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()
        self.tool = offered(
            "headless-browser",
            "web",
            "Reads pages of hosts that the operator allows, without running their scripts. Actions: scrape (title, "
            "text, links, images), verify (whether a URL can be reached), search (as web-search). At most "
            f"{MOST_REQUESTS} requests a minute.",
            SideEffect.EXTERNAL,
            fields(
                {
                    "action": choice(
                        (*ACTIONS, *SCRIPTED),
                        "What to do; those that need scripts are not available.",
                        default="scrape",
                    ),
                    "url": described(TEXT, "scrape, verify: the page.", minLength=1),
                    "query": described(TEXT, "search: what to search for.", minLength=1, maxLength=2_000),
                    "max_results": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
                    "backend": choice(BACKENDS, "search: which engine."),
                    "timeout": SECONDS,
                },
                allOf=[needs("scrape", "url"), needs("verify", "url"), needs("search", "query")],
            ),
            results(
                {
                    "action": TEXT,
                    "url": TEXT,
                    "status_code": {"type": ["integer", "null"]},
                    "title": TEXT,
                    "text": TEXT,
                    "content": TEXT,
                    "links": {"type": "array", "items": {"type": "object"}},
                    "images": {"type": "array", "items": {"type": "object"}},
                    "word_count": COUNT,
                    "accessible": FLAG,
                    "content_type": TEXT,
                },
                ("action",),
            ),
            60.0,
        )

    def forget(self) -> None:
        """Pages that are kept, after the operator has changed what may be reached."""
        self._pages.clear()

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        action = given.get("action", "scrape")
        if action in SCRIPTED:
            raise NotAvailable(f"{action} is not available: it needs a browser that runs scripts; scrape does not.")
        if action == "search":
            self._count(order.principal)
            most = given.get("max_results", 10)
            found = await self._search.search(given["query"], most, given.get("backend"), order)
            return CallOutcome({"action": action, **found})
        if "url" not in given:
            raise InvalidRequest("url: is needed", details={"field": "url"})
        url = plain_url(given["url"])
        timeout = min(float(given.get("timeout", TIMEOUT)), order.timeout)
        told = await (self._verify if action == "verify" else self._scrape)(url, timeout, order.principal)
        return CallOutcome({"action": action, **told})

    def _count(self, principal: str) -> None:
        """Raises RateLimited."""
        now = self._monotonic()
        times = self._asked.setdefault(principal, deque())
        self._asked.move_to_end(principal)
        if len(self._asked) > MOST_PRINCIPALS:
            self._asked.popitem(last=False)
        while times and times[0] <= now - MINUTE:
            times.popleft()
        if len(times) >= MOST_REQUESTS:
            raise RateLimited(
                f"At most {MOST_REQUESTS} requests a minute.", retry_after=max(times[0] + MINUTE - now, 0.001)
            )
        times.append(now)

    async def _verify(self, url: str, timeout: float, principal: str) -> dict[str, Any]:
        """What cannot be reached is a result; what may not be reached is an error."""
        self._count(principal)
        start = self._monotonic()
        shown = {"url": url, "accessible": False, "status_code": None, "content_type": "", "final_url": url}
        try:
            answer = await visited(self._egress, "HEAD", url, timeout, redirects=MOST_REDIRECTS, most=MAX_PAGE)
            if answer.status in (405, 501):
                answer = await visited(self._egress, "GET", url, timeout, redirects=MOST_REDIRECTS, most=MAX_PAGE)
        except (ToolCrashed, ToolTimeout) as error:
            return {**shown, "error": error.message}
        return shown | {
            "accessible": answer.status < 400,
            "status_code": answer.status,
            "content_type": _kind(answer),
            "final_url": answer.url,
            "response_time": round(self._monotonic() - start, 6),
        }

    async def _scrape(self, url: str, timeout: float, principal: str) -> dict[str, Any]:
        now = self._monotonic()
        known = self._pages.get(url)
        if known is not None and known[0] > now - KEPT:
            return {**known[1], "cached": True}
        self._count(principal)
        answer = await visited(self._egress, "GET", url, timeout, redirects=MOST_REDIRECTS, most=MAX_PAGE)
        kind = answer.headers.get("content-type", "text/html")
        if answer.body and not kind.lower().startswith(READABLE):
            raise ToolFailed(f"The page is {kind[:100]}, which has no text; http-client fetches it as it is.")
        page = await read_apart(
            self._apart,
            READ,
            self._patience,
            url=answer.url,
            content=answer.body.decode("latin-1"),
            content_type=kind[:1_000],
        )
        told = {
            "url": answer.url,
            "status_code": answer.status,
            "content_type": _kind(answer),
            "content": page["text"],
            **page,
        }
        if answer.status < 400:
            self._pages[url] = (now, told)
            while len(self._pages) > CACHED:
                self._pages.popitem(last=False)
        return {**told, "cached": False}


def _kind(answer: Fetched) -> str:
    return answer.headers.get("content-type", "")[:200]
