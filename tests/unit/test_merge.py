"""Three-way merges of documents: the rules, the laws, a model, and git's own line merge."""

from __future__ import annotations

import copy
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filestore.codec import canonical, codec_named, decode
from filestore.diff import diff
from filestore.errors import Corrupt
from filestore.merge import ABSENT, Merged, Side, merge
from tests.values import documents, exactly

if TYPE_CHECKING:
    from pathlib import Path

A = {"id": "a", "size": 1}
B = {"id": "b", "size": 1}
C = {"id": "c", "size": 1}
D = {"id": "d", "size": 1}
A2 = {"id": "a", "size": 2}


def told(merged: Merged) -> list[tuple[str, Any, Any, Any]]:
    return [
        (found.field, found.choice.base, found.choice.ours, found.choice.theirs)
        for found in merged.conflicts
    ]


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 2}),
        ({"a": 1, "b": 1}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2}),
        ({}, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}),
        ({"a": 1}, {"a": 2}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {}, {}, {}),
        ({"a": 1}, {"a": None}, {"a": 1, "b": 1}, {"a": None, "b": 1}),
        ({"m": {"a": 1}}, {"m": {"a": 1, "b": 1}}, {"m": {"a": 2}}, {"m": {"a": 2, "b": 1}}),
        ({}, {"m": {"a": 1}}, {"m": {"b": 1}}, {"m": {"a": 1, "b": 1}}),
        ({"a": 1}, {"a": 1.0}, {"a": 1}, {"a": 1.0}),
        (None, {"a": 1}, None, {"a": 1}),
        (None, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}),
        ({"a": 1}, None, {"a": 1}, None),
        ({"a": 1}, None, None, None),
    ],
)
def test_what_one_side_changed_is_in_the_merge(
    base: Any, ours: Any, theirs: Any, expected: Any
) -> None:
    merged = merge(base, ours, theirs)
    assert merged.conflicts == ()
    assert exactly(merged.document) == exactly(expected)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        ({"a": 1}, {"a": 2}, {"a": 3}, ("a", 1, 2, 3)),
        ({"a": 1}, {}, {"a": 3}, ("a", 1, ABSENT, 3)),
        ({"a": 1}, {"a": None}, {}, ("a", 1, None, ABSENT)),
        ({}, {"a": 1}, {"a": 1.0}, ("a", ABSENT, 1, 1.0)),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"c": 1}}, ("a", 1, {"b": 1}, {"c": 1})),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": {"b": 2}}, ("a", {"b": 1}, [1], {"b": 2})),
        ({"m": {"a": 1}}, {}, {"m": {"a": 2}}, ("m", {"a": 1}, ABSENT, {"a": 2})),
        ({"m": {"a": 1}}, {"m": {"a": 2}}, {"m": {"a": 3}}, ("m.a", 1, 2, 3)),
        (None, {"a": 1}, {"a": 2}, ("a", ABSENT, 1, 2)),
        ({"a": 1}, None, {"a": 2}, ("", {"a": 1}, ABSENT, {"a": 2})),
        ({"a": 1}, {"a": 2}, None, ("", {"a": 1}, {"a": 2}, ABSENT)),
    ],
)
def test_what_both_sides_changed_differently_is_a_conflict(
    base: Any, ours: Any, theirs: Any, expected: Any
) -> None:
    merged = merge(base, ours, theirs)
    assert told(merged) == [expected]
    assert exactly(merged.document) == exactly(base or {})


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        # Elements with identities.
        ([A, B], [A2, B], [A, B, C], [A2, B, C]),
        ([A], [A, C], [A, B], [A, B, C]),
        ([A], [A, B], [A, C], [A, B, C]),
        ([A, B, C], [C, A, B], [A, B, {**C, "x": 1}], [{**C, "x": 1}, A, B]),
        ([A, B, C], [B, A, C], [A, C], [A, C]),
        ([A, B, C], [C, B, A], [A, B, C, D], [C, D, B, A]),
        ([], [A], [A, B], [A, B]),
        ([{"id": 1}], [{"id": 1}, {"id": "1"}], [{"id": 1, "x": 1}],
         [{"id": 1, "x": 1}, {"id": "1"}]),
        ([{"name": "a", "x": 1}], [{"name": "a", "x": 2}], [{"name": "a", "x": 1, "y": 1}],
         [{"name": "a", "x": 2, "y": 1}]),
        # Elements that are values.
        (["a", "b", "c"], ["a", "b", "c", "d"], ["x", "a", "b", "c"], ["x", "a", "b", "c", "d"]),
        (["a", "b", "c"], ["b", "c"], ["a", "b", "c", "d"], ["b", "c", "d"]),
        (["a", "b", "c"], ["x", "b", "c"], ["a", "b", "y"], ["x", "b", "y"]),
        ([1, 2, 3], [3, 1, 2], [1, 2, 3], [3, 1, 2]),
    ],
)  # fmt: skip
def test_lists_merge(base: Any, ours: Any, theirs: Any, expected: Any) -> None:
    merged = merge({"l": base}, {"l": ours}, {"l": theirs})
    assert merged.conflicts == ()
    assert merged.document == {"l": expected}


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [
        (["a"], ["a", "b"], ["a", "c"]),
        (["a", "b", "c"], ["a", "x", "c"], ["a", "c"]),
        (["a", "b"], ["x", "b"], ["a", "y"]),
        (["a", "a"], ["a"], ["a", "a", "b"]),
        (["a", "b", "c", "d", "e"], ["b", "c", "a", "d", "e"], ["b", "c", "d", "e", "a"]),
        (["a", "b", "c", "d"], ["b", "c", "a", "d"], ["b", "c", "d"]),
        (["a"], ["a", "z"], ["z", "b", "a"]),
        ([A, B, C], [B, A, C], [A, C, B]),
        ([], [A, B], [B, A]),
        ([{"x": 1}], [{"x": 2}], [{"x": 3}]),
        ([A, A], [A, A2], [A, A, B]),
    ],
)
def test_lists_whose_merge_would_be_a_guess_are_a_conflict(
    base: Any, ours: Any, theirs: Any
) -> None:
    merged = merge({"l": base}, {"l": ours}, {"l": theirs})
    assert told(merged) == [("l", base, ours, theirs)]


