"""Merge patches, RFC 7386."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given

from filestore.codec import MAX_DEPTH
from filestore.errors import InvalidDocument
from filestore.patch import apply, merge_patch
from tests.values import documents, exactly, nested, values

# Appendix A of the RFC.
EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
# Section 3 of the RFC.
ARTICLE = {
    "title": "Goodbye!",
    "author": {"givenName": "John", "familyName": "Doe"},
    "tags": ["example", "sample"],
    "content": "This will be unchanged",
}
ARTICLE_PATCH = {
    "title": "Hello!",
    "phoneNumber": "+01-123-456-7890",
    "author": {"familyName": None},
    "tags": ["example"],
}
PATCHED_ARTICLE = {
    "title": "Hello!",
    "author": {"givenName": "John"},
    "tags": ["example"],
    "content": "This will be unchanged",
    "phoneNumber": "+01-123-456-7890",
}


@pytest.mark.parametrize(("target", "patch", "result"), EXAMPLES)
def test_the_examples_of_the_rfc_hold(target: Any, patch: Any, result: Any) -> None:
    assert exactly(apply(target, patch)) == exactly(result)
    if isinstance(target, dict) and isinstance(patch, dict):
        assert merge_patch(copy.deepcopy(target), patch) == result


def test_the_article_of_the_rfc_is_patched() -> None:
    assert merge_patch(copy.deepcopy(ARTICLE), ARTICLE_PATCH) == PATCHED_ARTICLE


def recursive(target: Any, patch: Any) -> Any:
    """The RFC's pseudocode."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = recursive(target.get(name), value)
    return target


@given(values, values)
def test_it_does_what_the_pseudocode_of_the_rfc_does(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))
    assert exactly(apply(target, patch)) == exactly(recursive(target, patch))
    assert exactly((target, patch)[0]) == exactly(before[0])
    assert exactly((target, patch)[1]) == exactly(before[1])


@given(documents, documents)
def test_the_result_shares_nothing_with_what_it_was_made_of(target: Any, patch: Any) -> None:
    def containers(value: Any) -> set[int]:
        if isinstance(value, dict):
            return {id(value)}.union(*map(containers, value.values()))
        return {id(value)}.union(*map(containers, value)) if isinstance(value, list) else set()

    result = apply(target, patch)
    assert not containers(result) & (containers(target) | containers(patch))
    assert not containers(merge_patch(target, patch)) & containers(patch)


@given(documents, documents)
def test_a_document_that_is_taken_over_becomes_the_same(target: Any, patch: Any) -> None:
    expected = apply(target, patch)
    assert merge_patch(target, patch) is target
    assert exactly(target) == exactly(expected)


@pytest.mark.parametrize("patch", [None, [], "a", 1])
def test_a_document_is_patched_with_a_dict(patch: Any) -> None:
    with pytest.raises(InvalidDocument, match="a merge patch of a document is a dict"):
        merge_patch({"a": 1}, patch)


@pytest.mark.parametrize("lists", [False, True])
def test_depth_has_an_end_and_recursion_is_none(lists: bool) -> None:
    deep = nested(MAX_DEPTH, lists=lists)
    assert merge_patch({"b": 1}, deep) == {"b": 1, **deep}
    assert apply(deep, {"b": 1}) == {"b": 1, **deep}
    for depth in (MAX_DEPTH + 2, 100_000):
        with pytest.raises(InvalidDocument, match="nested more than"):
            merge_patch({}, nested(depth, lists=lists))
        with pytest.raises(InvalidDocument, match="nested more than"):
            apply(nested(depth, lists=lists), {})


def test_a_patch_that_contains_itself_is_refused() -> None:
    patch: dict[str, Any] = {}
    items: list[Any] = [1]
    patch["a"] = patch
    items.append(items)
    for looped in (patch, {"a": items}):
        with pytest.raises(InvalidDocument, match="contain itself"):
            merge_patch({}, looped)
