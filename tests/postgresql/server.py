"""A PostgreSQL server of the tests' own: Debian's programs, a temporary folder, a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

PROGRAMS = sorted(
    Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3])
)
DEADLINE = 60.0  # seconds after which a server that should have started or stopped hangs
USER = "keeper"
PASSWORD = "hush/hush@home"  # of a server that is gone in a minute


class Server:
    """Made and started; :meth:`stop` and :meth:`start` as often as wanted."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="filestore-postgresql-"))
        self.port = _free_port()
        self.log = self.folder / "log"
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:  # which PostgreSQL refuses to be
            account = pwd.getpwnam("postgres")
            self._identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._server: subprocess.Popen[bytes] | None = None
        self._schemas = 0
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        subprocess.run(
            [
                PROGRAMS[-1].with_name("initdb"), "--pgdata", self.folder / "data",
                "--auth=scram-sha-256", "--username", USER, "--pwfile", password,
                "--encoding=UTF8", "--locale=C", "--no-sync",
            ],
            check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self._identity,
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        with open(self.log, "ab") as log:
            self._server = subprocess.Popen(
                [
                    PROGRAMS[-1], "-D", self.folder / "data", "-p", str(self.port),
                    "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                    "-c", "fsync=off", "-c", "max_connections=200",
                    "-c", "logging_collector=off",
                ],
                stdout=log, stderr=log, cwd=self.folder, **self._identity,
            )  # fmt: skip
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                self.connect().close()
            except psycopg2.OperationalError:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT ends connections first, SIGQUIT ends all at once, as a crash does."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(DEADLINE)
            self._server = None

    def remove(self) -> None:
        """Stop and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder)

    def connect(self, database: str = "postgres", user: str = USER) -> Any:
        """A connection of the driver's, in autocommit."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, dbname=database, user=user, password=PASSWORD
        )
        connection.autocommit = True
        return connection

    def run(self, text: str) -> None:
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(text)

    def ask(self, text: str) -> list[Any]:
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(text)
            rows: list[Any] = cursor.fetchall()
            return rows

    def url(self, schema: str = "", *, driver: str = "", user: str = USER) -> str:
        """The URL of a database, or of a schema in it."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        options = f"?options=-csearch_path%3D{schema}" if schema else ""
        secret = PASSWORD.replace("/", "%2F").replace("@", "%40")
        return f"{scheme}://{user}:{secret}@127.0.0.1:{self.port}/postgres{options}"

    def schema(self) -> str:
        """A new schema, empty."""
        self._schemas += 1
        name = f"filestore_{self._schemas}"
        self.run(f"CREATE SCHEMA {name}")
        return name


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
