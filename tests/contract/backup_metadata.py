"""What a backup keeps of its volume beside the data: subclass :class:`BackupMetadataContract`."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from filestore import (
    BackupMetadataUnsupportedVersion,
    EncryptedBackupOperationFailed,
    InvalidBackup,
    NotFound,
)
from filestore.backup import BackupMetadataAPI, GlanceEntry, StoreDatabase

if TYPE_CHECKING:
    from collections.abc import Callable

    from filestore import Store

BASE = "volume-base-metadata"
META = "volume-metadata"
GLANCE = "volume-glance-metadata"

TYPE = {"extra_specs": {"encryption": "yes"}}


def put(api: BackupMetadataAPI, volume_id: str, **container: Any) -> None:
    sections = {"base": BASE, "meta": META, "glance": GLANCE}
    api.put(volume_id, json.dumps({sections.get(k, k): v for k, v in container.items()}))


class ForeignDatabase:
    """Rows as another database has them: pairs, with values that JSON does not have."""

    def __init__(self, **columns: Any) -> None:
        self.columns = columns

    def volume_get(self, context: Any, volume_id: str) -> Any:
        return iter(self.columns.items())

    def volume_metadata_get(self, context: Any, volume_id: str) -> Any:
        return {"good": "1", "bad": object()}

    def volume_glance_metadata_get(self, context: Any, volume_id: str) -> Any:
        return [GlanceEntry(volume_id, "bad", b"\xfe")]  # type: ignore[arg-type]  # on purpose


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


UNSERIALIZABLE: list[Callable[[], Any]] = [
    object,
    lambda: b"\xff",
    lambda: float("nan"),
    lambda: "\ud800",
    circular,
    deep,
]


class BackupMetadataContract:
    """``store`` and ``db`` are fixtures of the subclass's module, or of its folder."""

    @pytest.fixture
    def api(self, db: StoreDatabase) -> BackupMetadataAPI:
        return BackupMetadataAPI(None, db)

    @pytest.fixture
    def source(self, db: StoreDatabase) -> str:
        """A volume with everything."""
        db.volume_create(
            None,
            {
                "id": "source",
                "display_name": "db",
                "display_description": "the database",
                "size": 10,
                "metadata": {"team": "billing"},
                "glance_metadata": {"disk_format": "raw"},
                "admin_metadata": {"readonly": "True"},
            },
        )
        return "source"

    # --- saving

    def test_everything_is_saved(self, api: BackupMetadataAPI, source: str) -> None:
        container = json.loads(api.get(source))
        assert set(container) == {"version", BASE, META, GLANCE}
        assert container["version"] == 2
        assert container[META] == {"team": "billing"}
        assert container[GLANCE] == {"disk_format": "raw"}
        base = container[BASE]
        assert base["id"] == "source"
        assert base["size"] == 10
        assert base["display_name"] == "db"
        assert base["encryption_key_id"] is None
        assert not {"metadata", "admin_metadata", "glance_metadata", "volume_type"} & set(base)
        assert api.left_out == []

    def test_a_section_with_nothing_to_save_is_absent(
        self, api: BackupMetadataAPI, db: StoreDatabase
    ) -> None:
        db.volume_create(None, {"id": "bare"})
        assert set(json.loads(api.get("bare"))) == {"version", BASE}

    @pytest.mark.parametrize("version", [1, 2])
    def test_the_version_is_the_one_asked_for(
        self, db: StoreDatabase, source: str, version: int
    ) -> None:
        api = BackupMetadataAPI(None, db, version=version)
        assert json.loads(api.get(source))["version"] == version

    @pytest.mark.parametrize("version", [0, 3, "1", None, True])
    def test_no_other_version_can_be_asked_for(self, db: StoreDatabase, version: Any) -> None:
        with pytest.raises(BackupMetadataUnsupportedVersion):
            BackupMetadataAPI(None, db, version=version)

    @pytest.mark.parametrize("deleted", [False, True])
    def test_a_volume_that_is_not_there_is_not_found(
        self, api: BackupMetadataAPI, db: StoreDatabase, deleted: bool
    ) -> None:
        if deleted:
            db.volume_create(None, {"id": "gone", "deleted": True})
        for call in (lambda: api.get("gone"), lambda: put(api, "gone", version=2, base={})):
            with pytest.raises(NotFound):
                call()

    @pytest.mark.parametrize("make", UNSERIALIZABLE)
    def test_what_cannot_be_serialized_is_left_out_and_told(self, make: Callable[[], Any]) -> None:
        db: Any = ForeignDatabase(id="v", odd=make())
        api = BackupMetadataAPI(None, db)
        container = json.loads(api.get("v"))
        assert container == {"version": 2, BASE: {"id": "v"}, META: {"good": "1"}, GLANCE: {}}
        assert [(left.section, left.field) for left in api.left_out] == [
            (BASE, "odd"),
            (META, "bad"),
            (GLANCE, "bad"),
        ]
        assert all(left.reason for left in api.left_out)
        api.get("v")
        assert len(api.left_out) == 3

    def test_times_ids_and_text_in_bytes_are_serialized(self) -> None:
        some = uuid.uuid4()
        db: Any = ForeignDatabase(
            at=dt.datetime(2026, 3, 1, 8, 15, 30, 250000),  # noqa: DTZ001  # as Cinder has them
            id=some,
            text=b"text",
            pair=("a", 1),
            several={2, 1},
        )
        assert json.loads(BackupMetadataAPI(None, db).get("v"))[BASE] == {
            "at": "2026-03-01T08:15:30.250000Z",
            "id": str(some),
            "text": "text",
            "pair": ["a", 1],
            "several": [1, 2],
        }

    # --- restoring

    def test_what_was_saved_is_restored_to_another_volume(
        self, api: BackupMetadataAPI, db: StoreDatabase, store: Store, source: str
    ) -> None:
        db.volume_create(
            None,
            {
                "id": "target",
                "display_name": "restore_backup_1",
                "metadata": {"old": "1"},
                "glance_metadata": {"old": "1"},
                "size": 20,
            },
        )
        before = store.revision
        api.put("target", api.get(source))
        assert store.revision == before + 1
        target = store["volumes"]["target"]
        assert target["display_name"] == "db"
        assert target["display_description"] == "the database"
        assert target["metadata"] == {"team": "billing"}
        assert target["glance_metadata"] == {"disk_format": "raw"}
        assert target["bootable"] is True
        assert (target["id"], target["size"]) == ("target", 20)
        assert "admin_metadata" not in target or target["admin_metadata"] == {}

    def test_a_section_that_is_missing_is_passed_over(
        self, api: BackupMetadataAPI, store: Store, source: str
    ) -> None:
        before = store["volumes"]["source"]
        for version in (1, 2):
            put(api, source, version=version)
        assert store["volumes"]["source"] == before

    def test_an_empty_section_of_metadata_replaces_the_targets(
        self, api: BackupMetadataAPI, store: Store, source: str
    ) -> None:
        put(api, source, version=1, meta={}, glance={})
        document = store["volumes"]["source"]
        assert document["metadata"] == {}
        assert document["glance_metadata"] == {}
        assert document["bootable"] is True

    @pytest.mark.parametrize(
        ("saved", "restored"),
        [
            ({"display_name": "n", "display_description": "d"}, ("n", "d")),
            ({"display_name": None, "display_description": "d"}, ("db", "d")),
            ({"display_name": "n", "display_description": None}, ("n", None)),
            ({"display_name": "", "display_description": "d"}, ("", "d")),
            ({"display_description": "d"}, ("db", "d")),
            ({"display_name": "n", "size": 99, "encryption_key_id": "k"}, ("n", "the database")),
        ],
    )
    def test_version_1_restores_a_name_that_is_there_and_the_description(
        self,
        api: BackupMetadataAPI,
        db: StoreDatabase,
        source: str,
        saved: dict[str, Any],
        restored: tuple[str, str | None],
    ) -> None:
        put(api, source, version=1, base=saved)
        row = db.volume_get(None, source)
        assert (row["display_name"], row["display_description"]) == restored
        assert (row["size"], row["encryption_key_id"]) == (10, None)

    @pytest.mark.parametrize("named", [None, "", "restore_backup_42"])
    @pytest.mark.parametrize("description", ["d", None])
    def test_version_2_names_a_target_that_was_made_for_the_restore(
        self, api: BackupMetadataAPI, db: StoreDatabase, named: str | None, description: str | None
    ) -> None:
        db.volume_create(
            None, {"id": "target", "display_name": named, "display_description": "of the target"}
        )
        base = {"display_name": "n", "display_description": description}
        put(api, "target", version=2, base=base)
        row = db.volume_get(None, "target")
        assert (row["display_name"], row["display_description"]) == ("n", description)

    @pytest.mark.parametrize(
        ("named", "saved"), [("of the target", "n"), (None, None), ("restore_backup_1", "")]
    )
    def test_version_2_leaves_name_and_description_alone_otherwise(
        self, api: BackupMetadataAPI, db: StoreDatabase, named: str | None, saved: str | None
    ) -> None:
        db.volume_create(
            None, {"id": "target", "display_name": named, "display_description": "same"}
        )
        put(api, "target", version=2, base={"display_name": saved, "display_description": "d"})
        row = db.volume_get(None, "target")
        assert (row["display_name"], row["display_description"]) == (named, "same")

    # --- encryption (version 2)

    def test_an_encrypted_backup_goes_to_a_volume_of_its_type(
        self, api: BackupMetadataAPI, db: StoreDatabase
    ) -> None:
        db.volume_create(None, {"id": "target", "volume_type_id": "t", "volume_type": TYPE})
        put(api, "target", version=2, base={"encryption_key_id": "k", "volume_type_id": "t"})
        assert db.volume_get(None, "target")["encryption_key_id"] == "k"

    def test_a_target_without_a_type_is_given_that_of_the_backup(
        self, api: BackupMetadataAPI, db: StoreDatabase, store: Store
    ) -> None:
        db.volume_create(None, {"id": "source", "volume_type_id": "t", "volume_type": TYPE})
        db.volume_create(None, {"id": "target"})
        put(api, "target", version=2, base={"encryption_key_id": "k", "volume_type_id": "t"})
        target = store["volumes"]["target"]
        assert target["volume_type_id"] == "t"
        assert target["volume_type"] == TYPE
        assert target["encryption_key_id"] == "k"

    @pytest.mark.parametrize("target_type", ["other", None])
    def test_an_encrypted_backup_goes_nowhere_else_and_then_nothing_is_restored(
        self, api: BackupMetadataAPI, db: StoreDatabase, store: Store, target_type: str | None
    ) -> None:
        db.volume_create(
            None, {"id": "target", "volume_type_id": target_type, "metadata": {"a": "1"}}
        )
        before = store.revision
        with pytest.raises(EncryptedBackupOperationFailed) as caught:
            put(
                api,
                "target",
                version=2,
                meta={},
                glance={},
                base={"encryption_key_id": "k", "volume_type_id": "t", "display_name": "n"},
            )
        assert "the type t" in str(caught.value)
        assert store.revision == before

    def test_a_backup_that_is_not_encrypted_goes_anywhere(
        self, api: BackupMetadataAPI, db: StoreDatabase
    ) -> None:
        db.volume_create(None, {"id": "target", "volume_type_id": "other"})
        put(api, "target", version=2, base={"encryption_key_id": None, "volume_type_id": "t"})
        assert db.volume_get(None, "target")["volume_type_id"] == "other"

    def test_version_1_knows_no_encryption(self, api: BackupMetadataAPI, db: StoreDatabase) -> None:
        db.volume_create(None, {"id": "target", "volume_type_id": "other"})
        put(api, "target", version=1, base={"encryption_key_id": "k", "volume_type_id": "t"})
        assert db.volume_get(None, "target")["encryption_key_id"] is None

    # --- what is refused

    @pytest.mark.parametrize("version", [0, 3, -1, "1", "2", None, True, [1], {}, 1.5])
    def test_an_unknown_version_is_refused(
        self, api: BackupMetadataAPI, store: Store, source: str, version: Any
    ) -> None:
        before = store.revision
        with pytest.raises(BackupMetadataUnsupportedVersion) as caught:
            put(api, source, version=version, meta={})
        assert "1 and 2" in str(caught.value)
        assert store.revision == before

    def test_a_missing_version_is_refused(self, api: BackupMetadataAPI, source: str) -> None:
        with pytest.raises(BackupMetadataUnsupportedVersion, match="no version"):
            put(api, source, meta={})

    @pytest.mark.parametrize(
        "text",
        [
            *("", "{", "[]", "5", "null", '"text"', b"\xff", None, 5, "[" * 100_000),
            '{"version": 2, "volume-metadata": null}',
            '{"version": 2, "volume-metadata": {}, "volume-glance-metadata": []}',
            '{"version": 1, "volume-metadata": {}, "volume-base-metadata": "x"}',
            '{"version": 2, "volume-metadata": {}, "volume-base-metadata": {"display_name": 5}}',
            '{"version":2,"volume-metadata":{},"volume-base-metadata":{"encryption_key_id":"k"}}',
            '{"version": 2, "volume-base-metadata": {"encryption_key_id":"k","volume_type_id":[]}}',
        ],
        ids=lambda text: repr(text)[:40],
    )
    def test_what_is_no_container_is_refused_and_nothing_restored(
        self, api: BackupMetadataAPI, store: Store, source: str, text: Any
    ) -> None:
        before = store.revision
        with pytest.raises(InvalidBackup):
            api.put(source, text)
        assert store.revision == before

    def test_a_restore_that_fails_in_the_middle_restores_nothing(
        self, api: BackupMetadataAPI, store: Store, source: str
    ) -> None:
        before = store.revision
        text = (
            '{"version": 1, "volume-metadata": {"a": "1"},'
            ' "volume-glance-metadata": {"b": "\\ud800"}}'
        )
        with pytest.raises(ValueError):
            api.put(source, text)
        assert store.revision == before
