"""The expression language: one value from names, operators and a few functions, in bounded time and memory."""

from orchestrator.domain.expression.evaluation import Functions
from orchestrator.domain.expression.expression import Expression, parsed
from orchestrator.domain.expression.values import ExpressionError

__all__ = ["Expression", "ExpressionError", "Functions", "parsed"]
