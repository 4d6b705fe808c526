"""The tool `template`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from builtin_calls import Caller

from orchestrator.adapters.files import FileTree
from orchestrator.adapters.jinja.rendering import render
from orchestrator.domain.errors import InvalidRequest, ToolTimeout
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.template import Template


@pytest.fixture
def template(root: Path, apart: Apart) -> Caller:
    return Caller(Template(FileTree(root, 1 << 20), apart, "orchestrator.adapters.jinja.rendering:render"))


def shown(template: str, undefined: str = "strict", **data: Any) -> str:
    told = render(template, data, undefined, 10_000)
    return str(told.get("content", told.get("problem")))


async def test_a_text_is_made_of_a_template_and_data(template: Caller, root: Path) -> None:
    told = await template(template="Hello {{ name }}!\n", data={"name": "Ünal"})
    assert told == {"content": "Hello Ünal!\n", "result": "Hello Ünal!\n", "size": 13}
    (root / "t.md").write_text("{% for one in all %}\n- {{ one }}\n{% endfor %}\n")
    assert (await template(path="t.md", data={"all": [1, 2]}))["content"] == "- 1\n- 2\n"


async def test_one_source_is_needed(template: Caller) -> None:
    for arguments in ({}, {"template": "a", "path": "b"}):
        with pytest.raises(jsonschema_rs.ValidationError):
            await template(**arguments)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{ 'Über uns: Team!' | slugify }}", "uber-uns-team"),
        ("{{ 'a b c d' | truncate_words(2) }}", "a b..."),
        ("{{ 'order 12-34' | regex_search('([0-9]+)-([0-9]+)', 2) }}", "34"),
        ("{{ 'x' | regex_search('[0-9]') is none }}", "True"),
        ("{{ 'a1b2' | regex_replace('[0-9]', '#') }}", "a#b#"),
        ("{{ {'a': [1, none, 'ü']} | to_json }}", '{"a": [1, null, "ü"]}'),
        ("{{ {'a': 1} | json_encode }}{{ [1] | json }}", '{"a": 1}[1]'),
        ("{{ ('{\"a\": 2}' | from_json).a + 1 }}", "3"),
        ("{{ 0 | date('%Y-%m-%d %H:%M') }}", "1970-01-01 00:00"),
        ("{{ '2026-03-01T10:00:00+01:00' | date }}", "2026-03-01"),
        ("{{ {'a': 1, 'b': [2]} | markdown_format }}", "- **a**: 1\n- **b**: [2]"),
        ("{{ '/x/y/z.txt' | basename }}", "z.txt"),
        ("{{ 'a,b' | split(',') | join }}", "a, b"),
        ("{{ [{'a': 1}, {'a': 2}] | join('+', 'a') }}", "1+2"),
        ("{{ [1, 2] | last }}{{ [] | last }}", "2"),
        ("{{ missing | default('none') }}", "none"),
        ("{{ '<b>' }}", "<b>"),
        ("{{ ['a', 'b'] | map('upper') | list | length }}", "2"),
    ],
)
def test_filters_of_the_contract(text: str, result: str) -> None:
    assert shown(text) == result


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ missing }}", "'missing' is undefined"),
        ("a\n{% if %}", "template, line 2"),
        ("{{ missing | to_json }}", "undefined"),
        ("{{ 'a' | from_json }}", "from_json"),
        ("{{ 'a' | regex_search('(') }}", "cannot be read"),
        ("{{ 'a' | date }}", "is no time"),
        ("{{ 1 + 'a' }}", "TypeError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% include '/etc/passwd' %}", "loader"),
        ("{% import 'os' as os %}", "loader"),
        ("{{ 'x' * 20000 }}", "more than 10,000 characters"),
        ("{% for a in range(100000000) %}{% endfor %}", "Range too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ cycler.__init__.__globals__ }}", "unsafe"),
        ("{{ self._TemplateReference__context }}", "unsafe"),
        ("{{ '{0.__class__}'.format(1) }}", "unsafe"),
        ("{{ [1].append(2) }}", "unsafe"),
        ("{{ data.update({'a': 1}) }}", "unsafe"),
        ("{{ ''|attr('__class__') }}", "unsafe"),
        ("{{ lipsum.__globals__['os'].popen('id').read() }}", "unsafe"),
        ("{{ namespace.__init__ }}", "unsafe"),
    ],
)
def test_what_a_template_must_not(text: str, words: str) -> None:
    told = render(text, {"data": {}}, "strict", 10_000)
    assert words in told.get("problem", told), told


def test_a_missing_name_may_be_empty() -> None:
    assert shown("[{{ a.b.c }}]", "empty") == "[]"


async def test_memory_and_time_are_bounded(template: Caller) -> None:
    with pytest.raises(InvalidRequest, match="too much memory"):
        await template(template="{{ 'x' * 4000000000 }}")
    with pytest.raises(InvalidRequest, match="undefined"):
        await template(template="{{ missing }}")


async def test_a_template_that_never_ends_is_ended(root: Path, apart: Apart) -> None:
    function = "orchestrator.adapters.jinja.rendering:render"
    caller = Caller(Template(FileTree(root, 1 << 20), apart, function, seconds=2.0))
    with pytest.raises(ToolTimeout, match="more than 2 s"):
        await caller(template="{{ ('a' * 40) | regex_search('(a|a)*b') }}")
