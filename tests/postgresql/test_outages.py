"""A server that is down, comes back, or dies in the middle; and what it may refuse."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.errors
import pytest

import filestore
from filestore import (
    FilestoreError,
    LockTimeout,
    NotFound,
    ReadOnly,
    StorageError,
    UnsupportedFormat,
)
from filestore.backends.sql.backend import SqlBackend
from tests.contract.backend import GRACE, A, Worker, put, value
from tests.postgresql.server import PASSWORD
from tests.sql.forking import in_child

if TYPE_CHECKING:
    from tests.postgresql.server import Server

ROOT = Path(__file__).parents[2]


def refused(url: str, kind: type[FilestoreError] = StorageError) -> FilestoreError:
    """The error of opening, which must tell no password."""
    with pytest.raises(kind) as caught:
        filestore.open(url, lock_timeout=0.5)
    error: BaseException | None = caught.value
    while error is not None:
        assert PASSWORD not in str(error)
        assert "hush" not in str(error)
        error = error.__cause__
    return caught.value


def test_a_server_that_is_down_is_told(mortal: Server) -> None:
    mortal.stop()
    assert "refused" in str(refused(mortal.url()))


def test_a_wrong_password_is_told_without_it(server: Server) -> None:
    error = refused(server.url().replace("hush%2Fhush", "wronghush"))
    assert "authentication failed" in str(error)


def test_a_database_that_is_not_there_is_told(server: Server) -> None:
    error = refused(server.url().replace("/postgres", "/nowhere"))
    assert '"nowhere" does not exist' in str(error)


def test_a_host_that_is_not_there_is_told(server: Server) -> None:
    refused(server.url().replace("127.0.0.1", "nowhere.invalid"))


def test_a_user_who_may_make_no_tables_is_told(server: Server) -> None:
    schema = server.schema()
    server.run(f"CREATE ROLE guest_{schema} LOGIN PASSWORD '{PASSWORD}'")
    server.run(f"GRANT USAGE ON SCHEMA {schema} TO guest_{schema}")
    error = refused(server.url(schema, user=f"guest_{schema}"))
    assert "permission denied" in str(error)


def test_a_user_who_may_only_read_reads(server: Server) -> None:
    schema = server.schema()
    with filestore.open(server.url(schema)) as store:
        store["volumes"]["a"] = {"size": 1}
    server.run(f"CREATE ROLE reader_{schema} LOGIN PASSWORD '{PASSWORD}'")
    server.run(f"GRANT USAGE ON SCHEMA {schema} TO reader_{schema}")
    server.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader_{schema}")
    url = server.url(schema, user=f"reader_{schema}")
    with filestore.open(url, readonly=True) as store:
        assert store["volumes"]["a"] == {"size": 1}
        with pytest.raises(ReadOnly):
            store["volumes"]["a"] = {}
    with filestore.open(url) as store:
        with pytest.raises(StorageError, match="permission denied"):
            store["volumes"]["a"] = {}
        assert store["volumes"]["a"] == {"size": 1}


def test_tables_of_a_newer_version_are_left_alone(server: Server) -> None:
    schema = server.schema()
    filestore.open(server.url(schema)).close()
    server.run(f"UPDATE {schema}.filestore_meta SET format = 2")
    assert "newer version" in str(refused(server.url(schema), UnsupportedFormat))


def test_a_store_that_is_not_there_is_made_only_where_asked(server: Server) -> None:
    url = server.url(server.schema())
    for options in ({"create": False}, {"readonly": True}):
        with pytest.raises(NotFound):
            filestore.open(url, **options)  # type: ignore[arg-type]
    filestore.open(url).close()
    filestore.open(url, create=False).close()


def test_a_database_that_cannot_hold_every_document_is_refused(server: Server) -> None:
    with suppress(psycopg2.errors.DuplicateDatabase):
        server.run(
            "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    error = refused(server.url().replace("/postgres", "/latin"), UnsupportedFormat)
    assert "LATIN1" in str(error)


def test_the_location_tells_no_password(url: str) -> None:
    with filestore.open(url) as store:
        assert "hush" not in store.location
        assert "***" in store.location
        assert "hush" not in repr(store)
        assert "hush" not in str(store.stats())


def test_many_may_make_the_tables_at_once(url: str) -> None:
    barrier = threading.Barrier(6)

    def make() -> None:
        barrier.wait(GRACE)
        filestore.open(url).close()

    workers = [Worker(make) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.done()


def test_a_server_that_was_restarted_is_found_again(mortal: Server) -> None:
    with filestore.open(mortal.url()) as store, filestore.open(mortal.url()) as idle:
        store["volumes"]["a"] = {"size": 1}
        idle["volumes"]["b"] = {"size": 1}
        with store.snapshot() as view:
            mortal.stop()
            with pytest.raises(StorageError):
                store["volumes"]["a"]
            with pytest.raises(StorageError):
                store["volumes"]["a"] = {"size": 2}
            with pytest.raises(StorageError), store.transaction():
                raise AssertionError("there is no server")
            mortal.start()
            assert store["volumes"]["a"] == {"size": 1}
            idle["volumes"]["a"] = {"size": 2}
            store["volumes"]["b"] = {"size": 2}
            assert idle["volumes"]["b"] == {"size": 2}
            assert view["volumes"]["a"] == {"size": 1}
        assert store.check() == []


def test_a_server_that_dies_inside_a_transaction_leaves_nothing_of_it(mortal: Server) -> None:
    with filestore.open(mortal.url()) as store:
        store["volumes"]["a"] = {"size": 1}
        with pytest.raises(StorageError), store.transaction():  # noqa: PT012  # the block
            store["volumes"]["a"] = {"size": 2}
            mortal.stop(signal.SIGQUIT)
            mortal.start()
        assert store["volumes"]["a"] == {"size": 1}
        assert store.revision == 1
        store["volumes"]["a"] = {"size": 3}
        assert store.check() == []


def test_a_commit_whose_answer_is_lost_is_told_to_be_done(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = SqlBackend(url)
    put(backend, A, 1)
    with backend.exclusive():
        put(backend, A, 2)
        session = backend._writes._turn.session
        assert session is not None
        say = session._execute

        def commit_and_die(text: str, *rest: object) -> object:
            done = say(text, *rest)
            if text == "COMMIT":
                pid = session.connection.get_backend_pid()
                server.run(f"SELECT pg_terminate_backend({pid})")
                say("SELECT 1")
            return done

        session._execute = commit_and_die
    assert value(backend, A) == 2
    assert backend.revision == 2
    put(backend, A, 3)
    assert backend.check() == []
    backend.close()


def test_a_commit_that_did_not_come_through_is_told_to_be_lost(server: Server, url: str) -> None:
    backend = SqlBackend(url)
    put(backend, A, 1)
    with pytest.raises(StorageError, match="nothing was written"), backend.exclusive():  # noqa: PT012
        put(backend, A, 2)
        session = backend._writes._turn.session
        assert session is not None
        server.run(f"SELECT pg_terminate_backend({session.connection.get_backend_pid()})")
    assert value(backend, A) == 1
    put(backend, A, 2)
    assert backend.check() == []
    backend.close()


def test_a_commit_whose_server_stays_away_is_unknown(mortal: Server) -> None:
    backend = SqlBackend(mortal.url())
    put(backend, A, 1)
    with pytest.raises(StorageError, match="unknown"), backend.exclusive():  # noqa: PT012
        put(backend, A, 2)
        mortal.stop(signal.SIGQUIT)
    mortal.start()
    assert value(backend, A) in {1, 2}
    assert backend.check() == []
    backend.close()


def test_whoever_waits_is_told_who_has_the_lock(url: str) -> None:
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
        assert store.collections() == []
        with pytest.raises(LockTimeout) as caught:
            store["volumes"]["a"] = {}
        assert caught.value.pid == holder.pid
        assert caught.value.host
        assert caught.value.since is not None
        assert abs(caught.value.since - time.time()) < 3600
        holder.communicate()
        assert holder.returncode == 0
        store["volumes"]["a"] = {}


COMMITTER = """
import sys, filestore
store = filestore.open(sys.argv[1])
name = sys.argv[2]
for n in range(1_000_000):
    try:
        with store.transaction():
            store["volumes"][name] = {"n": n}
            store["copies"][name] = {"n": n}
    except filestore.FilestoreError as error:
        print("error", type(error).__name__, flush=True)
        break
    print(n, flush=True)
