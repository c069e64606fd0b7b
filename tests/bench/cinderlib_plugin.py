"""The plugin in real cinderlib against cinderlib's own ``db`` plugin on an SQLite file.

::

    python -m tests.bench.cinderlib_plugin [VOLUMES] [--data FOLDER]

Needs the extra ``cinderlib``.  Each plugin works in a process of its own, on the same disk,
with as many volumes (7,000 unless told).  The floor is what making Cinder's objects costs
whoever stores them: by Cinder's own constructor from values at hand.  Exit status 1 when a
promise was missed.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
TARGETS = {"set_volume": 8, "get_volumes(volume_id)": 30, "get_volumes()": 20}
VOLUMES = 7000


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.cinderlib_plugin",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("volumes", type=int, nargs="?", default=VOLUMES, metavar="VOLUMES")
    parser.add_argument("--data", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args()
    if find_spec("cinderlib") is None:
        parser.error("needs cinderlib: run it where the extra cinderlib is installed")
    options.data.mkdir(parents=True, exist_ok=True)
    return compare(options.data, options.volumes)


def compare(data: Path, volumes: int) -> int:
    missed = False
    with tempfile.TemporaryDirectory(prefix="filestore-bench-", dir=data) as folder:
        configurations: dict[str, dict[str, Any]] = {
            "db": {"storage": "db", "connection": f"sqlite:///{folder}/cinder.sqlite"},
            "filestore": {"storage": "filestore", "path": f"{folder}/json"},
            "filestore, yaml": {"storage": "filestore", "path": f"{folder}/yaml", "codec": "yaml"},
        }
        measured = {
            name: run(configuration, volumes) for name, configuration in configurations.items()
        }
    print(f"\n{volumes} volumes; medians, in microseconds")
    print(f"{'':26}" + "".join(f"{name:>18}" for name in measured) + f"{'ratio':>10}{'target':>8}")
    for what in measured["db"]:
        times = [figures[what] for figures in measured.values()]
        line = f"{what:26}" + "".join(f"{each * 1e6:18,.1f}" for each in times)
        if what in TARGETS:
            ratio = times[0] / times[1]
            line += f"{ratio:9.1f}×{TARGETS[what]:7}×{'' if ratio >= TARGETS[what] else '  missed'}"
            missed |= ratio < TARGETS[what]
        print(line)
    return int(missed)


def run(configuration: dict[str, Any], volumes: int) -> dict[str, float]:
    """Measure in a process of its own, since cinderlib is set up once in a process."""
    orders = json.dumps({"configuration": configuration, "volumes": volumes})
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.cinderlib_plugin", "--child"],
        input=orders,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def child() -> None:
    """Measure one plugin; the figures go to standard output as JSON."""
    warnings.simplefilter("ignore")
    import cinderlib as cl
    from cinderlib.tests.unit import utils

    from filestore.integrations.cinderlib import FilestorePersistence

    orders = json.load(sys.stdin)
    configuration = orders["configuration"]
    if configuration["storage"] == "filestore":  # also where the package is not installed
        configuration["storage"] = FilestorePersistence
    cl.setup(persistence_config=configuration)
    persistence = cl.Backend.persistence
    backend = utils.FakeBackend(volume_backend_name="lvm")

    def make(number: int) -> Any:
        return cl.Volume(
            backend,
            size=1 + number % 50,
            name=f"volume-{number}",
            metadata={"team": "billing", "number": str(number)},
            provider_location=f"192.0.2.10:3260,1 iqn.2010-10.org.openstack:volume-{number} 1",
        )

    volumes = [make(number) for number in range(orders["volumes"])]
    create = [timed(partial(persistence.set_volume, volume)) for volume in volumes]
    victims = itertools.cycle(volumes)

    def update() -> None:
        volume = next(victims)
        volume._ovo.display_description = f"changed at {time.perf_counter_ns()}"
        persistence.set_volume(volume)

    ids = itertools.cycle([volume.id for volume in volumes])
    values = {name: getattr(volumes[0]._ovo, name) for name in stored(volumes[0]._ovo)}
    ovo_class = type(volumes[0]._ovo)

    def build() -> Any:
        ovo = ovo_class(cl.objects.CONTEXT, **values)
        ovo.obj_reset_changes()
        return cl.Volume(None, __ovo=ovo)

    gc.collect()
    listing = timed(persistence.get_volumes)
    if listing < 5:  # what takes longer needs no median
        listing = median(persistence.get_volumes, 3)
    figures = {
        "set_volume, new": statistics.median(create),
        "set_volume": median(update, 500),
        "get_volumes(volume_id)": median(lambda: persistence.get_volumes(next(ids)), 500),
        "get_volumes()": listing,
        "get_volumes(), a volume": listing / len(volumes),
        "Cinder's object alone": median(build, 2000),
    }
    print(json.dumps(figures))


def stored(ovo: Any) -> list[str]:
    """The fields that hold no other resource."""
    from oslo_versionedobjects import fields

    return [
        name
        for name, field in ovo.fields.items()
        if not isinstance(field, fields.ObjectField) and ovo.obj_attr_is_set(name)
    ]


def timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def median(call: Callable[[], object], times: int) -> float:
    call()
    return statistics.median(timed(call) for _ in range(times))


if __name__ == "__main__":
    if sys.argv[1:] == ["--child"]:
        child()
    else:
        sys.exit(main())
