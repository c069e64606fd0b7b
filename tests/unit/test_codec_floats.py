"""One text for each float, also with an orjson that writes them otherwise."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestore.codec import canonical, codec_named
from filestore.codec import floats as subject
from tests.values import AWKWARD, AWKWARD_NUMBERS, documents

finite = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [number for number in AWKWARD_NUMBERS if isinstance(number, float)]
)

_tokens = re.compile(rb'("(?:[^"\\]|\\.)*")|(-?[0-9.]+)(e)\+?(-?[0-9]+)')


class OlderOrjson:
    """orjson as it wrote floats up to 3.12: without a plus in the exponent."""

    def __init__(self, zeros: bool) -> None:
        self.zeros = zeros  # as no orjson does: with an exponent of two digits

    def __getattr__(self, name: str) -> Any:
        return getattr(orjson, name)

    def dumps(self, value: object, option: int = 0) -> bytes:
        def rewritten(token: re.Match[bytes]) -> bytes:
            if token[1]:
                return token[1]
            return token[2] + b"E" + token[4].zfill(3) if self.zeros else token[2] + b"e" + token[4]

        return _tokens.sub(rewritten, orjson.dumps(value, option=option))


@pytest.fixture(params=[False, True], ids=["without plus", "with zeros"])
def older(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> OlderOrjson:
    orjson_then = OlderOrjson(request.param)
    monkeypatch.setattr("filestore.codec.canonical_form.orjson", orjson_then)
    monkeypatch.setattr(subject, "CONFORMS", False)
    return orjson_then


@given(finite)
def test_a_text_reads_back_as_the_float(number: float) -> None:
    text = subject.format_float(number)
    assert repr(float(text)) == repr(number)
    assert re.fullmatch(r"-?[0-9]+\.[0-9]+|-?[0-9](?:\.[0-9]+)?e[-+][1-9][0-9]*", text)


@given(finite)
def test_canonical_bytes_write_it_so(number: float) -> None:
    assert canonical({"a": number}) == f'{{"a":{subject.format_float(number)}}}'.encode()


@pytest.mark.parametrize("name", ["json", "yaml"])
def test_an_older_orjson_gives_the_same_bytes(
    older: OlderOrjson, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    codec = codec_named(name)
    assert older.dumps([1e16]) != b"[1e+16]"

    @given(documents)
    @example(AWKWARD)
    @example({"1e16": "-1e16", "a": [1e16, -1e22, 1e-7], "\\": '"1e16,1e16', 'b"1e16': 1e300})
    def check(document: dict[str, Any]) -> None:
        data = canonical(document)
        raw = codec.encode(data)
        assert codec.parse(raw) == data
        with monkeypatch.context() as now:
            now.setattr("filestore.codec.canonical_form.orjson", orjson)
            # The one that is installed may be an older one itself.
            assert data == subject.conform(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
            assert raw == codec.encode(data)

    check()


@given(documents)
@example(AWKWARD)
def test_what_conforms_is_not_changed(document: dict[str, Any]) -> None:
    data = canonical(document)
    assert subject.conform(data) == data