"""


def test_of_commits_that_returned_none_is_lost_when_the_server_is_killed(mortal: Server) -> None:
    url = mortal.url()
    filestore.open(url).close()
    writers = {
        name: subprocess.Popen(
            [sys.executable, "-c", COMMITTER, url, name],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for name in "xy"
    }
    for writer in writers.values():
        assert writer.stdout is not None
        while int(writer.stdout.readline()) < 20:
            pass
    mortal.stop(signal.SIGQUIT)
    told: dict[str, int] = {}
    for name, writer in writers.items():
        assert writer.stdout is not None
        with writer.stdout:
            *numbers, last = writer.stdout.read().split("\n")[:-1]
        assert last == "error StorageError"
        told[name] = int(numbers[-1]) if numbers else 20
        assert writer.wait(GRACE) == 0
    mortal.start()
    with filestore.open(url) as store:
        for name, n in told.items():
            # The one whose answer was lost may be there as well.
            assert store["volumes"][name]["n"] in {n, n + 1}
            assert store["volumes"][name] == store["copies"][name]
        assert store.check() == []
        store["volumes"]["z"] = {}


def test_two_processes_lose_no_update(url: str) -> None:
    code = (
        "import sys, filestore\n"
        "with filestore.open(sys.argv[1]) as store:\n"
        "    for n in range(50):\n"
        "        with store.transaction():\n"
        "            document = store['volumes'].get('a', {'n': 0})\n"
        "            store['volumes']['a'] = {'n': document['n'] + 1}\n"
    )
    filestore.open(url).close()
    writers = [subprocess.Popen([sys.executable, "-c", code, url], cwd=ROOT) for _ in range(2)]
    for writer in writers:
        assert writer.wait(GRACE) == 0
    with filestore.open(url) as store:
        assert store["volumes"]["a"] == {"n": 100}
        assert store.revision == 100
        assert store.check() == []


def test_parent_and_child_go_on(url: str) -> None:
    with filestore.open(url) as store:
        store["volumes"]["a"] = {"n": 1}
        with store.transaction():  # of a server, a child of its midst can go on as well
            store["volumes"]["b"] = {"n": 2}

            def work() -> bool:
                return store["volumes"]["a"] == {"n": 1} and "b" not in store["volumes"]

            assert in_child(work) == 0

        def write() -> bool:
            for n in range(20):
                store["volumes"]["child"] = {"n": n}
            return True

        assert in_child(write) == 0
        assert store["volumes"]["child"] == {"n": 19}
        store["volumes"]["b"] = {"n": 3}
        assert store.check() == []
