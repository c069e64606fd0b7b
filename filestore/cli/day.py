"""A day in a small lab, through the public API: what the demo performs.

Each step does one thing to the store and tells what it did; showing it is the
caller's.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import filestore
from filestore.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filestore.model import Document
    from filestore.store import Store


@dataclass(frozen=True, slots=True)
class Step:
    """What happened: ``code`` did it, ``outcome`` tells the rest."""

    title: str
    code: str
    outcome: str
    refused: bool = False


@contextmanager
def lab() -> Iterator[Path]:
    """The folder of the fixture, a store: in the installed package or in the source tree."""
    package = files("filestore")
    with as_file(package / "_lab") as installed, as_file(package / "../fixtures/lab") as source:
        for folder in (installed, source):
            if folder.is_dir():
                yield folder
                return
    raise NotFound("this installation of filestore has no demo data: install it again")


def load(store: Store) -> dict[str, int]:
    """Copy the lab into the store in one transaction; returns the documents of each collection."""
    with (
        lab() as folder,
        filestore.open(folder, readonly=True, create=False, watch=False) as fixture,
        store.transaction(message="load the lab") as tx,
    ):
        for name in fixture.collections():
            tx[name].update(fixture[name])
        return {name: len(tx[name]) for name in tx.collections()}


def day(store: Store) -> Iterator[Step]:
    """Work in the lab until the evening."""
    new = Volume(store)
    yield new.create()
    yield new.extend()
    yield new.take_snapshot()
    yield new.attach()
    yield mark_idle(store)
    yield new.overwrite()
    yield delete_oldest_snapshot(store)


class Volume:
    """The volume that the day is about: a disk for a new database."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.id = _id("billing-db")
        self._etag = ""

    def create(self) -> Step:
        """Create the volume beside one that is there, on the same backend."""
        volumes = self._store["volumes"]
        model = min(
            (record.document for record in volumes.find(status="available")),
            key=lambda document: document.get("created_at", ""),
        )
        kept = ("host", "project_id", "user_id", "use_quota", "shared_targets")
        document: Document = {
            **{field: model[field] for field in kept if field in model},
            "id": self.id,
            "display_name": "billing-db",
            "size": 20,
            "status": "available",
            "attach_status": "detached",
            "bootable": False,
            "created_at": "2026-03-02T08:15:30.250000Z",
            "metadata": {"team": "billing"},
        }
        volumes.put(self.id, document, expected=None)
        self._etag = volumes.read(self.id).etag
        return Step(
            "Create a volume",
            f'volumes.put("{short(self.id)}", {{"display_name": "billing-db", …}}, expected=None)',
            "expected=None: nothing may be there yet",
        )

    def extend(self) -> Step:
        """Make it larger: one field changes."""
        self._store["volumes"].patch(self.id, {"size": 40})
        return Step(
            "Extend it",
            f'volumes.patch("{short(self.id)}", {{"size": 40}})',
            "read, merged and written under the lock: 20 GiB become 40",
        )

    def take_snapshot(self) -> Step:
        """Take a snapshot of it."""
        id = _id("billing-db before the migration")
        volume = self._store["volumes"][self.id]
        self._store["snapshots"][id] = {
            "id": id,
            "display_name": "before the migration",
            "volume_id": self.id,
            "volume_size": volume["size"],
            "backend": volume["host"].split("@")[-1].split("#")[0],
            "project_id": volume["project_id"],
            "user_id": volume["user_id"],
            "status": "available",
            "created_at": "2026-03-02T11:40:02.118000Z",
        }
        return Step(
            "Take a snapshot",
            f'snapshots["{short(id)}"] = {{"volume_id": "{short(self.id)}", …}}',
            "collections are mappings",
        )

    def attach(self) -> Step:
        """Attach it to a host: a connection appears and the volume is in use, at one moment."""
        id = _id("billing-db on web-3")
        connector = {"host": "web-3", "initiator": "iqn.1993-08.org.debian:01:web-3"}
        target = {
            "target_portal": "192.0.2.10:3260",
            "target_iqn": f"iqn.2010-10.org.openstack:volume-{self.id}",
            "target_lun": 1,
            "auth_method": "CHAP",
            "auth_username": "billing",
            "auth_password": uuid.uuid4().hex[:16],
        }
        connection = {
            "id": id,
            "volume_id": self.id,
            "attached_host": "web-3",
            "attach_mode": "rw",
            "connector": connector,
            "connection_info": {
                "conn": {"driver_volume_type": "iscsi", "data": target},
                "connector": connector,
            },
            "created_at": "2026-03-02T13:05:44.902000Z",
        }
        with self._store.transaction(message="attach billing-db to web-3") as tx:
            tx["connections"][id] = connection
            tx["volumes"].patch(self.id, {"status": "in-use", "attach_status": "attached"})
        return Step(
            "Attach it to a host: two documents, one commit",
            'with store.transaction(message="attach billing-db to web-3") as tx:\n'
            f'    tx["connections"]["{short(id)}"] = {{…}}\n'
            f'    tx["volumes"].patch("{short(self.id)}", {{"status": "in-use", …}})',
            "nobody ever sees one without the other",
        )

    def overwrite(self) -> Step:
        """Write what was read in the morning over what is there now: refused."""
        volumes = self._store["volumes"]
        stale = {"display_name": "billing-db", "size": 20}
        try:
            volumes.put(self.id, stale, expected=self._etag)
        except Conflict as error:
            outcome = f"{type(error).__name__}: {error}"
        else:
            raise AssertionError("the store took a stale write")
        return Step(
            "A write that goes by the morning's etag is refused",
            f'volumes.put("{short(self.id)}", …, expected="{self._etag[:8]}…")',
            outcome,
            refused=True,
        )


def mark_idle(store: Store) -> Step:
    """Mark every volume that nobody uses, all at once."""
    with store.transaction(message="mark what is idle") as tx:
        idle = tx["volumes"].find(status="available")
        for record in idle:
            tx["volumes"].patch(record.key.id, {"metadata": {"idle": "yes"}})
    return Step(
        "Mark what is idle: all of it or nothing",
        'with store.transaction(message="mark what is idle") as tx:\n'
        '    for record in tx["volumes"].find(status="available"):\n'
        '        tx["volumes"].patch(record.key.id, {"metadata": {"idle": "yes"}})',
        f"{len(idle)} volumes, one record in the journal, one sync",
    )


def delete_oldest_snapshot(store: Store) -> Step:
    """Delete the snapshot that has been there for longest."""
    oldest = min(
        store["snapshots"].find(), key=lambda record: record.document.get("created_at") or "~"
    )
    del store["snapshots"][oldest.key.id]
    return Step(
        "Delete the oldest snapshot",
        f'del snapshots["{short(oldest.key.id)}"]',
        f"{_name(oldest.document)} is gone; the journal still knows it",
    )


def short(id: str) -> str:
    """An id as a person would say it."""
    return id if len(id) <= 12 else id[:8] + "…"


def _name(document: dict[str, Any]) -> str:
    return str(document.get("display_name") or "it")


def _id(name: str) -> str:
    """The same id in every demo."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.lab.example"))
