"""What migrating keeps to, between any two stores.  A pair of backends subclasses it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import pytest

from filestore.errors import Conflict
from filestore.migration import BATCH, Migration, Policy, migrate
from tests.values import AWKWARD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filestore.store import Store


class Killed(BaseException):
    """The process ends here."""


class MigrationContract(ABC):
    """Subclasses open the two ends."""

    @abstractmethod
    def open_source(self, folder: Path) -> Store:
        """A new store."""

    @abstractmethod
    def open_target(self, folder: Path) -> Store:
        """Another one, of any kind."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Store]:
        with self.open_source(tmp_path) as store:
            with store.transaction():
                store["volumes"]["v1"] = {"size": 1, "metadata": {"a": 1, "b": None}}
                store["volumes"]["v2"] = {"size": 2}
                store["key_values"]["a/b"] = {"value": None}
                store["driver_data/lvm@x"]["é"] = AWKWARD
            yield store

    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[Store]:
        with self.open_target(tmp_path) as store:
            yield store

    def test_every_document_arrives(self, source: Store, target: Store) -> None:
        assert migrate(source, target) == Migration(4, 0, 0, 0)
        assert everything(target) == everything(source)

    def test_a_second_time_writes_nothing(self, source: Store, target: Store) -> None:
        migrate(source, target)
        revision = target.revision
        assert migrate(source, target) == Migration(0, 0, 4, 0)
        assert target.revision == revision

    def test_a_dry_run_says_what_it_would_do_and_does_nothing(
        self, source: Store, target: Store
    ) -> None:
        target["volumes"]["v1"] = {"size": 7}
        target["volumes"]["v2"] = {"size": 2}
        before = everything(target)
        done = migrate(source, target, policy=Policy.OVERWRITE, dry_run=True)
        assert done == Migration(created=2, updated=1, unchanged=1, kept=0)
        assert everything(target) == before

    def test_another_value_in_the_target_stops_it_before_anything_is_written(
        self, source: Store, target: Store
    ) -> None:
        target["volumes"]["v2"] = {"size": 7}
        with pytest.raises(Conflict, match=r"volumes/v2 .*nothing was written") as raised:
            migrate(source, target)
        assert [str(key) for key in raised.value.keys] == ["volumes/v2"]
        assert everything(target) == {("volumes", "v2"): {"size": 7}}

    def test_skip_leaves_what_is_there(self, source: Store, target: Store) -> None:
        target["volumes"]["v2"] = {"size": 7}
        assert migrate(source, target, policy="skip") == Migration(3, 0, 0, 1)
        assert everything(target) == everything(source) | {("volumes", "v2"): {"size": 7}}

    def test_overwrite_replaces_it(self, source: Store, target: Store) -> None:
        target["volumes"]["v2"] = {"size": 7, "more": 1}
        assert migrate(source, target, policy="overwrite") == Migration(3, 1, 0, 0)
        assert everything(target) == everything(source)

    def test_merge_keeps_the_fields_that_only_one_side_has(
        self, source: Store, target: Store
    ) -> None:
        target["volumes"]["v1"] = {"size": 7, "metadata": {"a": 2, "c": 3}, "more": 1}
        assert migrate(source, target, policy="merge") == Migration(3, 1, 0, 0)
        assert target["volumes"]["v1"] == {
            "size": 1,
            "metadata": {"a": 1, "b": None, "c": 3},
            "more": 1,
        }
        assert migrate(source, target, policy="merge") == Migration(0, 0, 4, 0)

    def test_what_only_the_target_has_stays(self, source: Store, target: Store) -> None:
        target["volumes"]["other"] = {"size": 7}
        migrate(source, target)
        assert target["volumes"]["other"] == {"size": 7}

    def test_what_was_killed_goes_on_where_it_was(self, source: Store, target: Store) -> None:
        with source.transaction():
            for number in range(2 * BATCH):
                source["many"][f"d{number}"] = {"number": number}

        def die(done: int, total: int) -> None:
            if target["many"]:  # the first of several transactions
                raise Killed

        with pytest.raises(Killed):
            migrate(source, target, progress=die)
        arrived = len(everything(target))
        assert 0 < arrived < 2 * BATCH + 4
        done = migrate(source, target)
        assert (done.created, done.unchanged) == (2 * BATCH + 4 - arrived, arrived)
        assert everything(target) == everything(source)

    def test_what_is_written_to_the_source_meanwhile_is_not_of_it(
        self, source: Store, target: Store
    ) -> None:
        before = everything(source)

        def write(done: int, total: int) -> None:
            source["volumes"]["v1"] = {"late": done}
            source["volumes"]["late"] = {}

        migrate(source, target, progress=write)
        assert everything(target) == before

    def test_what_changes_in_the_target_meanwhile_is_told(
        self, source: Store, target: Store
    ) -> None:
        def meddle(done: int, total: int) -> None:
            if "v2" in target["volumes"]:
                target["volumes"].pop("v2", None)

        with pytest.raises(Conflict, match="volumes/v2 did not arrive"):
            migrate(source, target, progress=meddle)

    def test_progress_begins_and_ends(self, source: Store, target: Store) -> None:
        steps: list[tuple[int, int]] = []
        migrate(source, target, progress=lambda done, total: steps.append((done, total)))
        assert steps == sorted(steps)
        assert {total for _, total in steps} == {12}  # looked at, written, compared
        assert steps[-1] == (12, 12)

    def test_each_transaction_says_where_it_came_from(self, source: Store, target: Store) -> None:
        migrate(source, target)
        assert {change.message for change in target.changes()} == {
            f"migrated from {source.location}"
        }


def everything(store: Store) -> dict[tuple[str, str], object]:
    return {
        (name, id): document for name in store.collections() for id, document in store[name].items()
    }
