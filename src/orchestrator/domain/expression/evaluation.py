"""Evaluates a checked tree, node by node."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.expression.functions import FUNCTIONS, items, kind, method
from orchestrator.domain.expression.values import Budget, ExpressionError, Listed, Number, fits, hashable, number

Functions = Mapping[str, Callable[..., Any]]  # of the caller, by their names, which may have a dot
_CONSTANTS = {"true": True, "false": False, "null": None}


class Evaluation:
    """One evaluation of one expression."""

    def __init__(self, names: Mapping[str, Any], functions: Functions) -> None:
        self._names = names
        self._functions = functions
        self._bound: dict[str, Any] = {}  # by comprehensions
        self.budget = Budget()

    def value(self, node: ast.expr) -> Any:
        self.budget.spend(1)
        return _VALUE[type(node)](self, node)

    def name(self, node: ast.Name) -> Any:
        if node.id in self._bound:
            return self._bound[node.id]
        if node.id in self._names:
            return self._names[node.id]
        if node.id in _CONSTANTS:
            return _CONSTANTS[node.id]
        raise ExpressionError(f"unknown name {node.id!r}")

    def boolean(self, node: ast.BoolOp) -> Any:
        wanted = isinstance(node.op, ast.Or)
        found: Any = None
        for one in node.values:
            found = self.value(one)
            if bool(found) is wanted:
                break
        return found

    def unary(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return not value
        if not isinstance(value, Number):
            raise ExpressionError(f"{kind(value)} has no sign")
        return -value if isinstance(node.op, ast.USub) else +value

    def binary(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(left, Number) and isinstance(right, Number):
            return _arithmetic(node.op, left, right)
        if isinstance(node.op, ast.Add):
            return self._joined(left, right)
        if isinstance(node.op, ast.Mult):
            for value, times in ((left, right), (right, left)):
                if isinstance(value, (str, list)) and isinstance(times, int):
                    fits(len(value) * max(times, 0))
                    self.budget.spend(len(value) * max(times, 0) // 10)
                    return value * times
        raise ExpressionError(f"{_SIGNS[type(node.op)]} does not work between {kind(left)} and {kind(right)}")

    def _joined(self, left: Any, right: Any) -> Any:
        if isinstance(left, (str, list)) and type(left) is type(right):
            fits(len(left) + len(right))
            self.budget.spend((len(left) + len(right)) // 10)
            both: Any = left
            return both + right
        raise ExpressionError(f"+ does not work between {kind(left)} and {kind(right)}")

    def compare(self, node: ast.Compare) -> bool:
        left = self.value(node.left)
        for sign, operand in zip(node.ops, node.comparators, strict=True):
            right = self.value(operand)
            self.budget.weigh(left)
            self.budget.weigh(right)
            if isinstance(sign, (ast.In, ast.NotIn)):
                holds = _within(left, right) is isinstance(sign, ast.In)
            else:
                holds = _COMPARE[type(sign)](left, right)
            if not holds:
                return False
            left = right
        return True

    def choice(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def listed(self, node: ast.List | ast.Tuple) -> list[Any]:
        return [self.value(one) for one in node.elts]

    def set_of(self, node: ast.Set) -> set[Any]:
        return {hashable(self.value(one)) for one in node.elts}

    def object(self, node: ast.Dict) -> dict[Any, Any]:
        pairs = zip(node.keys, node.values, strict=True)
        return {hashable(self.value(key)): self.value(value) for key, value in pairs if key is not None}

    def attribute(self, node: ast.Attribute) -> Any:
        return self._part(self.value(node.value), node.attr)

    def subscript(self, node: ast.Subscript) -> Any:
        value = self.value(node.value)
        if not isinstance(node.slice, ast.Slice):
            return self._part(value, self.value(node.slice))
        if not isinstance(value, (str, list, tuple)):
            raise ExpressionError(f"{kind(value)} has no parts")
        ends = (
            None if one is None else self.value(one) for one in (node.slice.lower, node.slice.upper, node.slice.step)
        )
        found = value[slice(*ends)]
        self.budget.spend(len(found) // 10)
        return found

    @staticmethod
    def _part(value: Any, key: Any) -> Any:
        if isinstance(value, Mapping):
            if hashable(key) not in value:
                raise ExpressionError(f"there is no {str(key)[:100]!r} in the object")
            return value[key]
        if isinstance(value, (str, list, tuple)) and isinstance(key, int):
            if not -len(value) <= key < len(value):
                raise ExpressionError(f"there is no item {key:,} among {len(value):,}")
            return value[key]
        raise ExpressionError(f"{kind(value)} has no {str(key)[:100]!r}")

    def call(self, node: ast.Call) -> Any:
        arguments = tuple(self.value(one) for one in node.args)
        dotted = ast.unparse(node.func) if isinstance(node.func, (ast.Name, ast.Attribute)) else ""
        if dotted in self._functions:
            self.budget.weigh(arguments)
            found = self._functions[dotted](*arguments)
            fits(self.budget.weigh(found))
            return found
        if isinstance(node.func, ast.Attribute):
            return method(self.budget, self.value(node.func.value), node.func.attr, arguments)
        if dotted not in FUNCTIONS:
            raise ExpressionError(f"unknown function {dotted!r}")
        function, least, most = FUNCTIONS[dotted]
        if not least <= len(arguments) <= most:
            raise ExpressionError(f"{dotted} takes {least if least == most else f'{least} to {most}'} arguments")
        return function(self.budget, arguments)

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> list[Any]:
        found: list[Any] = []
        self._each(node.generators, lambda: found.append(self.value(node.elt)))
        return found

    def set_comprehension(self, node: ast.SetComp) -> set[Any]:
        found: set[Any] = set()
        self._each(node.generators, lambda: found.add(hashable(self.value(node.elt))))
        return found

    def object_comprehension(self, node: ast.DictComp) -> dict[Any, Any]:
        found: dict[Any, Any] = {}

        def add() -> None:
            found[hashable(self.value(node.key))] = self.value(node.value)

        self._each(node.generators, add)
        return found

    def _each(self, loops: list[ast.comprehension], add: Callable[[], Any]) -> None:
        if not loops:
            add()
            return
        loop, before = loops[0], self._bound
        for one in items(self.value(loop.iter)):
            self.budget.iterate()
            self._bound = {**before, **_targets(loop.target, one)}
            if all(self.value(test) for test in loop.ifs):
                self._each(loops[1:], add)
        self._bound = before


def _targets(target: ast.expr, value: Any) -> dict[str, Any]:
    if isinstance(target, ast.Name):
        return {target.id: value}
    assert isinstance(target, ast.Tuple)
    names = [one.id for one in target.elts if isinstance(one, ast.Name)]
    if not isinstance(value, (list, tuple)) or len(value) != len(names):
        raise ExpressionError(f"{kind(value)} does not give {len(names)} values")
    return dict(zip(names, value, strict=True))


def _within(one: Any, many: Any) -> bool:
    if isinstance(many, str):
        if not isinstance(one, str):
            raise ExpressionError(f"{kind(one)} is never in a text")
        return one in many
    if isinstance(many, (Mapping, set, frozenset)):
        return hashable(one) in many
    if isinstance(many, Listed):
        return one in many
    raise ExpressionError(f"nothing is in {kind(many)}")


def _arithmetic(sign: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(sign, ast.Pow):
        bits = left.bit_length() if isinstance(left, int) else 0
        if isinstance(left, int) and isinstance(right, int) and bits * abs(right) > 8_192 and bits > 1:
            raise ExpressionError("the power is too large")
        return number(left**right)
    return number(_ARITHMETIC[type(sign)](left, right))


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right,
    ast.FloorDiv: lambda left, right: left // right,
    ast.Mod: lambda left, right: left % right,
}
_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**"}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda left, right: left == right,
    ast.NotEq: lambda left, right: left != right,
    ast.Lt: lambda left, right: left < right,
    ast.LtE: lambda left, right: left <= right,
    ast.Gt: lambda left, right: left > right,
    ast.GtE: lambda left, right: left >= right,
    # Only constants have an identity here: null, true and false.
    ast.Is: lambda left, right: type(left) is type(right) and left == right,
    ast.IsNot: lambda left, right: type(left) is not type(right) or left != right,
}
_VALUE: dict[type[ast.expr], Callable[[Evaluation, Any], Any]] = {
    ast.Constant: lambda _, node: node.value,
    ast.Name: Evaluation.name,
    ast.BoolOp: Evaluation.boolean,
    ast.UnaryOp: Evaluation.unary,
    ast.BinOp: Evaluation.binary,
    ast.Compare: Evaluation.compare,
    ast.IfExp: Evaluation.choice,
    ast.List: Evaluation.listed,
    ast.Tuple: Evaluation.listed,
    ast.Set: Evaluation.set_of,
    ast.Dict: Evaluation.object,
    ast.Attribute: Evaluation.attribute,
    ast.Subscript: Evaluation.subscript,
    ast.Call: Evaluation.call,
    ast.ListComp: Evaluation.comprehension,
    ast.GeneratorExp: Evaluation.comprehension,
    ast.SetComp: Evaluation.set_comprehension,
    ast.DictComp: Evaluation.object_comprehension,
}
