"""What canonical bytes and files cost beside the libraries that make them.

`python -m tests.bench.codec`.  orjson and msgspec are measured side by side, when msgspec is
installed: it is the other library that would do.
"""

from __future__ import annotations

import platform
import statistics
import sys
from importlib.util import find_spec
from time import perf_counter
from typing import TYPE_CHECKING

import orjson
import yaml

from filestore.codec import canonical, codec_named, decode
from filestore.codec.etag import etag_of
from filestore.diff import diff
from filestore.engine.names import decode_id, encode_id
from tests.bench.documents import volume, volume_id
from tests.bench.runner import Row, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Pair = tuple[str, Callable[[], object], str, Callable[[], object], float | None]

BATCH = 20


def run(data: Path | None = None, rounds: int = 201) -> list[Row]:
    """Each pair in turn, a batch of calls a time; the best batch of many of each is kept.

    On a busy machine only the best says what the code costs: nothing here waits.
    """
    return [_row(*pair, rounds=rounds) for pair in _pairs()]


def _row(
    what: str,
    call: Callable[[], object],
    against: str,
    other: Callable[[], object],
    target: float | None,
    *,
    rounds: int,
) -> Row:
    times: list[float] = []
    others: list[float] = []
    for _ in range(rounds):
        times.append(_time(call))
        others.append(_time(other))
    best, best_other = min(times), min(others)
    ratio = best / best_other
    return Row(
        what,
        f"{best * 1e6:.2f} µs ({statistics.median(times) * 1e6:.2f})",
        f"{best_other * 1e6:.2f} µs ({statistics.median(others) * 1e6:.2f}) {against}",
        f"{ratio:.2f}",
        f"< {target}" if target else "",
        ratio < target if target else None,
    )


def _time(call: Callable[[], object]) -> float:
    begin = perf_counter()
    for _ in range(BATCH):
        call()
    return (perf_counter() - begin) / BATCH


def _pairs() -> list[Pair]:
    document = volume(1)
    changed = volume(1, generation=1)
    data = canonical(document)
    as_json, as_yaml = codec_named("json"), codec_named("yaml")
    json_file, yaml_file = as_json.encode(data), as_yaml.encode(data)
    id = volume_id(1)

    def dumps() -> bytes:
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)

    def loads() -> object:
        return orjson.loads(data)

    both = "orjson.dumps and loads"
    pairs: list[Pair] = [
        ("canonical", lambda: canonical(document), both, lambda: (dumps(), loads()), 1.85),
        ("decode", lambda: decode(data), "orjson.loads", loads, 1.1),
        ("etag_of", lambda: etag_of(data), "orjson.loads", loads, None),
        ("JSON encode", lambda: as_json.encode(data), both, lambda: (dumps(), loads()), None),
        ("JSON parse", lambda: as_json.parse(json_file), both, lambda: (dumps(), loads()), None),
        (
            "JSON parse, another layout",
            lambda: as_json.parse(data),
            both,
            lambda: (dumps(), loads()),
            None,
        ),
        (
            "YAML encode",
            lambda: as_yaml.encode(data),
            "yaml.dump, CSafeDumper",
            lambda: yaml.dump(document, Dumper=yaml.CSafeDumper),
            1.2,
        ),
        (
            "YAML parse",
            lambda: as_yaml.parse(yaml_file),
            "yaml.load, CSafeLoader",
            lambda: yaml.load(yaml_file, yaml.CSafeLoader),
            1.2,
        ),
        ("encode_id of a UUID", lambda: encode_id(id), "orjson.loads", loads, None),
        ("decode_id of a UUID", lambda: decode_id((id,)), "orjson.loads", loads, None),
        ("diff, a field", lambda: diff(document, changed), "orjson.loads", loads, None),
    ]
    if find_spec("msgspec") is not None:
        import msgspec

        encoder, decoder = msgspec.json.Encoder(order="sorted"), msgspec.json.Decoder()
        pairs += [
            ("orjson.dumps, sorted", dumps, "msgspec", lambda: encoder.encode(document), None),
            ("orjson.loads", loads, "msgspec", lambda: decoder.decode(data), None),
        ]
    return pairs


def main() -> int:
    rows = run()
    print(f"Python {platform.python_version()}, orjson {orjson.__version__}, ", end="")
    print(f"a document of {len(canonical(volume(1)))} bytes; best of many (median)\n")
    print("\n".join(table(rows)))
    return 1 if any(row.ok is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
