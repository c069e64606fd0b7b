"""What every backup driver has from its base class."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import filestore
from filestore import InvalidBackup
from filestore.backup import BackupDriver, StoreDatabase

if TYPE_CHECKING:
    from collections.abc import Callable


class Nowhere(BackupDriver):
    """Keeps nothing."""

    def backup(self, backup: Any, volume_file: Any, backup_metadata: bool = False) -> None:
        pass

    def restore(
        self, backup: Any, volume_id: str, volume_file: Any, volume_is_new: bool = False
    ) -> None:
        pass

    def delete(self, backup: Any) -> None:
        self.deleted = backup


@pytest.fixture
def driver(db: StoreDatabase) -> Nowhere:
    return Nowhere("context", db)


def test_metadata_are_got_and_put(driver: Nowhere, db: StoreDatabase) -> None:
    db.volume_create(None, {"id": "v", "metadata": {"a": "1"}})
    db.volume_create(None, {"id": "w"})
    driver.put_metadata("w", driver.get_metadata("v"))
    assert db.volume_metadata_get(None, "w") == {"a": "1"}
    assert json.loads(driver.get_metadata("v"))["version"] == 2
    assert json.loads(Nowhere(None, db, version=1).get_metadata("v"))["version"] == 1


def test_delete_goes_by_both_its_names(driver: Nowhere, db: StoreDatabase) -> None:
    class Todays(Nowhere):
        delete = BackupDriver.delete

        def delete_backup(self, backup: Any) -> None:
            self.deleted = backup

    for each in (driver, Todays(None, db)):
        for call in (each.delete, each.delete_backup):
            backup = object()
            call(backup)  # type: ignore[arg-type]  # it is only passed on
            assert each.deleted is backup


def test_a_driver_that_lacks_something_cannot_be_made(db: StoreDatabase) -> None:
    class Undeletable(Nowhere):
        delete = BackupDriver.delete

    with pytest.raises(TypeError, match="delete"):
        Undeletable(None, db)
    with pytest.raises(TypeError, match="abstract"):
        BackupDriver(None, db)  # type: ignore[abstract]


def test_verifying_is_the_drivers(driver: Nowhere) -> None:
    with pytest.raises(NotImplementedError, match="Nowhere"):
        driver.verify("id")
    assert driver.support_force_delete is False
    driver.check_for_setup_error()


def test_a_record_survives_being_exported(driver: Nowhere, db: StoreDatabase) -> None:
    backup = db.backup_create(None, {"volume_id": "v", "display_name": "Sauvegardé"})
    text = driver.export_record(backup)
    assert text.isascii()
    assert "\n" not in text
    record = driver.import_record(text)
    assert record == dict(backup)
    again = db.backup_create(None, {**record, "id": None})
    assert again["display_name"] == "Sauvegardé"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON), st.integers(1, 76))
def test_any_record_comes_back_however_it_was_wrapped(record: dict[str, Any], width: int) -> None:
    with filestore.open("memory:") as store:
        driver = Nowhere(None, StoreDatabase(store))
        text = driver.export_record(record)
        expected = json.loads(json.dumps(record))
        wrapped = "\r\n".join(text[at : at + width] for at in range(0, len(text), width))
        for form in (text, text.encode(), wrapped, f"  {text}\n", bytearray(text.encode())):
            assert driver.import_record(form) == expected  # type: ignore[arg-type]  # bytes too


def test_times_are_exported_and_what_json_has_not_is_refused(driver: Nowhere) -> None:
    at = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    assert driver.import_record(driver.export_record({"id": "b", "at": at})) == {
        "id": "b",
        "at": "2026-03-01T00:00:00.000000Z",
    }
    with pytest.raises(InvalidBackup, match="'odd'"):
        driver.export_record({"id": "b", "odd": object()})


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


BAD: list[Callable[[], Any]] = [
    lambda: "",
    lambda: "???",
    lambda: encoded('{"id": "b"}')[:-3],
    lambda: encoded('{"id": "b"}') + "!",
    lambda: "é" + encoded("{}"),
    lambda: "\ud800",
    lambda: encoded("{"),
    lambda: encoded("[]"),
    lambda: encoded("null"),
    lambda: base64.b64encode(b"\xff\xfe").decode(),
    lambda: encoded("[" * 100_000),
    lambda: None,
    lambda: ["x"],
]


@pytest.mark.parametrize("make", BAD)
def test_what_is_no_record_is_refused(driver: Nowhere, make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidBackup, match="no exported record"):
        driver.import_record(make())
