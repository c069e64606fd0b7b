"""Reading, deciding and writing in one step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import Conflict
from filestore.rewrite import rewrite

if TYPE_CHECKING:
    from pathlib import Path


def test_it_makes_changes_and_removes_a_document() -> None:
    with filestore.open("memory:") as store:
        assert rewrite(store, "c", "a", lambda before: {"was": before}) == {"was": None}
        assert rewrite(store, "c", "a", lambda before: {"was": before}) == {"was": {"was": None}}
        assert rewrite(store, "c", "a", lambda before: None) is None
        assert rewrite(store, "c", "a", lambda before: None) is None
        assert store.collections() == []


def edit(path: Path, n: int) -> None:
    (path / "c" / "a.json").write_text(json.dumps({"edits": n, "padding": "x" * n}))


def test_it_decides_anew_when_an_editor_comes_between(tmp_path: Path) -> None:
    with filestore.open(tmp_path) as store:
        store["c"]["a"] = {"edits": 0}
        seen = []

        def after(before: dict[str, Any] | None) -> dict[str, Any]:
            assert before is not None
            seen.append(before["edits"])
            if len(seen) < 3:
                edit(tmp_path, len(seen))
            return {**before, "mine": True}

        rewrite(store, "c", "a", after)
        assert seen == [0, 1, 2]
        assert store["c"]["a"] == {"edits": 2, "padding": "xx", "mine": True}


def test_it_gives_up_on_an_editor_that_never_rests(tmp_path: Path) -> None:
    with filestore.open(tmp_path) as store:
        store["c"]["a"] = {"edits": 0}

        def after(before: dict[str, Any] | None) -> dict[str, Any]:
            assert before is not None
            edit(tmp_path, before["edits"] + 1)
            return {"mine": True}

        with pytest.raises(Conflict):
            rewrite(store, "c", "a", after)
        assert "mine" not in store["c"]["a"]


def test_what_the_decision_raises_changes_nothing() -> None:
    with filestore.open("memory:") as store:
        store["c"]["a"] = {"n": 1}
        with pytest.raises(ZeroDivisionError):
            rewrite(store, "c", "a", lambda before: {"n": 1 // 0})
        assert store.revision == 1
