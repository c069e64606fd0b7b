"""Another process on a store: carries out what it reads from its input, one JSON line each.

A line is ``{"path", "writes": [[collection, id, document or null], ...]}``.  The answer
is what the process reads before and after the writes, each as such a list.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filestore
from filestore import Key, Store

if TYPE_CHECKING:
    from filestore.model import Document

ROOT = Path(__file__).parents[2]

Rows = list[tuple[str, str, "Document | None"]]


class Writer:
    """The other process, from this side.  It keeps its store open between calls."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stateful.writer"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def write(
        self, path: str, writes: dict[Key, Document | None]
    ) -> tuple[dict[Key, Document], dict[Key, Document]]:
        """Commit the writes at once; returns what the process read before and after."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        rows = [(*key, document) for key, document in writes.items()]
        self._process.stdin.write(json.dumps({"path": path, "writes": rows}) + "\n")
        self._process.stdin.flush()
        before, after = json.loads(self._process.stdout.readline())
        return _documents(before), _documents(after)

    def close(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


def _documents(rows: list[list[Any]]) -> dict[Key, Document]:
    return {Key(collection, id): document for collection, id, document in rows}


def _everything(store: Store) -> Rows:
    return [
        (name, id, document) for name in store.collections() for id, document in store[name].items()
    ]


def _carry_out(store: Store, rows: Rows) -> None:
    with store.transaction(actor="another process") as tx:
        for collection, id, document in rows:
            if document is None:
                tx[collection].pop(id, None)
            else:
                tx[collection][id] = document


def main() -> None:
    path, store = None, None
    for line in sys.stdin:
        request = json.loads(line)
        if request["path"] != path:
            if store is not None:
                store.close()
            path = request["path"]
            store = filestore.open(path, create=False)
        assert store is not None
        before = _everything(store)
        _carry_out(store, request["writes"])
        print(json.dumps([before, _everything(store)]), flush=True)
    if store is not None:
        store.close()


if __name__ == "__main__":
    main()