def test_a_conflict_in_an_element_is_told_by_its_place_in_the_merge() -> None:
    merged = merge({"l": [A, B]}, {"l": [C, A2, B]}, {"l": [{**A, "size": 3}, B]})
    assert told(merged) == [("l[1].size", 1, 2, 3)]
    assert merged.take(Side.OURS) == {"l": [C, A2, B]}
    assert merged.take(Side.THEIRS) == {"l": [C, {**A, "size": 3}, B]}


def test_an_element_that_was_removed_and_changed_is_a_conflict() -> None:
    merged = merge({"l": [A, B]}, {"l": [B]}, {"l": [A2, B]})
    assert told(merged) == [("l[0]", A, ABSENT, A2)]
    assert merged.take(Side.OURS) == {"l": [B]}
    assert merged.take(Side.THEIRS) == {"l": [A2, B]}


def test_settling_puts_values_in_the_place_of_conflicts() -> None:
    merged = merge({"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 2, "c": 2}, {"a": 3, "b": 3, "c": 3})
    values = {"a": 9, "b": ABSENT}
    settled = merged.settle(lambda found: values.get(found.field, found.choice))
    assert told(settled) == [("c", 1, 2, 3)]
    assert settled.take(Side.THEIRS) == {"a": 9, "c": 3}


def test_a_conflict_as_plain_values_tells_null_from_nothing() -> None:
    (found,) = merge({"a": 1}, {"a": None}, {}).conflicts
    assert found.to_json() == {"path": ["a"], "field": "a", "base": 1, "ours": None}


# -- laws ---------------------------------------------------------------------------

CHEAP = st.sampled_from([None, True, 1, 1.0, "a", "b", {}, []])
small = st.recursive(
    CHEAP,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=5, unique=True)
        | st.dictionaries(st.sampled_from(["a", "b", "id", "name"]), inner, max_size=4)
        | st.lists(
            st.builds(lambda id, x: {"id": id, "x": x}, st.sampled_from(["a", "b", "c"]), inner),
            max_size=3,
            unique_by=lambda item: item["id"],
        )
    ),
    max_leaves=12,
)
docs = st.dictionaries(st.sampled_from(["a", "b", "c", "l"]), small, max_size=4)
maybe = st.none() | docs


