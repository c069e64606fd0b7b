"""Stores that the parts of one process share."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from filestore import Closed
from filestore.integrations.shared import SharedStores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stores() -> Iterator[SharedStores]:
    stores = SharedStores()
    yield stores
    stores.close()


def test_one_path_is_one_handle(
    stores: SharedStores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = stores.open(str(tmp_path / "state"))
    assert stores.open("state") is store
    assert stores.open("./x/../state") is store
    assert stores.open("other") is not store
    assert stores.open("memory:") is stores.open("memory:")
    assert stores.open("memory:") is not store


def test_threads_that_open_at_once_get_the_same_handle(
    stores: SharedStores, tmp_path: Path
) -> None:
    gate = threading.Barrier(8)
    found: list[Store] = []

    def look() -> None:
        gate.wait()
        found.append(stores.open(str(tmp_path / "state")))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    found[0]["c"]["a"] = {}


def test_closing_closes_all_and_new_handles_can_be_had(
    stores: SharedStores, tmp_path: Path
) -> None:
    store = stores.open(str(tmp_path / "state"))
    store["c"]["a"] = {"n": 1}
    stores.close()
    stores.close()
    with pytest.raises(Closed):
        store["c"]["a"]
    assert stores.open(str(tmp_path / "state"))["c"]["a"] == {"n": 1}


def test_they_are_closed_when_the_process_ends(tmp_path: Path) -> None:
    program = (
        "from filestore.integrations.shared import SharedStores\n"
        f"store = SharedStores().open({str(tmp_path / 'state')!r})\n"
        "import atexit\n"
        "store['c']['a'] = {}\n"
        # Those registered first are called last: this one looks after the stores were closed.
    )
    before = "import atexit\natexit.register(lambda: print(store))\n"
    done = subprocess.run(
        [sys.executable, "-c", before + program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("(closed)>\n")
