"""How hard to reason: words (OpenAI, Ollama) and token budgets (Anthropic)."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects.conversation import Thinking
from orchestrator.domain.errors import InvalidRequest

MIN_BUDGET = 1024  # Anthropic refuses less
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 49152}
EFFORTS = tuple(_BUDGETS)
_OLLAMA_LEVELS = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


def from_effort(effort: Any, where: str) -> Thinking | None:
    """OpenAI's words; `none` turns reasoning off."""
    if effort is None:
        return None
    if effort == "none":
        return Thinking(enabled=False)
    if effort not in _BUDGETS:
        raise InvalidRequest(f"'{where}' must be none or one of {', '.join(EFFORTS)}", details={"param": where})
    return Thinking(enabled=True, effort=effort)


def effort_of(thinking: Thinking) -> str:
    """The word for it in OpenAI's dialect."""
    if not thinking.enabled:
        return "none"
    if thinking.effort:
        return thinking.effort
    if not thinking.budget:
        return "medium"
    return next((word for word in ("low", "medium") if thinking.budget <= _BUDGETS[word]), "high")


def budget_of(thinking: Thinking) -> int:
    """Tokens for it in Anthropic's dialect."""
    return max(thinking.budget or _BUDGETS[thinking.effort or "medium"], MIN_BUDGET)


def ollama_think(thinking: Thinking) -> bool | str:
    """Ollama's `think`: a level only where the client named one, for not every model takes a level."""
    if not thinking.enabled or not thinking.effort:
        return thinking.enabled
    return _OLLAMA_LEVELS[thinking.effort]
