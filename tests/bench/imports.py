"""What `import filestore` adds to Python's own start."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.runner import Row, spread

ROOT = Path(__file__).parents[2]


def start(code: str, environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment)
    return time.perf_counter() - begin


def run(data: Path, times: int = 40) -> list[Row]:
    """In turn with a bare start; the first of each only fills the caches.

    An installed package is byte-compiled, so this one is too, whatever the
    surroundings say, in a cache of its own.
    """
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(data / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    bare, imported = [], []
    for _ in range(times + 1):
        bare.append(start("pass", environment))
        imported.append(start("import filestore", environment))
    del bare[0], imported[0]
    beyond = [one - other for one, other in zip(imported, bare, strict=True)]
    middle = statistics.median(beyond)
    return [
        Row(
            "import filestore, beyond Python's start",
            spread(beyond),
            f"{spread(bare)} python -c pass",
            "",
            "< 40 ms",
            middle < 0.040,
        )
    ]
