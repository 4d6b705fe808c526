"""One catalogue of models across nodes and engine types."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.alias import Alias
from orchestrator.domain.catalogue import Catalogue, Resolved
from orchestrator.domain.errors import ModelNotFound
from orchestrator.domain.node import ModelEntry

HF = "meta-llama/Llama-3-8B-Instruct"


def ollama(name: str, **fields: object) -> ModelEntry:
    raw = {"name": name, "model": name, "size": 5, "digest": "d", "details": {"family": "llama"}, "modified_at": "t"}
    return ModelEntry(name, digest="d", size=5, raw=raw | fields, capabilities=frozenset())


def openai(name: str, **fields: object) -> ModelEntry:
    raw = {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "vllm", "max_model_len": 8192}
    return ModelEntry(name, raw=raw | fields)


FLEET = {
    "a": [ollama("llama3:latest"), ollama("nomic-embed-text:latest")],
    "b": [ollama("llama3:latest"), ollama("qwen2.5:7b")],
    "v": [openai(HF), openai("llama3")],
}


def test_a_missing_tag_means_latest() -> None:
    catalogue = Catalogue.build(FLEET)
    for spelling in ("llama3", "llama3:latest", "Llama3", "LLAMA3:latest"):
        assert catalogue.resolve(spelling) == Resolved("llama3:latest", ("llama3:latest",))
    with pytest.raises(ModelNotFound):
        catalogue.resolve("llama3:8b")
    with pytest.raises(ModelNotFound):
        catalogue.resolve("qwen2.5")


def test_case_is_forgiven_only_where_it_is_not_needed() -> None:
    catalogue = Catalogue.build({"v": [openai("Foo"), openai("foo")], "w": [openai("Bar")]})
    assert catalogue.resolve("bar").name == "Bar"
    assert catalogue.resolve("foo").name == "foo"
    assert catalogue.resolve("Foo").name == "Foo"
    with pytest.raises(ModelNotFound):
        catalogue.resolve("FOO")


def test_each_node_is_asked_by_its_own_name() -> None:
    catalogue = Catalogue.build(FLEET)
    assert {node: entry.name for node, entry in catalogue.nodes("llama3:latest").items()} == {
        "a": "llama3:latest",
        "b": "llama3:latest",
        "v": "llama3",
    }
    entry = catalogue.entry("llama3", "v")
    assert entry is not None
    assert entry.name == "llama3"
    assert catalogue.entry("qwen2.5:7b", "a") is None
    assert catalogue.name_at("llama3", "v") == "llama3:latest"
    assert catalogue.name_at("qwen2.5:7b", "a") is None
    assert catalogue.size_of("llama3") == 5
    assert catalogue.size_of("unknown") == 0


def test_unknown_names_get_suggestions() -> None:
    catalogue = Catalogue.build(FLEET, [Alias("fast-chat", ("llama3",))])
    with pytest.raises(ModelNotFound, match="'lama3' not found, did you mean 'llama3:latest'") as error:
        catalogue.resolve("lama3")
    assert error.value.details["suggestions"][0] == "llama3:latest"
    with pytest.raises(ModelNotFound) as error:
        catalogue.resolve("fastchat")
    assert error.value.details["suggestions"] == ["fast-chat"]
    with pytest.raises(ModelNotFound) as error:
        catalogue.resolve("zzz" * 10_000)
    assert len(error.value.message) < 400
    assert error.value.details["suggestions"] == []


def test_an_alias_is_an_ordered_list_of_fallbacks() -> None:
    catalogue = Catalogue.build(FLEET, [Alias("best", ("gpt-4o", "qwen2.5:7b", "llama3", "llama3:latest"))])
    assert catalogue.resolve("best") == Resolved("best", ("qwen2.5:7b", "llama3:latest"))
    assert catalogue.resolve("best:latest").name == "best"
    entry = catalogue.entry("best", "b")
    assert entry is not None
    assert entry.name == "qwen2.5:7b"
    entry = catalogue.entry("best", "a")
    assert entry is not None
    assert entry.name == "llama3:latest"


def test_an_alias_of_one_model_counts_as_that_model() -> None:
    catalogue = Catalogue.build(FLEET, [Alias("gpt-4", ("llama3",))])
    assert catalogue.resolve("gpt-4") == catalogue.resolve("llama3")


def test_an_alias_may_stand_before_a_model_of_its_name() -> None:
    catalogue = Catalogue.build(FLEET, [Alias("llama3", ("qwen2.5:7b",))])
    assert catalogue.resolve("llama3").name == "qwen2.5:7b"
    assert catalogue.entry("llama3:latest", "a") is not None


def test_aliases_of_aliases_and_circles() -> None:
    aliases = [Alias("x", ("y",)), Alias("y", ("llama3",)), Alias("p", ("q",)), Alias("q", ("p",))]
    catalogue = Catalogue.build(FLEET, aliases)
    assert catalogue.resolve("x").names == ("llama3:latest",)
    for name in ("p", "q"):
        with pytest.raises(ModelNotFound, match="alias"):
            catalogue.resolve(name)


def test_models_declared_the_same_become_one_row() -> None:
    fleet = {"a": [ollama("llama3:8b")], "v": [openai(HF)], "w": [openai(HF), openai("llama3:8b")]}
    catalogue = Catalogue.build(fleet, [Alias("llama", (f"llama3:8b|{HF}",))])
    for spelling in ("llama", "llama3:8b", HF):
        assert catalogue.resolve(spelling) == Resolved("llama3:8b", ("llama3:8b",))
        assert {n: e.name for n, e in catalogue.nodes(catalogue.resolve(spelling).name).items()} == {
            "a": "llama3:8b",
            "v": HF,
            "w": "llama3:8b",
        }
    assert catalogue.by_model() == {"llama3:8b": ["a", "v", "w"]}
    tags = catalogue.tags()
    assert [(row["name"], row["servers"]) for row in tags] == [
        ("llama", ["a", "v", "w"]),
        ("llama3:8b", ["a", "v", "w"]),
    ]


def test_a_merge_under_a_name_that_no_node_has_yet() -> None:
    catalogue = Catalogue.build({"v": [openai(HF)]}, [Alias("l", (f"llama3|{HF}",))])
    assert catalogue.resolve("llama3").name == "llama3"
    assert catalogue.resolve(HF).name == "llama3"
    entry = catalogue.entry("llama3", "v")
    assert entry is not None
    assert entry.name == HF
    nobody = Catalogue.build({}, [Alias("l", (f"llama3|{HF}",))])
    with pytest.raises(ModelNotFound):
        nobody.resolve("l")


def test_capabilities_are_what_the_node_says_and_never_guessed() -> None:
    told = ModelEntry("bge-m3:latest", capabilities=frozenset({"embedding"}))
    silent = ModelEntry("bge-m3:latest")
    catalogue = Catalogue.build({"told": [told], "silent": [silent]})
    assert catalogue.lacks("bge-m3", "told", "completion")
    assert not catalogue.lacks("bge-m3", "told", "embedding")
    assert not catalogue.lacks("bge-m3", "silent", "completion")
    assert not catalogue.lacks("bge-m3", "unknown", "completion")


def test_tags_keep_the_servers_fields_and_have_one_row_per_model() -> None:
    rows = {row["name"]: row for row in Catalogue.build(FLEET).tags()}
    assert sorted(rows) == ["llama3:latest", HF, "nomic-embed-text:latest", "qwen2.5:7b"]
    llama = rows["llama3:latest"]
    assert llama["servers"] == ["a", "b", "v"]
    assert llama["details"] == {"family": "llama"}
    assert llama["model"] == "llama3:latest"
    fitted = rows[HF]
    assert fitted["modified_at"] == "2023-11-14T22:13:20Z"
    assert fitted["details"] == {}
    assert fitted["max_model_len"] == 8192
    assert {"size", "digest"} <= fitted.keys()
    assert not {"id", "object", "created"} & fitted.keys()


def test_openai_rows() -> None:
    fleet = {
        "a": [ollama("llama3:latest")],
        "v": [openai("gpt")],
        "m": [ModelEntry("x", modified_at="2023-11-14T22:13:20Z")],
    }
    rows = {row["id"]: row for row in Catalogue.build(fleet, [Alias("alias", ("llama3",))]).models()}
    assert rows["gpt"] == {
        "id": "gpt",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "v",
        "max_model_len": 8192,
        "servers": ["v"],
    }
    assert rows["x"]["created"] == 1_700_000_000
    assert rows["llama3:latest"]["created"] == 0
    assert rows["alias"]["servers"] == ["a"]


def test_only_visible_nodes_are_listed() -> None:
    catalogue = Catalogue.build(FLEET, [Alias("embed", ("nomic-embed-text",))])
    rows = {row["name"]: row["servers"] for row in catalogue.tags(lambda node, model: node == "b")}
    assert rows == {"llama3:latest": ["b"], "qwen2.5:7b": ["b"]}
    assert catalogue.by_model(lambda node, model: node == "b") == {"llama3:latest": ["b"], "qwen2.5:7b": ["b"]}
    assert catalogue.by_node()["v"] == ["llama3", HF]


names = st.sampled_from(["a", "a:latest", "a:8b", "b", "B", "b:latest", "c/d", "c/d:latest"])


@given(st.dictionaries(st.sampled_from(["n1", "n2", "n3"]), st.lists(names, max_size=5), max_size=3))
def test_whatever_a_node_has_can_be_found_under_its_own_name(models: dict[str, list[str]]) -> None:
    catalogue = Catalogue.build({node: [ModelEntry(name) for name in of_node] for node, of_node in models.items()})
    for node, of_node in models.items():
        for name in of_node:
            found = catalogue.resolve(name)
            assert found.names == (found.name,)
            assert catalogue.resolve(found.name) == found
            entry = catalogue.entry(found.name, node)
            assert entry is not None
            assert entry.name.removesuffix(":latest") == name.removesuffix(":latest")
    assert sorted(row["name"] for row in catalogue.tags()) == catalogue.names() == sorted(catalogue.by_model())
