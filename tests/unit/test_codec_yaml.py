"""Documents in YAML files: what one reader reads, all do."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel import yaml as ruamel

from filestore.codec import MAX_BYTES, MAX_DEPTH, canonical, codec_named, decode
from filestore.codec.yaml_scalars import Unclear, read_plain, write_text
from filestore.errors import Corrupt, InvalidDocument
from tests.values import AWKWARD, AWKWARD_TEXTS, documents, exactly, nested, texts

YAML = codec_named("yaml")


def by_yaml_1_2(raw: bytes) -> Any:
    reader = ruamel.YAML(typ="safe", pure=True)
    reader.version = "1.2"
    return reader.load(io.BytesIO(raw))


@pytest.fixture(params=["libyaml", "pure"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    loader = yaml.CSafeLoader if request.param == "libyaml" else yaml.SafeLoader
    monkeypatch.setattr("filestore.codec.yaml._Loader", loader)
    return str(request.param)


@given(documents)
@example(AWKWARD)
@example({})
def test_what_was_written_is_read_back_by_every_reader(document: dict[str, Any]) -> None:
    data = canonical(document)
    raw = YAML.encode(data)
    assert YAML.parse(raw) == data
    expected = exactly(document)
    assert exactly(yaml.load(raw, yaml.CSafeLoader)) == expected
    assert exactly(yaml.load(raw, yaml.SafeLoader)) == expected
    assert exactly(by_yaml_1_2(raw)) == expected


def test_the_reader_of_pure_python_reads_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filestore.codec.yaml._Loader", yaml.SafeLoader)

    @given(documents)
    @example(AWKWARD)
    def check(document: dict[str, Any]) -> None:
        data = canonical(document)
        assert YAML.parse(YAML.encode(data)) == data

    check()


@given(documents)
@example(AWKWARD)
def test_every_field_and_every_item_has_a_line(document: dict[str, Any]) -> None:
    def lines(value: Any) -> int:
        # A key longer than readers look for its colon has a line of its own.
        if isinstance(value, dict) and value:
            return sum(
                lines(inner)
                + (isinstance(inner, dict | list) and bool(inner))
                + (len(write_text(key)) > 512 and not (isinstance(inner, dict | list) and inner))
                + (len(write_text(key)) > 512 and isinstance(inner, dict | list) and bool(inner))
                for key, inner in value.items()
            )
        return sum(map(lines, value)) if isinstance(value, list) and value else 1

    raw = YAML.encode(canonical(document)).decode()
    assert raw.endswith("\n")
    assert len(raw.split("\n")) - 1 == lines(document)


def test_a_file_looks_like_this() -> None:
    document = {
        "id": "4fcf2247-7812-48cf-a1e2-ab09e0045d9d",
        "size": 108,
        "host": "node1@lvm#lvm",
        "created_at": "2026-01-31T12:00:00Z",
        "bootable": True,
        "text": "two words",
        "group_id": None,
        "metadata": {"no": "yes", "a": {"b": [1, 1.5, 1e16, -0.0, []]}, "empty": {}},
        "items": [{"a": 1, "b": [2]}, [[], [3, "x"]], "a\nb"],
        "k" * 600: {"a": [1]},
        "é": "\x85",
    }
    assert YAML.encode(canonical(document)).decode() == (
        "bootable: true\n"
        'created_at: "2026-01-31T12:00:00Z"\n'
        "group_id: null\n"
        'host: "node1@lvm#lvm"\n'
        "id: 4fcf2247-7812-48cf-a1e2-ab09e0045d9d\n"
        "items:\n"
        "  - a: 1\n"
        "    b:\n"
        "      - 2\n"
        "  - - []\n"
        "    - - 3\n"
        "      - x\n"
        '  - "a\\nb"\n'
        f"? {'k' * 600}\n"
        ":\n"
        "  a:\n"
        "    - 1\n"
        "metadata:\n"
        "  a:\n"
        "    b:\n"
        "      - 1\n"
        "      - 1.5\n"
        "      - 1.0e+16\n"
        "      - -0.0\n"
        "      - []\n"
        "  empty: {}\n"
        '  "no": "yes"\n'
        "size: 108\n"
        "text: two words\n"
        '"é": "\\u0085"\n'
    )


def test_an_empty_document_is_a_line() -> None:
    assert YAML.encode(b"{}") == b"{}\n"


@given(texts)
def test_a_text_is_one_line_of_printable_characters(text: str) -> None:
    written = write_text(text)
    assert len(written.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", written)
    assert written[0] != "!"


@given(st.sampled_from(AWKWARD_TEXTS) | st.text("0123456789+-._:eExXobTZyYnN~=<", max_size=10))
def test_what_is_read_unquoted_all_readers_read_so(text: str) -> None:
    raw = f"a: {text}\n".encode()
    try:
        value = decode(YAML.parse(raw))["a"]
    except Corrupt:
        return
    assert exactly(yaml.load(raw, yaml.CSafeLoader)["a"]) == exactly(value)
    if "\t" not in text:  # which ruamel refuses after a value, where white space may be
        assert exactly(by_yaml_1_2(raw)["a"]) == exactly(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("true", True),
        ("FALSE", False),
        ("0", 0),
        ("-0", 0),
        ("+12", 12),
        ("18446744073709551615", 2**64 - 1),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("-1.", -1.0),
        (".5", 0.5),
        ("1.0e+3", 1000.0),
        ("-0.0", -0.0),
        ("1.2.3", "1.2.3"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("-", "-"),
        ("tRue", "tRue"),
        ("4fcf2247-7812-48cf-a1e2-ab09e0045d9d", "4fcf2247-7812-48cf-a1e2-ab09e0045d9d"),
    ],
)
def test_a_clear_scalar_is_read(text: str, value: Any) -> None:
    assert exactly(read_plain(text)) == exactly(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yes", "`yes` is true in YAML 1.1 and text in 1.2: write true, false or quote it"),
        ("N", "`N` is false in YAML 1.1 and text in 1.2: write true, false or quote it"),
        ("Off", "is false in YAML 1.1"),
        ("1e3", "is text in YAML 1.1 and a number in 1.2: write it with a point"),
        ("1.5E3", "is text in YAML 1.1 and a number in 1.2"),
        ("0o7", "is text in YAML 1.1 and an octal number in 1.2"),
        ("012", "is an octal number in YAML 1.1"),
        ("00", "is an octal number in YAML 1.1"),
        ("-08", "is text in YAML 1.1 and a decimal number in 1.2"),
        ("0b11", "is a binary number in YAML 1.1"),
        ("-0x1f", "is a hexadecimal number in YAML 1.1 and text in 1.2"),
        ("1_000", "is a number in YAML 1.1 and text in 1.2"),
        ("1_0.5", "is a number in YAML 1.1 and text in 1.2"),
        ("0_E0", "is a number in YAML 1.1 and text in 1.2"),
        ("-.5", "is text to some readers"),
        ("12:30:45", "is a number with base 60 in YAML 1.1"),
        ("1:30.5", "is a number with base 60 in YAML 1.1"),
        ("2026-01-31", "is a date in YAML 1.1 and text in 1.2: quote it"),
        ("2026-1-1 1:02:03.5 +01:00", "is a date"),
        ("2026-01-31T12:00:00Z", "is a date"),
        ("=", "has a meaning of its own"),
        ("<<", "has a meaning of its own"),
        (".inf", "is no number of JSON"),
        ("-.INF", "is no number of JSON"),
        (".NaN", "is no number of JSON"),
        ("1.0e+400", "is too large for a float"),
        ("18446744073709551616", "is not between"),
        ("-9223372036854775809", "is not between"),
        ("9" * 5000, "is not between"),
        ("0x" + "f" * 17, "is not between"),
    ],
)
def test_an_unclear_scalar_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(Unclear, match=re.escape(message)):
        read_plain(text)
    with pytest.raises(Corrupt, match=re.escape(message)) as caught:
        YAML.parse(f"# a comment\nb: 1\na: {text}\n".encode())
    assert caught.value.line == 3
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("# a comment\n\na: 1 # another\n", {"a": 1}),
        ("---\na: 1\n...\n", {"a": 1}),
        ("{a: 1, 'b': [2, \"3\"]}", {"a": 1, "b": [2, "3"]}),
        ('{"a":{"b":[1,null,true]}}', {"a": {"b": [1, None, True]}}),
        ("a: |\n  x\n  y\nb: >-\n  x\n  y\n", {"a": "x\ny\n", "b": "x y"}),
        ("a:\n- 1\n- - 2\n", {"a": [1, [2]]}),
        ("a: x\n  y\n", {"a": "x y"}),
        ("a:\r\n  b: 1\r\n", {"a": {"b": 1}}),
        ("? a\n: 1\n", {"a": 1}),
        ("a: 'yes'\nb: \"1e3\"\n'no': '~'\n", {"a": "yes", "b": "1e3", "no": "~"}),
        ("a:\nb:\n", {"a": None, "b": None}),
        ("a: '<<<<<<< HEAD'\n", {"a": "<<<<<<< HEAD"}),
        ("'<<': {a: 1}\n", {"<<": {"a": 1}}),
        ("a: {a: {a: 1}}\nb: [{a: 1}, {a: 1}]\n", {"a": {"a": {"a": 1}}, "b": [{"a": 1}] * 2}),
    ],
)
def test_a_file_edited_by_hand_is_read(reader: str, text: str, document: dict[str, Any]) -> None:
    assert decode(YAML.parse(text.encode())) == document


FAULTS = [
    (b"", "the file is empty", 1),
    (b"\n \n", "the file is empty", 1),
    (b"# nothing\n", "only comments", 1),
    (b"- a\n", "a document is a mapping", 1),
    (b"---\ntext\n", "a document is a mapping", 2),
    (b"a: 1\n---\nb: 1\n", "a second document", 2),
    (b"%YAML 1.1\n---\na: 1\n", "directives are not supported", None),
    (b"%TAG ! tag:x,2000:\n---\na: 1\n", "directives are not supported", None),
    (b"b: 1\na: &x 1\n", "anchors (&x) are not supported", 2),
    (b"b: 1\n&x a: 1\n", "anchors (&x) are not supported", 2),
    (b"b: &x [1]\n", "anchors (&x) are not supported", 1),
    (b"&x\nb: 1\n", "anchors (&x) are not supported", 1),
    (b"a: &x [y]\nb: [*x, *x]\n", "anchors", 1),
    (b"a: 1\nb: *x\n", "aliases (*x) are not supported", 2),
    (b"a: 1\n*x : 1\n", "aliases (*x) are not supported", 2),
    (b"a: 1\n<<: {b: 1}\n", "merge keys (<<) are not supported", 2),
    (b"a: 1\nb: !!binary aGk=\n", "tags (tag:yaml.org,2002:binary) are not", 2),
    (b"a: !!python/object/apply:os.system [id]\n", "tags (tag:yaml.org,2002:python/object", 1),
    (b"a: !!timestamp 2026-01-31\n", "tags", 1),
    (b"a: !!str 1\n", "tags", 1),
    (b"a: ! 1\n", "tags (!)", 1),
    (b"a: !!set {b}\n", "tags", 1),
    (b"!!map\na: 1\n", "tags", 1),
    (b"!!str a: 1\n", "tags", 1),
    (b"a: 1\nb: 2\n'a': 3\n", "the key 'a' stands twice", 3),
    (b"a: {b: 1,\n  b: 1}\n", "the key 'b' stands twice", 2),
    (b"a: 1\n1: 2\n", "a key is text: quote it", 2),
    (b"~: 1\n", "a key is text: quote it", 1),
    (b": 1\n", "the file is no YAML", 1),
    (b"true: 1\n", "a key is text: quote it", 1),
    (b"? [a]\n: 1\n", "a key is text: quote it", 1),
    (b"? {a: 1}\n: 1\n", "a key is text: quote it", 1),
    (b"{a: 1}: 1\n", "a key is text: quote it", 1),
    (b"a: 1\non: 2\n", "`on` is true in YAML 1.1", 2),
    (b"a:\n\tb: 1\n", "a line begins with a tab: indent with spaces", 2),
    (b"a:\n  b: 1\n\tc: 2\n", "a line begins with a tab: indent with spaces", 3),
    (b'a: "x\n', "the file is no YAML", None),
    (b"a: [1\n", "the file is no YAML", None),
    (b"b: 1\n a: 2\n", "the file is no YAML", 2),
    (b"a: @x\n", "the file is no YAML", 1),
    (b"a: b: c\n", "the file is no YAML", 1),
    (b"a\n", "a document is a mapping", 1),
    (b"a: 1\nb\n", "the file is no YAML", None),
    (b"\xef\xbb\xbfa: 1\n", "byte order mark", 1),
    ("a: 1\n".encode("utf-16"), "byte order mark", 1),
    (b"a: 1\nb: \xff\n", "byte 8 is not valid UTF-8", 2),
    (b"a: 1\nb: \x00\n", "the file is no YAML", 2),
    (b"a: 1\nb: \x1b\n", "the file is no YAML", 2),
    ("a: 1\nb: \u2028\n".encode(), 'write it as an escape in double quotes, "\\u2028"', 2),
    ("a: 1\nb: \ufeff\n".encode(), 'write it as an escape in double quotes, "\\ufeff"', 2),
    (b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> x\n", "unresolved merge conflict", 2),
    (b"a:\n<<<<<<< HEAD\n=======\n- 1\n>>>>>>> x\n", "unresolved merge conflict", 2),
    (b'a: "x\n\n<<<<<<< HEAD\ny\n=======\n>>>>>>> x\n"\n', "unresolved merge conflict", 3),
    (b"a: " + b"[" * 102 + b"]" * 102 + b"\n", "inside more than 100 containers", 1),
    (b"a: " + b"[" * 50_000, "inside more than 100 containers", 1),
    (b"{a: " * 50_000, "inside more than 100 containers", 1),
    (b"a: \n" + b" - " * 50_000, "inside more than 100 containers", 2),
    (b"[" * 50_000, "a document is a mapping", 1),
    (b"a: 1\n" * 4_000_000, "at most 16,777,216", 1),
]


@pytest.mark.parametrize(
    ("raw", "message", "line"), FAULTS, ids=[ascii(raw[:40]) for raw, _, _ in FAULTS]
)
def test_a_fault_is_told_with_its_line(
    reader: str, raw: bytes, message: str, line: int | None
) -> None:
    with pytest.raises(Corrupt, match=re.escape(message)) as caught:
        YAML.parse(raw)
    if line is not None:  # where the readers of pyyaml agree
        assert caught.value.line == line
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("escape", ["\\ud800", "\\udfff", "\\ud83d\\ude00"])
def test_an_escaped_surrogate_is_refused(reader: str, escape: str) -> None:
    with pytest.raises(Corrupt, match=r"invalid Unicode character escape|lone surrogate"):
        YAML.parse(f'a: "{escape}"\n'.encode())


def test_aliases_do_not_multiply() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 100))]
    with pytest.raises(Corrupt, match="anchors"):
        YAML.parse("\n".join(lines).encode())


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("innermost", ["1", "{}", "[]"])
def test_a_file_may_be_as_deep_as_a_document(reader: str, innermost: str, lists: bool) -> None:
    for depth in (MAX_DEPTH, MAX_DEPTH + 1):
        data = json.dumps(nested(depth, json.loads(innermost), lists=lists)).encode()
        for raw in (data, YAML.encode(data)):
            if depth == MAX_DEPTH:
                assert YAML.parse(raw) == canonical(json.loads(data))
            else:
                with pytest.raises(Corrupt, match="inside more than 100 containers"):
                    YAML.parse(raw)


def test_a_file_that_would_be_too_large_to_read_is_not_made() -> None:
    data = canonical({"a": ["\x7f"] * (MAX_BYTES // 10)})
    with pytest.raises(InvalidDocument, match="the document's file would have"):
        YAML.encode(data)


@given(
    st.text(" \n\t:-?#,[]{}&*!|>%@`'\"\\abyn01.~<=_\x85\u2028é", max_size=30)
    | st.tuples(documents, st.integers(0, 2000), texts).map(
        lambda drawn: (
            (raw := YAML.encode(canonical(drawn[0])).decode())[: drawn[1] % (len(raw) + 1)]
            + drawn[2]
            + raw[drawn[1] % (len(raw) + 1) :]
        )
    )
)
def test_every_text_is_a_document_or_corrupt(text: str) -> None:
    try:
        data = YAML.parse(text.encode())
    except Corrupt:
        return
    assert canonical(decode(data)) == data
    assert exactly(yaml.load(text, yaml.CSafeLoader)) == exactly(decode(data))


def test_pyyaml_is_not_loaded_for_json() -> None:
    program = (
        "import sys; from filestore.codec import codec_named\n"
        "codec_named('json').parse(b'{\"a\": 1}')\n"
        "assert 'yaml' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
