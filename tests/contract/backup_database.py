"""The database that Cinder's backup code is given: subclass :class:`BackupDatabaseContract`."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from filestore import Conflict, InvalidDocument, NotFound

if TYPE_CHECKING:
    from filestore import Store
    from filestore.backup import StoreDatabase

WRITES: list[Any] = [
    lambda db: db.volume_update(None, "v", {"size": 1}),
    lambda db: db.volume_metadata_update(None, "v", {}, True),
    lambda db: db.volume_glance_metadata_create(None, "v", "k", "v"),
    lambda db: db.volume_glance_metadata_delete_by_volume(None, "v"),
    lambda db: db.backup_update(None, "v", {"size": 1}),
]

READS: list[Any] = [
    lambda db: db.volume_get(None, "v"),
    lambda db: db.volume_metadata_get(None, "v"),
    lambda db: db.volume_glance_metadata_get(None, "v"),
    lambda db: db.backup_get(None, "v"),
]


class BackupDatabaseContract:
    """``store`` and ``db`` are fixtures of the subclass's module, or of its folder."""

    def test_a_row_is_read_as_pairs_and_as_a_mapping(self, db: StoreDatabase) -> None:
        db.volume_create(None, {"id": "v", "size": 3, "provider_auth": "secret", "mine": 1})
        row = db.volume_get(None, "v")
        pairs = dict(iter(row))
        assert pairs == dict(row) == dict(row.items())
        assert (pairs["id"], pairs["size"], pairs["mine"]) == ("v", 3, 1)
        assert row.id == row["id"] == "v"
        assert row["volume_type_id"] is None
        assert row.get("display_name", "") is None
        assert row.get("no column", "default") == "default"
        assert "size" in row
        assert "no column" not in row
        with pytest.raises(KeyError):
            row["no column"]
        assert row == db.volume_get(None, "v")
        assert row != dict(row)
        assert "secret" not in repr(row)

    def test_the_id_of_the_document_counts(self, db: StoreDatabase, store: Store) -> None:
        store["volumes"]["copy"] = {"id": "original", "size": 1}
        assert db.volume_get(None, "copy").id == "copy"

    def test_null_is_absent_in_a_document_and_a_map_is_never_null(
        self, db: StoreDatabase, store: Store
    ) -> None:
        db.volume_create(None, {"id": "v", "size": 3, "display_name": None, "metadata": None})
        when = dt.datetime(2026, 3, 1, 9, 15, tzinfo=dt.timezone(dt.timedelta(hours=1)))
        db.volume_update(None, "v", {"size": None, "launched_at": when, "admin_metadata": None})
        document = store["volumes"]["v"]
        assert document.pop("created_at").endswith("Z")
        assert document == {
            "id": "v",
            "deleted": False,
            "launched_at": "2026-03-01T08:15:00.000000Z",
            "metadata": {},
            "admin_metadata": {},
            "glance_metadata": {},
        }

    def test_an_id_is_made_up_and_one_that_is_taken_is_refused(self, db: StoreDatabase) -> None:
        first, second = db.volume_create(None, {}), db.volume_create(None, {})
        assert first.id != second.id
        with pytest.raises(Conflict):
            db.volume_create(None, {"id": first.id})
        with pytest.raises(InvalidDocument):
            db.volume_update(None, first.id, {"id": 5})

    def test_metadata_are_merged_or_replaced(self, db: StoreDatabase) -> None:
        db.volume_create(None, {"id": "v", "metadata": {"a": "1"}})
        assert db.volume_metadata_update(None, "v", {"b": 2}, False) == {"a": "1", "b": "2"}  # type: ignore[dict-item]  # what callers pass
        assert db.volume_metadata_update(None, "v", {"c": "3"}, True) == {"c": "3"}
        assert db.volume_metadata_get(None, "v") == {"c": "3"}

    def test_what_is_known_of_the_image(self, db: StoreDatabase) -> None:
        db.volume_create(None, {"id": "v"})
        assert db.volume_glance_metadata_get(None, "v") == []
        db.volume_glance_metadata_create(None, "v", "min_disk", 5)
        db.volume_glance_metadata_create(None, "v", "disk_format", "raw")
        known = db.volume_glance_metadata_get(None, "v")
        assert {(entry.volume_id, entry.key, entry.value) for entry in known} == {
            ("v", "min_disk", "5"),
            ("v", "disk_format", "raw"),
        }
        with pytest.raises(Conflict):
            db.volume_glance_metadata_create(None, "v", "min_disk", 6)
        db.volume_glance_metadata_delete_by_volume(None, "v")
        assert db.volume_glance_metadata_get(None, "v") == []

    def test_a_type_is_found_through_the_volumes_that_have_it(self, db: StoreDatabase) -> None:
        db.volume_create(
            None,
            {
                "id": "own",
                "volume_type_id": "own",
                "volume_type": {
                    "extra_specs": {"a": "b"},
                    "qos_specs": {"consumer": "back-end", "specs": {}},
                },
            },
        )
        db.volume_create(
            None,
            {"id": "v", "volume_type_id": "t", "volume_type": {"name": "gold", "is_public": False}},
        )
        db.volume_create(None, {"id": "bare", "volume_type_id": "bare"})
        assert db.volume_type_get(None, "own") == {
            "id": "own",
            "name": "own",
            "is_public": True,
            "extra_specs": {"a": "b"},
            "qos_specs_id": "own",
        }
        gold = db.volume_type_get(None, "t")
        assert (gold["id"], gold["name"], gold["is_public"]) == ("t", "gold", False)
        for unknown in ("bare", "v", "nope"):
            with pytest.raises(NotFound):
                db.volume_type_get(None, unknown)

    def test_another_type_replaces_the_type_and_its_specs(
        self, db: StoreDatabase, store: Store
    ) -> None:
        db.volume_create(None, {"id": "a", "volume_type_id": "a", "volume_type": {"name": "A"}})
        db.volume_create(None, {"id": "b", "volume_type_id": "b", "volume_type": {"name": "B"}})
        db.volume_update(None, "b", {"volume_type_id": "b", "size": 2})
        assert store["volumes"]["b"]["volume_type"] == {"name": "B"}
        db.volume_update(None, "b", {"volume_type_id": "a"})
        assert store["volumes"]["b"]["volume_type"] == {"name": "A"}
        db.volume_update(None, "b", {"volume_type_id": "unknown"})
        assert "volume_type" not in store["volumes"]["b"]

    def test_the_records_of_backups(self, db: StoreDatabase, store: Store) -> None:
        backup = db.backup_create(None, {"volume_id": "v", "display_name": "nightly"})
        assert backup["parent_id"] is None
        assert store["backups"][backup.id]["display_name"] == "nightly"
        updated = db.backup_update(None, backup.id, {"status": "available", "display_name": None})
        assert (updated["status"], updated["display_name"]) == ("available", None)
        assert db.backup_get(None, backup.id) == updated
        db.backup_create(None, {"volume_id": "w"})
        assert len(db.backup_get_all(None)) == 2
        assert db.backup_get_all(None, {"volume_id": "v"}) == [updated]
        db.backup_destroy(None, backup.id)
        db.backup_destroy(None, backup.id)
        with pytest.raises(NotFound):
            db.backup_get(None, backup.id)

    @pytest.mark.parametrize("deleted", [False, True])
    @pytest.mark.parametrize("call", WRITES + READS)
    def test_what_is_not_there_or_deleted_is_not_found(
        self, db: StoreDatabase, store: Store, call: Any, deleted: bool
    ) -> None:
        if deleted:
            store["volumes"]["v"] = {"deleted": True}
            store["backups"]["v"] = {"deleted": True}
        with pytest.raises(NotFound) as caught:
            call(db)
        assert caught.value.key is not None
        assert caught.value.key.id == "v"
        assert db.backup_get_all(None) == []
