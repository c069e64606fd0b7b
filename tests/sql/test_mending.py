"""What other programs do to the tables: found by check, taken in by repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import Corrupt, Origin, Store
from filestore.backends.sql.backend import SqlBackend
from tests.sql.spoiling import carry_out

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/state.db" if request.param == "file" else "sqlite://"
    with filestore.open(url) as store:
        store["volumes"].update({"a": {"size": 1}, "b": {"size": 2}, "c": {"size": 3}})
        yield store


def alter(store: Store, *texts: str) -> None:
    assert isinstance(store._backend, SqlBackend)
    carry_out(store._backend, *texts)


def test_an_edit_by_sql_is_found_and_taken_in(store: Store) -> None:
    alter(
        store,
        """UPDATE filestore_documents SET data = '{"size": 9}' WHERE id = 'a'""",
        "DELETE FROM filestore_documents WHERE id = 'b'",
    )
    with pytest.raises(Corrupt):
        store["volumes"]["a"]
    problems = store.check()
    assert sorted(str(problem.key) for problem in problems) == ["volumes/a", "volumes/b"]
    assert {(problem.kind, problem.repairable) for problem in problems} == {("edited", True)}
    assert store.repair() == []
    assert store["volumes"] == {"a": {"size": 9}, "c": {"size": 3}}
    changes = list(store.changes(since=1))
    assert {change.origin for change in changes} == {Origin.RECOVERY}
    assert {change.key.id: change.after for change in changes} == {"a": {"size": 9}, "b": None}
    assert store.repair() == []
    assert store.revision == 2


def test_what_is_no_document_stays_until_somebody_decides(store: Store) -> None:
    alter(store, "UPDATE filestore_documents SET data = '{' WHERE id = 'a'")
    (problem,) = store.repair()
    assert (problem.kind, str(problem.key), problem.repairable) == ("corrupt", "volumes/a", False)
    assert store.revision == 1
    store["volumes"]["b"] = {"size": 4}


def test_commits_that_are_gone_are_told(store: Store) -> None:
    store["volumes"]["a"] = {"size": 2}
    store["volumes"]["a"] = {"size": 3}
    alter(
        store,
        "DELETE FROM filestore_commits WHERE revision = 2",
        "DELETE FROM filestore_changes WHERE revision = 2",
    )
    assert {problem.kind for problem in store.check()} == {"history"}


def test_older_commits_may_be_gone(store: Store) -> None:
    store["volumes"]["a"] = {"size": 2}
    alter(
        store,
        "DELETE FROM filestore_commits WHERE revision = 1",
        "DELETE FROM filestore_changes WHERE revision = 1",
    )
    assert store.horizon == 1
    assert store.check() == []


def test_a_handle_notices_that_an_older_copy_was_put_in_place(store: Store) -> None:
    store["volumes"]["a"] = {"size": 2}
    with store.snapshot() as view:
        alter(
            store,
            "DELETE FROM filestore_commits WHERE revision = 2",
            "DELETE FROM filestore_changes WHERE revision = 2",
            "UPDATE filestore_meta SET revision = 1",
            "DELETE FROM filestore_documents WHERE id = 'a'",
        )
        assert store.revision == 1
        assert "a" not in store["volumes"]
        with pytest.raises(filestore.Conflict):
            view["volumes"]["a"]
