"""What cannot be opened or written, told in one error that shows no secret."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import (
    Corrupt,
    FilestoreError,
    LockTimeout,
    NotFound,
    StorageError,
    UnsupportedFormat,
)
from filestore.backends.sql.backend import SqlBackend
from filestore.location import masked_url
from tests.contract.backend import A, in_thread, put

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@ss:w/rd@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h/d?user=u&password=p&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        ("postgresql://h/d?sslpassword=p", "postgresql://h/d?sslpassword=***"),
        ("etcd://u:p@h", "etcd://u:***@h"),
        ("sqlite:///a@b:c", "sqlite:///a@b:c"),
        ("state", "state"),
        ("a?password=b", "a?password=b"),
    ],
)
def test_a_url_is_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert masked_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sesame@h:port/d",
        "postgresql://u:sesame@h:99999/d",
        "postgresql+nothing://u:sesame@h/d",
        "postgres://u:sesame@h/d",
        "mysql+pymysql://u:sesame@h/d",
        "sqlite+nothing:///x.db",
        "sqlite:///file:x?mode=memory&uri=true",
    ],
)
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        filestore.open(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "sesame" not in str(error)
        error = error.__cause__


def test_without_sqlalchemy_the_error_names_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "import filestore\n"
        "try:\n"
        "    filestore.open('sqlite://')\n"
        "except filestore.StorageError as error:\n"
        "    print(error)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout
    assert "filestore[sql]" in out


def test_without_a_driver_the_error_names_what_to_install() -> None:
    code = (
        "import sys; sys.modules['psycopg2'] = None\n"
        "import filestore\n"
        "try:\n"
        "    filestore.open('postgresql+psycopg2://h/d')\n"
        "except filestore.StorageError as error:\n"
        "    print(error)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout
    assert "filestore[postgresql]" in out


def test_sqlalchemy_is_imported_when_a_database_is_opened() -> None:
    code = (
        "import filestore, sys\n"
        "filestore.open('memory:').close()\n"
        "print('sqlalchemy' in sys.modules)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout
    assert out == "False\n"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        filestore.open(f"sqlite:///{tmp_path}/nowhere/state.db")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"a letter to somebody, longer than SQLite's header is" * 20)
    with pytest.raises(Corrupt):
        filestore.open(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"a letter")


@pytest.mark.parametrize("options", [{"create": False}, {"readonly": True}], ids=str)
def test_a_store_that_is_not_there_is_made_only_where_asked(
    tmp_path: Path, options: dict[str, bool]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    with pytest.raises(NotFound):
        filestore.open(url, **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    sqlite3.connect(tmp_path / "state.db").close()
    with pytest.raises(NotFound):
        filestore.open(url, **options)  # type: ignore[arg-type]


def test_tables_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    filestore.open(url).close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("UPDATE filestore_meta SET format = 2")
    connection.close()
    with pytest.raises(UnsupportedFormat, match="newer version"):
        filestore.open(url)


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with filestore.open(f"sqlite:///{tmp_path}/state.db") as store:
        store["volumes"]["a"] = {}
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    with filestore.open(f"sqlite:///{tmp_path}/shared.db", file_mode=0o640):
        assert (tmp_path / "shared.db").stat().st_mode & 0o777 == 0o640


def test_a_file_that_was_replaced_is_not_written(tmp_path: Path) -> None:
    with filestore.open(f"sqlite:///{tmp_path}/state.db") as store:
        store["volumes"]["a"] = {}
        (tmp_path / "state.db").rename(tmp_path / "old.db")
        with pytest.raises(StorageError, match="moved"):
            store["volumes"]["b"] = {}
        (tmp_path / "old.db").rename(tmp_path / "state.db")
        store["volumes"]["b"] = {}


def test_a_path_keeps_its_meaning_when_the_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with filestore.open("sqlite:///state.db") as store:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        store["volumes"]["a"] = {}
        in_thread(lambda: store["volumes"]["a"])
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "synchronous"),
    [
        ({}, 2),
        ({"durability": "normal"}, 1),
        ({"durability": "off"}, 0),
        ({"synchronous": "NORMAL"}, 1),
        ({"synchronous": "extra", "durability": "off"}, 3),
    ],
    ids=str,
)
def test_durability_is_sqlites_synchronous(
    tmp_path: Path, options: Mapping[str, str], synchronous: int
) -> None:
    backend = SqlBackend(f"sqlite:///{tmp_path}/state.db", **options)  # type: ignore[arg-type]
    put(backend, A, 1)
    session = backend._writes._turn.session
    assert session is not None
    assert session.ask("PRAGMA synchronous")[0] == synchronous
    assert session.ask("PRAGMA journal_mode")[0] == "wal"
    backend.close()


@pytest.mark.parametrize("options", [{"durability": "x"}, {"synchronous": "x"}], ids=str)
def test_a_durability_that_is_none_is_refused(tmp_path: Path, options: Mapping[str, str]) -> None:
    with pytest.raises(ValueError):
        SqlBackend(f"sqlite:///{tmp_path}/state.db", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("remark", [{"message": "\ud800"}, {"actor": "\ud800"}], ids=ascii)
def test_remarks_that_are_no_text_are_refused(remark: Mapping[str, str]) -> None:
    with filestore.open("sqlite://") as store:
        with pytest.raises(FilestoreError), store.transaction(**remark):
            store["volumes"]["a"] = {}
        assert store.revision == 0


def test_remarks_are_kept_as_they_are() -> None:
    with filestore.open("sqlite://") as store:
        with store.transaction(message="nul\0 back\\slash \\0", actor="é\0"):
            store["volumes"]["a"] = {}
        (change,) = store.changes()
        assert (change.message, change.actor) == ("nul\0 back\\slash \\0", "é\0")


def test_a_transaction_of_another_process_is_told_by_its_number(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    code = (
        "import filestore, sys\n"
        f"with filestore.open({url!r}) as store, store.transaction():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    filestore.open(url).close()
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with filestore.open(url, lock_timeout=0.1) as store:
        with pytest.raises(LockTimeout) as caught:
            store["volumes"]["a"] = {}
        assert caught.value.pid == holder.pid
        assert str(holder.pid) in str(caught.value)
        holder.communicate()
        store["volumes"]["a"] = {}