@given(documents, documents)
def test_a_side_that_changed_nothing_leaves_the_other(base: Any, other: Any) -> None:
    for merged in (merge(base, base, other), merge(base, other, base), merge(base, other, other)):
        assert merged.conflicts == ()
        assert exactly(merged.document) == exactly(other)


@given(maybe, maybe, maybe)
def test_it_is_symmetric(base: Any, ours: Any, theirs: Any) -> None:
    one, other = merge(base, ours, theirs), merge(base, theirs, ours)
    assert [(found.path, found.choice.base) for found in one.conflicts] == [
        (found.path, found.choice.base) for found in other.conflicts
    ]
    assert [found.choice.ours for found in one.conflicts] == [
        found.choice.theirs for found in other.conflicts
    ]
    assert exactly_or_none(one.document) == exactly_or_none(other.document)
    assert exactly_or_none(one.take(Side.OURS)) == exactly_or_none(other.take(Side.THEIRS))


@given(maybe, maybe, maybe)
def test_it_leaves_its_arguments_alone(base: Any, ours: Any, theirs: Any) -> None:
    before = copy.deepcopy((base, ours, theirs))
    merge(base, ours, theirs)
    assert exactly(list(before)) == exactly([base, ours, theirs])


@given(docs, docs, docs)
def test_it_neither_loses_nor_invents_a_field(base: Any, ours: Any, theirs: Any) -> None:
    merged = merge(base, ours, theirs)
    taken = (merged.take(Side.OURS) or {}, merged.take(Side.THEIRS) or {})
    for key in {*base, *ours, *theirs}:
        was, mine, yours = (exactly(side.get(key, ABSENT)) for side in (base, ours, theirs))
        if was == yours:
            assert [exactly(doc.get(key, ABSENT)) for doc in taken] == [mine, mine]
        elif was == mine:
            assert [exactly(doc.get(key, ABSENT)) for doc in taken] == [yours, yours]
    assert leaves(merged.tree) <= leaves(base) | leaves(ours) | leaves(theirs)


@given(docs, docs, docs)
def test_every_change_that_the_other_side_did_not_touch_is_there(
    base: Any, ours: Any, theirs: Any
) -> None:
    result = merge(base, ours, theirs).take(Side.THEIRS) or {}
    touched = [difference.path for difference in diff(base, theirs)]
    for difference in diff(base, ours):
        path = difference.path
        if any(isinstance(step, int) for step in path):
            continue  # an index means another place in another list
        if any(path[: len(other)] == other[: len(path)] for other in touched):
            continue
        if difference.kind.value == "removed":
            assert find(result, path) is ABSENT
        else:
            assert exactly(find(result, path)) == exactly(difference.new)


@given(docs, docs, docs)
def test_merging_what_is_left_of_a_conflict_finds_the_same_conflict(
    base: Any, ours: Any, theirs: Any
) -> None:
    merged = merge(base, ours, theirs)
    sides = [merged.take(side) for side in Side]
    again = merge(*sides)
    assert [exactly_or_none(again.take(side)) for side in Side] == [
        exactly_or_none(side) for side in sides
    ]


def exactly_or_none(document: Any) -> Any:
    return None if document is None else exactly(document)


