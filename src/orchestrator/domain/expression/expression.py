"""Texts of expressions, checked before anything is evaluated.

Literals, names, `and or not`, comparisons, `in`, `is`, `+ - * / // % **`, `a if c else b` and `c ? a : b`, subscripts,
slices, parts of objects (`order.price`), comprehensions, and the functions and methods of `functions`. The text is read
as Python reads expressions, and is never executed: the tree's nodes are evaluated one by one, each a step of a budget.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.domain.expression.evaluation import Evaluation, Functions
from orchestrator.domain.expression.ternary import rewritten
from orchestrator.domain.expression.values import ExpressionError, fits

MAX_TEXT = 4_096  # characters
MAX_NODES = 500
MAX_DEPTH = 40
_KINDS = (
    ast.Constant, ast.Name, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, ast.IfExp, ast.List, ast.Tuple, ast.Set,
    ast.Dict, ast.Attribute, ast.Subscript, ast.Slice, ast.Call, ast.ListComp, ast.GeneratorExp, ast.SetComp,
    ast.DictComp, ast.comprehension, ast.Load, ast.Store, ast.And, ast.Or, ast.Not, ast.USub, ast.UAdd, ast.Add,
    ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
    ast.Is, ast.IsNot, ast.In, ast.NotIn,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expression:
    """A text that is an expression."""

    text: str
    _tree: ast.expr = field(repr=False, compare=False)

    def value(self, names: Mapping[str, Any], functions: Functions | None = None) -> Any:
        """Its value for these names, which are plain data. `functions` come beside the language's own. Raises
        ExpressionError where there is no value, or it takes too many steps."""
        evaluation = Evaluation(names, functions or {})
        try:
            found = evaluation.value(self._tree)
            fits(evaluation.budget.weigh(found))
        except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise ExpressionError(f"{self.text[:200]}: {str(error)[:200] or type(error).__name__}") from error
        except ExpressionError as error:
            raise ExpressionError(f"{self.text[:200]}: {error.message}") from error
        return found

    @property
    def names(self) -> frozenset[str]:
        """The names in it, those of functions and loops included."""
        return frozenset(node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name))


def parsed(text: str) -> Expression:
    """Raises ExpressionError for a text that is none."""
    if len(text) > MAX_TEXT:
        raise ExpressionError(f"an expression has at most {MAX_TEXT:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser has opinions on `1 is 1`
            tree = ast.parse(rewritten(text).strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        words = getattr(error, "msg", "") or "too deeply nested"
        raise ExpressionError(f"{text[:200]}: not an expression ({words})") from error
    _check(tree, text)
    return Expression(text, tree)


def _check(tree: ast.expr, text: str) -> None:
    level: list[ast.AST] = [tree]
    nodes = depth = 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ExpressionError(f"{text[:200]}: more than {MAX_NODES} parts, or nested deeper than {MAX_DEPTH}")
        for node in level:
            wrong = _wrong(node)
            if wrong:
                raise ExpressionError(f"{text[:200]}: {wrong}")
        level = [child for node in level for child in ast.iter_child_nodes(node)]


def _wrong(node: ast.AST) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name) if name.startswith("_"):
            return f"names do not begin with an underscore ({name[:50]})"
        case ast.Constant(value=value) if not (value is None or isinstance(value, (str, int, float))):
            return "only texts, numbers, true, false and null are values"
        case ast.Constant(value=int() as value) if value.bit_length() > 4_096:
            return "a whole number is too large"
        case ast.Call(keywords=[_, *_]):
            return "functions take no named arguments"
        case ast.Dict(keys=keys) if None in keys:
            return "** is not part of the language"
        case ast.comprehension(is_async=1):
            return "async is not part of the language"
        case ast.comprehension(target=target) if not _names(target):
            return "a loop sets names"
    return "" if isinstance(node, _KINDS) else f"{type(node).__name__} is not part of the language"


def _names(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) or (
        isinstance(target, ast.Tuple) and all(isinstance(one, ast.Name) for one in target.elts)
    )
