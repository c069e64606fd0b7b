"""What reading driver private data costs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import filestore
from filestore.private_data import DriverPrivateData, StoreStorageDriver
from tests.bench.documents import volume_id
from tests.bench.runner import Case, Row, measure, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENTITIES = 100
INNER = ENTITIES  # calls a sample: the clock itself takes a part of one

DETAILS = {
    "export_location": "192.0.2.10:/shares/share-4fcf2247",
    "fake_share_name": "share_4fcf2247_7812_48cf_a1e2_ab09e0045d9d",
    "pool": "fast",
    "vserver": "os_2f1c0a",
    "qos_policy_group": "qos_share_4fcf2247",
    "provider_location": "/vol/share_4fcf2247",
}


@contextmanager
def warm(folder: Path, key: str | None) -> Iterator[Callable[[int], object]]:
    """Gets of details, as a share driver makes them, that the handle has seen."""
    with filestore.open(folder / "state", durability="off") as store:
        data = DriverPrivateData(StoreStorageDriver(store, "node1@alpha"))
        ids = [volume_id(index) for index in range(ENTITIES)]
        with store.transaction():
            for id in ids:
                data.update(id, DETAILS)

        def get(_: int) -> None:
            for id in ids:
                data.get(id, key)

        get(0)
        yield get


def run(data: Path, rounds: int) -> list[Row]:
    samples = measure(
        [
            Case("one value", lambda folder: warm(folder, "pool"), count=30),
            Case("all details", lambda folder: warm(folder, None), count=30),
        ],
        rounds,
        data,
    )
    rows = []
    for name, sample in samples.items():
        sample.medians[:] = [value / INNER for value in sample.medians]
        rows.append(
            Row(
                f"private data, cached get of {name}",
                spread(sample.medians),
                "",
                "",
                "< 10 us",
                sample.median < 10e-6,
            )
        )
    return rows
