"""The tool `web-search`: SearXNG where the operator has one, DuckDuckGo's page without scripts otherwise."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from orchestrator.domain.errors import Conflict, ToolFailed
from orchestrator.domain.http_hosts import HttpHosts
from orchestrator.domain.tool import SideEffect
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.domain.worker_hosts import Address
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    NUMBER,
    TEXT,
    choice,
    described,
    fields,
    offered,
    results,
)
from orchestrator.services.builtin_tools.web.client import SECONDS, TIMEOUT
from orchestrator.services.builtin_tools.web.visit import READING, plain_url, read_apart, visited
from orchestrator.services.egress import Egress, Fetched

SETTING = "tools.search_url"
DUCKDUCKGO = "https://html.duckduckgo.com/html/"
RESULTS = "orchestrator.adapters.selectolax.pages:results"
BACKENDS = ("searxng", "duckduckgo", "bing", "google")
MOST_RESULTS = 100
_RESULT = results({"title": TEXT, "url": TEXT, "snippet": TEXT, "source": TEXT, "rank": COUNT}, ("title", "url"))


@dataclass(frozen=True, slots=True)
class OwnHost(HttpHosts):
    """Allows the one host that the operator has named by its URL, wherever that is."""

    host: str = ""

    def __bool__(self) -> bool:
        return bool(self.host)

    def permits(self, host: str, address: Address) -> bool:
        return host.lower() == self.host


@dataclass(frozen=True, slots=True)
class Searches:
    """Where searches go: `searxng` is the operator's own server (None: there is none) with its own way out; `egress`
    is the way to everything else."""

    egress: Egress
    searxng: str | None = None
    searxng_egress: Egress | None = None
    duckduckgo: str = DUCKDUCKGO


class WebSearch:
    """`BuiltinTool`."""

    def __init__(
        self,
        searches: Searches,
        apart: Apart,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wall` tells seconds since the epoch."""
        self._searches = searches
        self._apart = apart
        self._wall = wall
        self._monotonic = monotonic
        self.tool = offered(
            "web-search",
            "web",
            "Searches the web. Results have title, url, snippet, source, rank and, where the engine tells them, "
            "relevance and date.",
            SideEffect.EXTERNAL,
            fields(
                {
                    "query": described(TEXT, "What to search for.", minLength=1, maxLength=2_000),
                    "max_results": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": MOST_RESULTS,
                        "default": 10,
                        "description": "Results at most.",
                    },
                    "backend": choice(
                        BACKENDS,
                        "Which engine; without it the operator's SearXNG where there is one, else DuckDuckGo. Bing and "
                        "Google are asked through SearXNG.",
                    ),
                    "timeout": SECONDS,
                },
                ("query",),
            ),
            results(
                {
                    "query": TEXT,
                    "results": {"type": "array", "items": _RESULT},
                    "total_results": COUNT,
                    "search_time": NUMBER,
                    "backend": TEXT,
                    "timestamp": TEXT,
                },
                ("query", "results", "total_results", "search_time", "backend", "timestamp"),
            ),
            60.0,
        )

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        return CallOutcome(await self.search(given["query"], given.get("max_results", 10), given.get("backend"), order))

    async def search(self, query: str, most: int, backend: str | None, order: CallOrder) -> dict[str, Any]:
        """The fields of a result. Raises Conflict for an engine that is not to be had here."""
        known = self._searches.searxng
        backend = backend or ("searxng" if known else "duckduckgo")
        timeout = min(float(order.arguments.get("timeout", TIMEOUT)), order.timeout)
        start = self._monotonic()
        if known:
            found = await self._searxng(known, query, most, backend, timeout)
        elif backend == "duckduckgo":
            found = await self._duckduckgo(query, most, timeout)
        else:
            raise Conflict(
                f"backend: {backend} needs a SearXNG server; the operator has named none ({SETTING}).",
                details={"setting": SETTING},
            )
        return {
            "query": query,
            "results": [{**one, "rank": rank} for rank, one in enumerate(found, 1)],
            "total_results": len(found),
            "search_time": round(self._monotonic() - start, 6),
            "backend": backend,
            "timestamp": datetime.fromtimestamp(self._wall(), UTC).isoformat(),
        }

    async def _searxng(self, url: str, query: str, most: int, backend: str, timeout: float) -> list[dict[str, Any]]:
        engines = {} if backend == "searxng" else {"engines": backend}
        address = plain_url(f"{url.rstrip('/')}/search", {"q": query, "format": "json", **engines})
        egress = self._searches.searxng_egress or self._searches.egress
        answer = await visited(egress, "GET", address, timeout, headers={"Accept": "application/json"})
        _check(answer, "SearXNG")
        try:
            told = json.loads(answer.body)
            several = [_from_searxng(one) for one in told["results"]]
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            raise ToolFailed(
                "SearXNG did not answer in JSON; its settings must allow `search.formats: json`."
            ) from None
        if not several and told.get("unresponsive_engines"):
            raise ToolFailed(f"No engine of SearXNG answered: {json.dumps(told['unresponsive_engines'])[:300]}")
        return several[:most]

    async def _duckduckgo(self, query: str, most: int, timeout: float) -> list[dict[str, Any]]:
        address = plain_url(self._searches.duckduckgo, {"q": query})
        headers = {"Accept": "text/html", "Accept-Language": "en"}
        answer = await visited(self._searches.egress, "GET", address, timeout, headers=headers)
        text = answer.body.decode("utf-8", "replace")
        page = await read_apart(self._apart, RESULTS, READING, content=text, most=most)
        if page["challenge"] or answer.status == 202:
            raise ToolFailed("DuckDuckGo wants to see a person; try later, or use a SearXNG server.")
        _check(answer, "DuckDuckGo")
        return [{**one, "source": "duckduckgo", "relevance": None, "date": None} for one in page["results"]]


def _check(answer: Fetched, name: str) -> None:
    if answer.status != 200:
        raise ToolFailed(f"{name} answered HTTP {answer.status}.", details={"status": answer.status})


def _from_searxng(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": str(one.get("title") or ""),
        "url": str(one["url"]),
        "snippet": str(one.get("content") or ""),
        "source": str(one.get("engine") or "searxng"),
        "relevance": one.get("score"),
        "date": one.get("publishedDate"),
    }


def own_host(url: str) -> OwnHost:
    """The rule for a server of the operator's own."""
    return OwnHost(host=(urlsplit(url).hostname or "").lower())
