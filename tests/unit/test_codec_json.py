"""Documents in JSON files."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestore.codec import MAX_BYTES, MAX_DEPTH, canonical, codec_named, decode
from filestore.codec.json_faults import find_fault
from filestore.errors import Corrupt, InvalidDocument
from tests.values import AWKWARD, documents, exactly, nested

JSON = codec_named("json")


@given(documents)
@example(AWKWARD)
@example({})
def test_what_was_written_is_read_back(document: dict[str, Any]) -> None:
    data = canonical(document)
    assert JSON.parse(JSON.encode(data)) == data


@given(documents)
@example(AWKWARD)
def test_a_file_is_laid_out_as_the_standard_library_does(document: dict[str, Any]) -> None:
    raw = JSON.encode(canonical(document))
    assert raw.endswith(b"}\n")
    again = json.dumps(json.loads(raw), indent=2, sort_keys=True, ensure_ascii=False)
    assert [_layout(line) for line in again.split("\n")] == [
        _layout(line) for line in raw.decode().removesuffix("\n").split("\n")
    ]


def _layout(line: str) -> tuple[int, str]:
    """Everything but the numbers, of which floats are written differently."""
    return len(line) - len(line.lstrip(" ")), re.sub(r"[-+]?[0-9][-+.e0-9]*", "0", line)


def test_a_file_has_one_field_a_line() -> None:
    data = canonical({"b": [1, {"c": None}], "a": {}, "é": "x\ny", "f": [1e16]})
    assert JSON.encode(data).decode() == (
        '{\n  "a": {},\n  "b": [\n    1,\n    {\n      "c": null\n    }\n  ],\n'
        '  "f": [\n    1e+16\n  ],\n  "é": "x\\ny"\n}\n'
    )


@given(documents, st.integers(0, 3), st.booleans(), st.booleans())
@example(AWKWARD, 0, True, True)
def test_a_file_laid_out_by_others_means_the_same(
    document: dict[str, Any], indent: int, ascii_only: bool, crlf: bool
) -> None:
    text = json.dumps(document, indent=indent or None, ensure_ascii=ascii_only)
    raw = (text.replace("\n", "\r\n") if crlf else text).encode()
    assert JSON.parse(raw) == canonical(document)


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ('{"a":-0}', {"a": 0}),
        ('{"a":-0.0}', {"a": -0.0}),
        ('{"a":1E2}', {"a": 100.0}),
        ('{"a":18446744073709551615}', {"a": 2**64 - 1}),
        ('{"a":"\\u00e9\\/\\ud83d\\ude00"}', {"a": "é/😀"}),
        ('\n\t{"a"\r\n: [ ] }\n\n', {"a": []}),
        ('{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}', {"a": {"a": {"a": 1}}, "b": [{"a": 1}] * 2}),
        ('{"a":"<<<<<<< HEAD"}', {"a": "<<<<<<< HEAD"}),
        ('{"a":1e-400}', {"a": 0.0}),
    ],
)
def test_there_are_several_ways_to_write_a_value(text: str, document: dict[str, Any]) -> None:
    assert exactly(decode(JSON.parse(text.encode()))) == exactly(document)


DEEP = '{"a":' + "[" * 200 + "]" * 200 + "}"
FAULTS = [
    (b"", "the file is empty", 1),
    (b" \n\t\n", "the file is empty", 1),
    (b"\0\0\0", "a value was expected here", 1),
    (b"\xef\xbb\xbf{}", "byte order mark", 1),
    (b"\xff\xfe{\0}\0", "byte order mark", 1),
    (b'{\n"a": "\xff"}', "byte 8 is not valid UTF-8", 2),
    (b'{\n"a": "\xed\xa0\x80"}', "not valid UTF-8", 2),
    (b'{"a":1,\n"b":2,\n"a":3}', 'the key "a" stands twice', 3),
    (b'{"b":{"a":1,\n"\\u0061":1}}', "stands twice", 2),
    (b'{"a":1,\n"a":1}', "stands twice", 2),
    (b'{\n"a": NaN}', "NaN is no JSON number", 2),
    (b'{\n"a": -Infinity}', "-Infinity is no JSON number", 2),
    (b'{"a":\n18446744073709551616}', "not between", 2),
    (b'{"a":\n-9223372036854775809}', "not between", 2),
    (b'{"a":' + b"9" * 10_000 + b"}", "not between", 1),
    (b'{"a":\n1e400}', "too large for a float", 2),
    (b'{"a":\n"\\ud800"}', "lone surrogate", 2),
    (b'{"a":"\\\\",\n"b":"\\udc00\\ud800"}', "lone surrogate", 2),
    (b'{"\\ud800":1}', "lone surrogate", 1),
    (DEEP.encode(), "inside more than 100 containers", 1),
    (b"[" * 100_000, "a document is an object", 1),
    (b'{"a":' * 100_000, "inside more than 100 containers", 1),
    (b"[]", "a document is an object", 1),
    (b"\n[{}]", "a document is an object", 2),
    (b'"a"', "a document is an object", 1),
    (b"null", "a document is an object", 1),
    (b"1", "a document is an object", 1),
    (b"{", "the object that begins in line 1 is not closed", 1),
    (b'{"a":{},\n"b":[1,\n', "the list that begins in line 2 is not closed", 3),
    (b'{\n"a": "b', "no closing quote", 2),
    (b'{"a": "b\nc"}', "no closing quote", 1),
    (b'{"a": "\\x"}', "a wrong escape", 1),
    (b'{"a":1,\n}', "the comma before } must go", 1),
    (b'{"a":[1,]}', "the comma before ] must go", 1),
    (b'{"a":1\n"b":2}', "a comma or } was expected here", 2),
    (b'{"a":[1 2]}', "a comma or ] was expected here, not 2", 1),
    (b'{"a":[1}', "a comma or ] was expected here, not }", 1),
    (b'{"a":]}', "a value was expected here, not ]", 1),
    (b'{"a":[}', "a value was expected here, not }", 1),
    (b'{"a" 1}', "a colon was expected after the key, not 1", 1),
    (b'{"a"', "a colon was expected", 1),
    (b"{a: 1}", "a key or } was expected here, not a", 1),
    (b"{1: 1}", "a key in double quotes was expected here, not 1", 1),
    (b"{'a': 1}", "a key or } was expected here, not '", 1),
    (b'{"a": True}', "not True", 1),
    (b'{"a": 01}', "not 01", 1),
    (b'{"a": .5}', "not .5", 1),
    (b'{"a": 1.}', "not 1.", 1),
    (b'{"a": +1}', "not", 1),
    (b'{"a": 1, // x\n"b": 2}', "JSON has no comments", 1),
    (b'{"a": 1}\n{"a": 1}', "something after the end", 2),
    (b'{"a": 1},', "something after the end", 1),
    (b'{"a": ' + b"x" * 10_000 + b"}", "x\\.\\.\\.", 1),
    (b'{\n<<<<<<< HEAD\n"a":1\n=======\n"a":2\n>>>>>>> b\n}', "unresolved merge conflict", 2),
    (b'{\n"a":1\n||||||| base\n}', "unresolved merge conflict", 3),
    (b"{}" + b" " * MAX_BYTES, "at most 16,777,216", 1),
]


@pytest.mark.parametrize(
    ("raw", "message", "line"), FAULTS, ids=[ascii(raw[:40]) for raw, _, _ in FAULTS]
)
def test_a_fault_is_told_with_its_line(raw: bytes, message: str, line: int) -> None:
    with pytest.raises(Corrupt, match=message.replace("[", "\\[")) as caught:
        JSON.parse(raw)
    assert caught.value.line == line
    assert len(str(caught.value)) < 300


@given(documents, st.data())
def test_whatever_is_read_can_be_written(document: dict[str, Any], data: st.DataObject) -> None:
    raw = JSON.encode(canonical(document))
    start = data.draw(st.integers(0, len(raw)))
    length = data.draw(st.integers(0, 5))
    put = data.draw(
        st.sampled_from([b"", b",", b"}", b'"', b"1", b"\\", b"e", b"\xff", b"[", b" "])
    )
    damaged = raw[:start] + put + raw[start + length :]
    try:
        read = JSON.parse(damaged)
    except Corrupt:
        return
    assert canonical(decode(read)) == read
    assert decode(read) == json.loads(damaged)


@given(st.text('{}[]",:\\u1e-. \nantrueflsd\0', max_size=30))
def test_every_text_is_read_or_has_a_fault(text: str) -> None:
    fault = find_fault(text)
    if fault is None:
        JSON.parse(text.encode())
    else:
        with pytest.raises(Corrupt) as caught:
            JSON.parse(text.encode())
        assert text.isspace() or not text or caught.value.line == fault.line


@given(documents)
@example(AWKWARD)
def test_a_document_has_no_fault(document: dict[str, Any]) -> None:
    assert find_fault(json.dumps(document)) is None


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("innermost", ["1", "{}", "[]"])
def test_a_file_may_be_as_deep_as_a_document(innermost: str, lists: bool) -> None:
    for depth in (MAX_DEPTH, MAX_DEPTH + 1):
        data = json.dumps(nested(depth, json.loads(innermost), lists=lists)).encode()
        for raw in (data, JSON.encode(data)):
            if depth == MAX_DEPTH:
                assert JSON.parse(raw) == canonical(json.loads(data))
            else:
                with pytest.raises(Corrupt, match="inside more than 100 containers"):
                    JSON.parse(raw)


def test_a_file_that_would_be_too_large_to_read_is_not_made() -> None:
    data = canonical({"a": [1] * 2_500_000})
    with pytest.raises(InvalidDocument, match="the document's file would have 17,500,016"):
        JSON.encode(data)


def test_a_codec_has_a_name_and_a_suffix() -> None:
    assert (JSON.name, JSON.suffix) == ("json", ".json")
    assert codec_named("yaml").suffix == ".yaml"


def test_an_unknown_codec_is_an_error_of_values() -> None:
    with pytest.raises(ValueError, match="choose json or yaml"):
        codec_named("xml")
