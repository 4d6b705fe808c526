"""The web: requests, searches and pages."""

from orchestrator.services.builtin_tools.web.browser import HeadlessBrowser
from orchestrator.services.builtin_tools.web.client import HttpClient
from orchestrator.services.builtin_tools.web.search import WebSearch

__all__ = ["HeadlessBrowser", "HttpClient", "WebSearch"]
