"""Documents that do not fit together are found, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

import filestore
from filestore import Severity
from filestore.resources.rules import broken_rules

V1: dict[str, Any] = {"display_name": "db", "size": 1}
V2: dict[str, Any] = {"display_name": "web", "size": 1}


def found(documents: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    with filestore.open("memory:") as store:
        for name, document in documents.items():
            collection, id = name.split("/")
            store[collection][id] = document
        with store.snapshot() as view:
            problems = list(broken_rules(view))
    assert all(problem.severity is Severity.WARNING for problem in problems)
    return [(problem.kind, str(problem.key)) for problem in problems]


def test_what_fits_together_is_no_problem() -> None:
    documents = {
        "volumes/v1": V1,
        "volumes/v2": V2 | {"source_volid": "v1", "snapshot_id": "s1"},
        "snapshots/s1": {"volume_id": "v1"},
        "connections/c1": {"volume_id": "v2"},
        "key_values/k": {"value": "v9"},
    }
    assert found(documents) == []
    assert found({}) == []


@pytest.mark.parametrize("collection", ["snapshots", "connections"])
def test_a_volume_that_is_gone_is_missed(collection: str) -> None:
    assert found({"volumes/v1": V1, f"{collection}/x": {"volume_id": "v2"}}) == [
        ("volume-gone", f"{collection}/x")
    ]


def test_two_volumes_of_one_name_are_told() -> None:
    assert found({"volumes/v1": V1, "volumes/v2": V1}) == [("same-name", "volumes/v2")]


def test_what_a_volume_was_made_of_may_be_gone() -> None:
    assert found({"volumes/v1": V1 | {"source_volid": "x", "snapshot_id": "y"}}) == []


@pytest.mark.parametrize(
    "odd",
    [
        {"volume_id": None},
        {"volume_id": 7},
        {"volume_id": "v2", "deleted": True},
        {},
    ],
)
def test_what_says_nothing_breaks_nothing(odd: dict[str, Any]) -> None:
    assert found({"volumes/v1": V1, "snapshots/s": odd}) == []


@pytest.mark.parametrize("name", [None, "", 7, ["db"]])
def test_a_name_that_is_none_is_not_shared(name: Any) -> None:
    assert found({"volumes/v1": {"display_name": name}, "volumes/v2": {"display_name": name}}) == []


def test_a_name_is_told_as_it_is_and_obeyed_by_no_terminal() -> None:
    with filestore.open("memory:") as store:
        store["volumes"].update({id: {"display_name": "büro\x1b[31m"} for id in ("v1", "v2")})
        with store.snapshot() as view:
            (problem,) = broken_rules(view)
    assert "'büro\\x1b[31m'" in problem.message
