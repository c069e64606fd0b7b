"""Documents in JSON files: two spaces a level, keys sorted, one field a line."""

from __future__ import annotations

import json
from typing import Any, Final

from filestore.codec.canonical_form import as_canonical, canonical, pretty
from filestore.codec.limits import check_encoded, check_raw, text_of
from filestore.errors import Corrupt
from filestore.importing import importing


class JsonCodec:
    """See :class:`filestore.codec.Codec`."""

    name: Final = "json"
    suffix: Final = ".json"

    def encode(self, data: bytes) -> bytes:
        return check_encoded(pretty(data))

    def parse(self, raw: bytes) -> bytes:
        check_raw(raw)
        data = as_canonical(raw)
        return _read_strictly(raw) if data is None else data


JSON: Final = JsonCodec()


def _read_strictly(raw: bytes) -> bytes:
    """Read what is not laid out as we would; find what orjson passes over in silence.

    orjson keeps the last of duplicate keys, and makes floats of too large integers.
    """
    text = text_of(raw)
    try:
        return canonical(json.loads(text, object_pairs_hook=_object))
    except (ValueError, RecursionError) as error:
        with importing(ours=True):  # most never meet such a file
            from filestore.codec.json_faults import find_fault

        fault = find_fault(text)
        if fault is None:  # pragma: no cover - it knows whatever json and canonical refuse
            raise Corrupt(f"the file is no JSON document: {error}") from error
        raise Corrupt(fault.message, line=fault.line) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result
