"""What one would write by hand instead of a store, and what nobody can go below."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.bench.databases import Scanned

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.bench.population import Resource

    Document = dict[str, Any]


class Files(Scanned):
    """What one writes by hand: a JSON file a document, renamed into place, everything synced."""

    def __init__(self, path: str, *, durable: bool = True) -> None:
        self._path = path
        self._durable = durable
        self._made: set[str] = set()

    def put(self, one: Resource) -> None:
        folder = f"{self._path}/{one.collection}"
        if folder not in self._made:
            os.makedirs(folder, exist_ok=True)
            self._made.add(folder)
        tmp = f"{self._path}/tmp-{os.getpid()}"
        with open(tmp, "w", encoding="utf-8") as file:
            json.dump(one.document, file)
            file.flush()
            if self._durable:
                os.fsync(file.fileno())
        os.rename(tmp, f"{folder}/{one.id}.json")
        if self._durable:
            sync_folder(folder)

    def put_many(self, many: Sequence[Resource]) -> None:
        for one in many:
            self.put(one)

    def get(self, collection: str, id: str) -> Document:
        with open(f"{self._path}/{collection}/{id}.json", encoding="utf-8") as file:
            document: Document = json.load(file)
        return document

    def listing(self, collection: str) -> list[Document]:
        folder = f"{self._path}/{collection}"
        return [self.get(collection, name[:-5]) for name in os.listdir(folder)]

    def close(self) -> None:
        pass


class Raw:
    """No store: the least that the system and the JSON library make anybody pay.

    A put is one write to a preallocated log and its sync, of bytes that are encoded already; a
    get decodes bytes that are in memory; what is cold is opened, read and decoded.
    """

    _LOG: Final = 64 << 20

    def __init__(self, path: str, *, durable: bool = True) -> None:
        import orjson

        self._loads, self._dumps = orjson.loads, orjson.dumps
        self._path = path
        self._durable = durable
        self._log = -1
        self._at = 0
        self._encoded: dict[str, bytes] = {}

    def _open_log(self) -> int:
        fd = os.open(f"{self._path}/log-{os.getpid()}", os.O_RDWR | os.O_CREAT, 0o600)
        for at in range(0, self._LOG, 1 << 20):
            os.pwrite(fd, bytes(1 << 20), at)
        os.fsync(fd)
        return fd

    def _append(self, data: bytes) -> None:
        if self._log < 0:
            self._log = self._open_log()
        if self._at + len(data) > self._LOG:
            self._at = 0
        os.pwrite(self._log, data, self._at)
        if self._durable:
            os.fdatasync(self._log)
        self._at += len(data)

    def _bytes(self, one: Resource) -> bytes:
        return self._dumps(one.document)

    def prepare(self, many: Iterable[Resource]) -> None:
        """Encode them, which is not measured."""
        for one in many:
            self._encoded[one.id] = bytes(bytearray(self._bytes(one)))

    def put(self, one: Resource) -> None:
        self._append(self._encoded.get(one.id) or self._bytes(one))

    def put_many(self, many: Sequence[Resource]) -> None:
        if not self._durable:  # filling it: a file each, to be read cold
            for one in many:
                folder = Path(self._path, one.collection)
                folder.mkdir(exist_ok=True)
                (folder / f"{one.id}.json").write_bytes(self._bytes(one))
            return
        self._append(b"".join(self._encoded.get(one.id) or self._bytes(one) for one in many))

    def get(self, collection: str, id: str) -> Document:
        data = self._encoded.get(id)
        if data is None:
            fd = os.open(f"{self._path}/{collection}/{id}.json", os.O_RDONLY)
            data = self._encoded[id] = os.read(fd, 1 << 14)
            os.close(fd)
        document: Document = self._loads(data)
        return document

    def find(self, collection: str, field: str, value: str) -> list[Document]:
        raise NotImplementedError

    def listing(self, collection: str) -> list[Document]:
        raise NotImplementedError

    def close(self) -> None:
        if self._log >= 0:
            os.close(self._log)


def sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
