"""What differs between two documents."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import filestore
from filestore.diff import Diff, Difference, Kind, diff
from filestore.fieldpath import readable
from tests.values import documents, exactly, texts, values

if TYPE_CHECKING:
    from pathlib import Path


def told(before: Any, after: Any) -> list[tuple[str, str, Any, Any]]:
    return [(d.field, d.kind.value, d.old, d.new) for d in diff(before, after)]


def at(document: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 2}, [("a", "changed", 1, 2)]),
        ({"a": 1}, {"b": 1}, [("a", "removed", 1, None), ("b", "added", None, 1)]),
        ({"a": 1}, {"a": None}, [("a", "type_changed", 1, None)]),
        ({"a": 1}, {"a": True}, [("a", "type_changed", 1, True)]),
        ({"a": 1}, {"a": 1.0}, [("a", "type_changed", 1, 1.0)]),
        ({"a": [1]}, {"a": {"b": 1}}, [("a", "type_changed", [1], {"b": 1})]),
        ({"a": {}}, {"a": {"b": {}}}, [("a.b", "added", None, {})]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, [("a.b.c", "changed", 1, 2)]),
        ({"__a": 1}, {"__a": 2}, [("__a", "changed", 1, 2)]),
        ({"a.b": {"c d": 1}}, {"a.b": {"c d": 2}}, [('["a.b"]["c d"]', "changed", 1, 2)]),
        ({"a": [1, 2, 3]}, {"a": [1, 3]}, [("a[1]", "removed", 2, None)]),
        ({"a": [1, 3]}, {"a": [1, 2, 3]}, [("a[1]", "added", None, 2)]),
        ({"a": [1, 2, 3]}, {"a": [3, 1, 2]}, [("a[0]", "moved", 3, 3)]),
        ({"a": ["x", "y"]}, {"a": ["x", "z"]}, [("a[1]", "changed", "y", "z")]),
        ({"a": [1, 2]}, {"a": [2, 1]}, [("a[0]", "moved", 2, 2), ("a[1]", "moved", 1, 1)]),
        (
            {"a": ["x", "-", "y"]},
            {"a": ["y", "-", "z"]},
            [
                ("a[0]", "moved", "y", "y"),
                ("a[0]", "removed", "x", None),
                ("a[2]", "added", None, "z"),
            ],
        ),
        ({"a": [1, 0]}, {"a": [True, 0]}, [("a[0]", "type_changed", 1, True)]),
        ({"a": [0.0]}, {"a": [0.0, 0.0]}, [("a[1]", "added", None, 0.0)]),
        ({"a": [[1], 5]}, {"a": [[2], 5]}, [("a[0][0]", "changed", 1, 2)]),
        ({"a": []}, {"a": [{}]}, [("a[0]", "added", None, {})]),
        (
            {"a": [{"id": 1, "v": 1}, {"id": 2, "v": 1}]},
            {"a": [{"id": 0}, {"id": 1, "v": 1}, {"id": 2, "v": 2}]},
            [("a[0]", "added", None, {"id": 0}), ("a[2].v", "changed", 1, 2)],
        ),
    ],
)
def test_the_differences_are_these(before: Any, after: Any, expected: Any) -> None:
    assert told(before, after) == expected


def test_a_document_that_comes_or_goes_is_one_difference() -> None:
    assert told(None, {"a": 1}) == [("", "added", None, {"a": 1})]
    assert told({"a": 1}, None) == [("", "removed", {"a": 1}, None)]
    assert told(None, None) == []


def test_zero_and_minus_zero_differ() -> None:
    ((difference),) = diff({"a": [0.0], "b": 1}, {"a": [-0.0], "b": 1})
    assert repr((difference.field, difference.old, difference.new)) == "('a[0]', 0.0, -0.0)"


def test_a_shifted_item_has_two_paths() -> None:
    ((difference),) = (
        d for d in diff({"a": [1, {"b": 1}]}, {"a": [0, 1, {"b": 2}]}) if d.kind is Kind.CHANGED
    )
    assert difference.path == ("a", 2, "b")
    assert difference.old_path == ("a", 1, "b")


@given(documents)
def test_a_document_does_not_differ_from_itself(document: dict[str, Any]) -> None:
    assert not diff(document, copy.deepcopy(document))
    assert diff(document, dict(reversed(document.items()))) == Diff()


@given(documents, documents, st.data())
def test_there_is_a_difference_whenever_the_documents_differ(
    one: dict[str, Any], other: dict[str, Any], data: st.DataObject
) -> None:
    # Documents drawn apart share nothing: let them share some fields.
    for key in data.draw(
        st.lists(st.sampled_from(sorted(one)), max_size=4) if one else st.just([])
    ):
        other[key] = [one[key], data.draw(values)] if data.draw(st.booleans()) else one[key]
        one[key] = [one[key]] if data.draw(st.booleans()) else one[key]
    before = copy.deepcopy((one, other))
    found = diff(one, other)
    assert (exactly(one), exactly(other)) == (exactly(before[0]), exactly(before[1]))
    assert bool(found) == (exactly(one) != exactly(other))
    assert found == diff(one, other)
    for difference in found:
        if difference.kind is not Kind.ADDED:
            assert exactly(at(one, difference.old_path)) == exactly(difference.old)
        if difference.kind is not Kind.REMOVED:
            assert exactly(at(other, difference.path)) == exactly(difference.new)


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), max_size=8))
@example([0, 2, 1, 0], [1, 2, 0, 1, 0])  # deepdiff tells a change from 2 to 2
def test_the_differences_of_a_list_make_the_one_of_the_other(one: Any, other: Any) -> None:
    result: dict[int, Any] = {}
    kept = dict(enumerate(one))
    for difference in diff({"a": one}, {"a": other}):
        if difference.kind is not Kind.ADDED:
            assert kept.pop(int(difference.old_path[1])) == difference.old
        if difference.kind is not Kind.REMOVED:
            result[int(difference.path[1])] = difference.new
    rest = iter(kept.values())
    whole = [result[i] if i in result else next(rest) for i in range(len(result) + len(kept))]
    assert whole == other


@given(documents, documents)
def test_differences_are_in_the_order_of_their_paths(one: Any, other: Any) -> None:
    paths = [[(type(s).__name__, s) for s in d.path] for d in diff(one, other)]
    assert paths == sorted(paths)


def test_the_plain_form_is_json() -> None:
    found = diff({"a": [1, 2, 9], "b": None}, {"a": [9, 1, 2], "c": 1})
    assert json.loads(json.dumps(found.to_json())) == [
        {
            "path": ["a", 0],
            "field": "a[0]",
            "kind": "moved",
            "old_path": ["a", 2],
            "old": 9,
            "new": 9,
        },
        {"path": ["b"], "field": "b", "kind": "removed", "old": None},
        {"path": ["c"], "field": "c", "kind": "added", "new": 1},
    ]


def test_it_is_a_value() -> None:
    one = Diff((Difference(("a",), Kind.CHANGED, 1, 2, ("a",)),))
    assert one == diff({"a": 1}, {"a": 2})
    assert len(one) == 1
    with pytest.raises(AttributeError):
        one.differences = ()  # type: ignore[misc]


@pytest.mark.parametrize("location", ["memory:", "state"])
def test_nobody_pays_for_differences_that_nobody_looks_at(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("computed")

    monkeypatch.chdir(tmp_path)
    told: list[filestore.Change] = []
    heard = threading.Event()

    def hear(change: filestore.Change) -> None:
        told.append(change)
        heard.set()

    with filestore.open(location, watch=False) as store:
        with monkeypatch.context() as patch:
            patch.setattr("filestore.diff.diff", refuse)
            with store.watch(hear):
                store["volumes"]["v"] = {"size": 1}
                store["volumes"].patch("v", {"size": 2})
                heard.wait(60)
            assert [change.revision for change in store.changes()] == [1, 2]
            with pytest.raises(AssertionError, match="computed"):
                _ = told[0].diff
        (change,) = store.changes(1)
        assert [each.field for each in change.diff] == ["size"]


def test_deepdiff_is_loaded_only_for_lists_that_have_to_be_aligned() -> None:
    program = (
        "import sys; from filestore.diff import diff\n"
        "diff({'a': [1], 'b': {'c': 1}}, {'a': [1], 'b': {'c': 2}, 'd': []})\n"
        "assert 'deepdiff' not in sys.modules\n"
        "diff({'a': [1, 2, 3], 'b': [1]}, {'a': [1, 5, 3], 'b': [0, 1]})\n"
        "assert 'deepdiff' not in sys.modules\n"
        "diff({'a': [1, 2, 3]}, {'a': [2, 3, 1]})\n"
        "assert 'deepdiff' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@given(*[st.lists(st.sampled_from([0, 1, 1.0, True, "x", [1], [True], {"a": 1}]), max_size=12)] * 2)
def test_applying_the_differences_of_lists_gives_the_other(old: list[Any], new: list[Any]) -> None:
    found = diff({"l": old}, {"l": new})
    whole = [each for each in found if len(each.path) == 2]
    gone = {each.old_path[1] for each in whole if each.kind in {Kind.REMOVED, Kind.MOVED}}
    come = {each.path[1]: each.new for each in whole if each.kind in {Kind.ADDED, Kind.MOVED}}
    kept = iter([item for at, item in enumerate(old) if at not in gone])
    result = [come[at] if at in come else next(kept) for at in range(len(new))]
    assert next(kept, None) is None
    for each in found:
        if each.kind in (Kind.CHANGED, Kind.TYPE_CHANGED) and len(each.path) == 2:
            result[int(each.path[1])] = each.new
    inner = {d.path[1] for d in found if len(d.path) > 2}
    for at, (ours, theirs) in enumerate(zip(result, new, strict=True)):
        assert exactly(ours) == exactly(theirs) or at in inner


@given(*[st.lists(st.integers(0, 20) | texts, max_size=4).map(tuple)] * 2)
def test_different_paths_read_differently(one: Any, other: Any) -> None:
    assert (readable(one) == readable(other)) == (one == other)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("a", "b", 2, "c"), "a.b[2].c"),
        (("a-b", 0), "a-b[0]"),
        (("a.b",), '["a.b"]'),
        (("",), '[""]'),
        (("a", "2"), 'a["2"]'),
        (("it's", 'a"b', "a\\b", "é\n"), '["it\'s"]["a\\"b"]["a\\\\b"]["\\xe9\\n"]'),
    ],
)
def test_a_path_reads_so(path: tuple[str | int, ...], text: str) -> None:
    assert readable(path) == text