def leaves(value: Any) -> set[str]:
    """Every scalar, and every container that is empty, with its type."""
    if isinstance(value, dict) and value:
        return set().union(*map(leaves, value.values()))
    if isinstance(value, list) and value:
        return set().union(*map(leaves, value))
    if hasattr(value, "ours"):
        return leaves(value.base) | leaves(value.ours) | leaves(value.theirs)
    # A merge may empty a container of which each side took a part away.
    return set() if value in ({}, [], ABSENT) and value is not False else {repr(exactly(value))}


def find(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return ABSENT
        value = value[step]
    return value


# -- a model, and git ---------------------------------------------------------------

SECTIONS = ("one", "two", "three")
FIELDS = tuple("abcdefghijkl")
flat = st.fixed_dictionaries(
    {
        section: st.dictionaries(st.sampled_from(FIELDS), st.integers(0, 2), max_size=12)
        for section in SECTIONS
    }
)
edits = st.lists(
    st.tuples(
        st.sampled_from(SECTIONS), st.sampled_from(FIELDS), st.none() | st.integers(0, 3)
    ),
    max_size=6,
)  # fmt: skip


def edited(document: Any, changes: Any) -> Any:
    result = copy.deepcopy(document)
    for section, name, value in changes:
        if value is None:
            result[section].pop(name, None)
        else:
            result[section][name] = value
    return result


def modelled(base: Any, ours: Any, theirs: Any) -> tuple[dict[Any, int], set[Any]]:
    """The merge of the fields as one flat map, and the fields in conflict."""
    sides = [
        {(section, name): value for section in SECTIONS for name, value in side[section].items()}
        for side in (base, ours, theirs)
    ]
    merged, conflicts = {}, set()
    for at in set().union(*sides):
        was, mine, yours = (side.get(at) for side in sides)
        if yours in (mine, was):
            result = mine
        elif was == mine:
            result = yours
        else:
            conflicts.add(at)
            continue
        if result is not None:
            merged[at] = result
    return merged, conflicts


def as_lists(document: Any) -> dict[str, Any]:
    return {"l": [{"id": section, **document[section]} for section in SECTIONS]}


@given(flat, edits, edits)
@settings(max_examples=300)
def test_random_merges_are_the_model_s(base: Any, mine: Any, yours: Any) -> None:
    ours, theirs = edited(base, mine), edited(base, yours)
    expected, conflicts = modelled(base, ours, theirs)
    merged = merge(base, ours, theirs)
    assert {found.path for found in merged.conflicts} == conflicts
    without = merged.settle(lambda _: ABSENT).document or {}
    assert {
        (section, name): value for section in SECTIONS for name, value in without[section].items()
    } == expected

    listed = merge(as_lists(base), as_lists(ours), as_lists(theirs))
    assert {
        (SECTIONS[int(found.path[1])], found.path[2]) for found in listed.conflicts
    } == conflicts
    assert (listed.settle(lambda _: ABSENT).document or {}) == as_lists(without)


@given(base=flat, mine=edits, yours=edits, codec=st.sampled_from(["json", "yaml"]))
@settings(max_examples=150)
def test_where_git_s_line_merge_is_right_it_is_the_same(
    base: Any, mine: Any, yours: Any, codec: str, tmp_path: Path
) -> None:
    ours, theirs = edited(base, mine), edited(base, yours)
    form = codec_named(codec)
    for name, document in (("base", base), ("ours", ours), ("theirs", theirs)):
        (tmp_path / name).write_bytes(form.encode(canonical(document)))
    done = subprocess.run(
        ["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=tmp_path, capture_output=True
    )
    if done.returncode != 0:
        return
    try:
        theirs_too = decode(form.parse(done.stdout))
    except Corrupt:
        return  # clean to git, and no document: lines know nothing of commas
    merged = merge(base, ours, theirs)
    assert merged.conflicts == ()
    assert merged.document == theirs_too
