"""What a process does for one call of `data-processing`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.services.builtin_tools.apart import PROBLEM
from orchestrator.services.builtin_tools.data import changing, cleaning, criteria, grouping, merging
from orchestrator.services.builtin_tools.data.table import Rows, columns_of, known, names, rows_of, written

Arguments = Mapping[str, Any]
Fields = dict[str, Any]


def process(arguments: Arguments) -> Fields:
    """`{"processed_data": {...}}`, or `{"problem": words}` where the arguments or the data are wrong."""
    try:
        action = arguments["action"]
        return {"processed_data": {"action": action, **ACTIONS[action](arguments)}}
    except InvalidRequest as error:
        return {PROBLEM: error.message}


def _data(arguments: Arguments) -> Any:
    for name in ("data", "input_data"):
        if name in arguments:
            return arguments[name]
    raise InvalidRequest("data: there is none")


def _rows(arguments: Arguments) -> Rows:
    return rows_of(_data(arguments), _form(arguments))


def _form(arguments: Arguments) -> str | None:
    """A text is read as what it looks like where no format is given."""
    form = arguments.get("input_format", arguments.get("format"))
    return None if form is None else str(form)


def _asked(arguments: Arguments, name: str, default: Any = None) -> Any:
    """A parameter, which may also stand within `operation`."""
    operation = arguments.get("operation")
    if name in arguments:
        return arguments[name]
    return operation.get(name, default) if isinstance(operation, Mapping) else default


def _written(arguments: Arguments, rows: Rows) -> Fields:
    form = str(arguments.get("output_format", "json"))
    return {"data": written(rows, form), "row_count": len(rows), "columns": columns_of(rows), "format": form}


def _convert(arguments: Arguments) -> Fields:
    return _written(arguments, _rows(arguments))


def _filter(arguments: Arguments) -> Fields:
    rows = _rows(arguments)
    wanted = _asked(arguments, "criteria")
    if wanted is None:
        operation = arguments.get("operation")
        wanted = (
            operation if isinstance(operation, Mapping) and "field" in operation else _asked(arguments, "condition")
        )
    found = criteria.matching(rows, wanted)
    return {**_written(arguments, found), "original_count": len(rows), "filtered_count": len(found)}


def _aggregate(arguments: Arguments) -> Fields:
    rows = _rows(arguments)
    group_by = names(_asked(arguments, "group_by", []), "group_by")
    found = grouping.aggregated(rows, group_by, _asked(arguments, "aggregations"))
    return {**_written(arguments, found), "original_count": len(rows)}


def _transform(arguments: Arguments) -> Fields:
    spec = arguments.get("transform_spec")
    if spec is not None:
        if not isinstance(spec, Mapping) or not all(isinstance(one, str) for one in spec.values()):
            raise InvalidRequest("transform_spec: an object {field: expression}")
        return {"data": changing.specified(_data(arguments), spec, _form(arguments)), "row_count": 1}
    rows = _rows(arguments)
    operations = _asked(arguments, "operations", _asked(arguments, "transformations", []))
    if not isinstance(operations, list):
        raise InvalidRequest("operations: a list")
    found, done = changing.changed(rows, operations)
    return {**_written(arguments, found), "original_count": len(rows), "operations": done}


def _profile(arguments: Arguments) -> Fields:
    return cleaning.profiled(_rows(arguments), names(_asked(arguments, "profiling_options", []), "profiling_options"))


def _pivot(arguments: Arguments) -> Fields:
    rows = _rows(arguments)
    index, columns, values = (names(_asked(arguments, name, []), name) for name in ("index", "columns", "values"))
    function = str(_asked(arguments, "aggfunc", "sum")).lower()
    found = grouping.pivoted(rows, index, columns, values, function, _asked(arguments, "fill_value"))
    return {**_written(arguments, found), "original_count": len(rows)}


def _clean(arguments: Arguments) -> Fields:
    rows = _rows(arguments)
    found, went = cleaning.cleaned(
        rows,
        bool(_asked(arguments, "remove_duplicates", False)),
        _asked(arguments, "handle_missing"),
        bool(_asked(arguments, "remove_outliers", False)),
        known(names(_asked(arguments, "columns", []), "columns"), rows, "columns"),
    )
    return {**_written(arguments, found), "original_count": len(rows), "cleaned_count": len(found), **went}


def _merge(arguments: Arguments) -> Fields:
    datasets = arguments.get("datasets", arguments.get("data"))
    if isinstance(datasets, Mapping):
        datasets = list(datasets.values())
    if not isinstance(datasets, list):
        raise InvalidRequest("datasets: a list of tables")
    tables = [rows_of(one, _form(arguments)) for one in datasets]
    strategy = str(_asked(arguments, "merge_strategy", "join" if "join_on" in arguments else "concat"))
    on = names(_asked(arguments, "join_on", []), "join_on")
    found = merging.merged(tables, strategy, on, str(_asked(arguments, "join_type", "inner")))
    return {**_written(arguments, found), "original_counts": [len(table) for table in tables], "strategy": strategy}


ACTIONS: dict[str, Callable[[Arguments], Fields]] = {
    "convert": _convert,
    "filter": _filter,
    "aggregate": _aggregate,
    "transform": _transform,
    "profile": _profile,
    "pivot": _pivot,
    "clean": _clean,
    "merge": _merge,
}
