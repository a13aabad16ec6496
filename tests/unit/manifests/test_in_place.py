"""Edits of YAML text, in all the ways in which people write YAML."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_deploy_plugin.manifests.in_place import Place, insert_item, remove_item, set_values
from mlflow_deploy_plugin.manifests.scalars import block, quote

HAND_MADE = {
    "block": "a:\n  b: 1 # one\n  c: 'x'\n# end\nlist:\n- n: 1\n\n# second\n- n: 2\n",
    "indented": "a:\n    b: 1\n    c: x\n\n\nlist:\n    - n: 1\n      m: 3\n    - n: 2",
    "flow": "a: {b: 1, c: x}\nlist: [{n: 1}, {n: 2}]\n",
    "mixed": 'a: {b: 1,\n    c: "x"}\nlist:\n  - {n: 1}\n  - {n: 2} # two\n',
    "windows": "a:\r\n  b: 1\r\n  c: x\r\nlist:\r\n  - n: 1\r\n  - n: 2\r\n",
    "marked": "---\na: # about a\n  b: 1\n  c: |\n    text\nlist:\n  - n: 1\n  -\n    n: 2\n...\n",
    "unicode": "# ünïcode 😀\na:\n  b: 1 # 😀\n  c: é😀\nlist: # 😀\n  - n: 1\n  - n: 2\n",
    "gaps": "a:\n\n  b: 1\n\n  # about c\n  c: x\n\nlist:\n\n  - n: 1\n\n  - n: 2\n\n",
}
VALUES = st.one_of(st.text(max_size=20), st.integers(-1000, 1000))


@pytest.fixture(params=sorted(HAND_MADE))
def text(request: pytest.FixtureRequest) -> str:
    return HAND_MADE[request.param]


def read(text: str) -> Any:
    return yaml.safe_load(text)


def comments(text: str) -> list[str]:
    return [line.partition("#")[2].strip() for line in text.splitlines() if "#" in line]


@pytest.mark.parametrize("value", [2, "y", "yes", "a: b", "two\nlines", "", "007", "# no comment", "é😀"])
@pytest.mark.parametrize("place", [(0, "a", "b"), (0, "a", "c"), (0, "list", 1, "n")], ids=str)
def test_a_scalar_changes_alone(text: str, place: Place, value: str | int) -> None:
    expected = read(text)
    inner = expected
    for step in place[1:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    edited = set_values(text, {place: value})
    assert read(edited) == expected
    assert comments(edited) == comments(text) or "#" in str(value)
    assert set_values(edited, {place: value}) == edited


def test_a_new_key_stands_behind_the_others(text: str) -> None:
    edited = set_values(text, {(0, "a", "d"): "new", (0, "z", "y"): "deep"})
    assert read(edited) == {**read(text), "a": {**read(text)["a"], "d": "new"}, "z": {"y": "deep"}}
    assert comments(edited) == comments(text)


def test_a_key_goes_and_the_others_stay(text: str) -> None:
    edited = set_values(text, {(0, "a", "b"): None, (0, "a", "nothing"): None})
    assert read(edited) == {**read(text), "a": {"c": read(text)["a"]["c"]}}


def test_the_last_key_leaves_an_empty_mapping(text: str) -> None:
    edited = set_values(set_values(text, {(0, "a", "b"): None}), {(0, "a", "c"): None})
    assert read(edited) == {**read(text), "a": {}}
    assert read(set_values(edited, {(0, "a", "e"): 5})) == {**read(text), "a": {"e": 5}}


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_item_is_put_where_it_belongs(text: str, index: int) -> None:
    expected = read(text)
    expected["list"].insert(index, {"n": 9, "deep": [{"x": "yes"}]})
    edited = insert_item(text, (0, "list"), index, {"n": 9, "deep": [{"x": "yes"}]})
    assert read(edited) == expected
    assert comments(edited) == comments(text)


@pytest.mark.parametrize("index", [0, 1])
def test_an_item_goes_and_the_others_stay(text: str, index: int) -> None:
    expected = read(text)
    del expected["list"][index]
    edited = remove_item(text, (0, "list"), index)
    assert read(edited) == expected
    emptied = remove_item(edited, (0, "list"), 0)
    assert read(emptied) == {**expected, "list": []}
    assert read(insert_item(emptied, (0, "list"), 0, "x")) == {**expected, "list": ["x"]}


def test_only_the_lines_of_a_changed_value_differ() -> None:
    text = HAND_MADE["block"]
    edited = set_values(text, {(0, "a", "b"): 250, (0, "list", 1, "n"): 750})
    assert edited == text.replace("b: 1 #", "b: 250 #").replace("n: 2", "n: 750")


def test_quotes_are_kept() -> None:
    text = "a: 'x'\nb: \"y\"\nc: z\n"
    edited = set_values(text, {(0, "a"): "it's", (0, "b"): "no", (0, "c"): "no"})
    assert edited == "a: 'it''s'\nb: \"no\"\nc: \"no\"\n"


def test_an_empty_value_is_filled() -> None:
    assert set_values("a:\nb: 1\n", {(0, "a"): "x"}) == "a: x\nb: 1\n"
    assert read(set_values("a:\nb: 1\n", {(0, "a", "c"): "x"})) == {"a": {"c": "x"}, "b": 1}


def test_the_second_document_is_edited_in_its_place() -> None:
    assert set_values("a: 1\n---\nb: 2\n---\n", {(1, "b"): 3}) == "a: 1\n---\nb: 3\n---\n"


@settings(max_examples=100)
@given(st.text())
def test_any_text_survives_quoting(text: str) -> None:
    assert read(quote(text)) == text


@settings(max_examples=50)
@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3)))
)
def test_what_is_written_in_blocks_reads_back(value: dict[str, Any]) -> None:
    assert read(block(value)) == value


@settings(max_examples=25)
@given(VALUES)
def test_any_value_can_replace_any_other(value: str | int) -> None:
    for text in HAND_MADE.values():
        assert read(set_values(text, {(0, "a", "c"): value}))["a"]["c"] == value
