"""Files whose content is no document, or not what it seems."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import Corrupt
from tests.hostile.conftest import assert_usable, tree

if TYPE_CHECKING:
    from pathlib import Path

CONFLICT = '{\n<<<<<<< HEAD\n  "a": 1\n=======\n  "a": 2\n>>>>>>> other\n}\n'

JSON = {
    "empty": (b"", 1),
    "blank": (b" \n\n", 1),
    "cut short": (b'{\n  "a": 1,\n  "b": ', 3),
    "duplicate keys": (b'{\n  "a": 1,\n  "a": 2\n}\n', 3),
    "duplicate keys, escaped": (b'{\n  "a": 1,\n  "\\u0061": 2\n}\n', 3),
    "nested duplicate keys": (b'{"x": {\n  "a": 1,\n  "a": 2\n}}\n', 3),
    "NaN": (b'{\n  "a": NaN\n}\n', 2),
    "infinity": (b'{\n  "a": Infinity\n}\n', 2),
    "beyond a float": (b'{\n  "a": 1e999\n}\n', None),
    "byte order mark": (b'\xef\xbb\xbf{"a": 1}\n', 1),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), 1),
    "invalid UTF-8": (b'{\n  "a": "\xff\xfe"\n}\n', 2),
    "overlong UTF-8": (b'{\n  "a": "\xc0\xaf"\n}\n', 2),
    "surrogate": (b'{\n  "a": "\xed\xa0\x80"\n}\n', 2),
    "escaped surrogate": (b'{\n  "a": "\\ud800"\n}\n', 2),
    "huge integer": (b'{\n  "a": 123456789012345678901234567890\n}\n', 2),
    "too many digits": (b'{"a": ' + b"9" * 5000 + b"}", 1),
    "too deep": (b'{"a":' * 101 + b"1" + b"}" * 101, 1),
    "abysmally deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 1),
    "deep lists": (b'{"a":' + b"[" * 1_000_000, None),
    "list": (b"[1, 2]\n", None),
    "text": (b'"text"\n', None),
    "number": (b"7\n", None),
    "null": (b"null\n", None),
    "conflict": (CONFLICT.encode(), 2),
    "trailing": (b'{"a": 1}\n{"b": 2}\n', 2),
    "comment": (b'{"a": 1} // no\n', 1),
    "trailing comma": (b'{\n  "a": 1,\n}\n', 2),
    "NUL": (b'{"a": "\0"}', 1),
    "zeros": (bytes(100), 1),
    "binary": (bytes(range(256)) * 10, None),
    "another codec's": (b"a: 1\nb: 2\n", 1),
    "single quotes": (b"{'a': 1}\n", 1),
}

BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%b]\n" % (name, name, b", ".join([b"*%c" % (name - 1)] * 9))
    for name in range(ord("b"), ord("m"))
)

YAML = {
    "empty": (b"", 1),
    "only a comment": (b"# nothing\n", None),
    "python object": (b"a: 1\nb: !!python/object/apply:os.system ['touch /tmp/owned']\n", 2),
    "python name": (b"a: !!python/name:os.system\n", 1),
    "custom tag": (b"a: !mine 1\n", 1),
    "binary": (b"a: !!binary aGVsbG8=\n", 1),
    "timestamp tag": (b"a: !!timestamp 2001-01-01\n", 1),
    "alias bomb": (BOMB, None),
    "alias": (b"a: &x 1\nb: *x\n", None),
    "alias of itself": (b"a: &x [*x]\n", None),
    "merge key": (b"a: &x {b: 1}\nc:\n  <<: *x\n", None),
    "duplicate keys": (b"a: 1\nb: 2\na: 3\n", 3),
    "nested duplicate keys": (b"x:\n  a: 1\n  a: 2\n", 3),
    "tab": (b"a:\n\tb: 1\n", 2),
    "NaN": (b"a: .nan\n", None),
    "infinity": (b"a: .inf\n", None),
    "byte order mark": (b"\xef\xbb\xbfa: 1\n", 1),
    "invalid UTF-8": (b"a: 1\nb: \xff\n", 2),
    "control character": (b"a: \x07\n", 1),
    "huge integer": (b"a: 123456789012345678901234567890\n", None),
    "too deep": (b"a: " + b"[" * 101 + b"]" * 101 + b"\n", None),
    "abysmally deep": (b"a: " + b"[" * 100_000, None),
    "abysmally deep blocks": (b"- " * 50_000 + b"a\n", None),
    "list": (b"- 1\n- 2\n", None),
    "text": (b"just text\n", None),
    "two documents": (b"a: 1\n---\nb: 2\n", None),
    "key that is no text": (b"1: a\n", 1),
    "key that is a list": (b"? [a]\n: 1\n", 1),
    "null key": (b"~: 1\n", 1),
    "conflict": (b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n", 2),
    "conflict in a text": (b"a: |\n  x\n<<<<<<< HEAD\n  y\n=======\n>>>>>>> other\n", 3),
    "unclosed quote": (b'a: "text\nb: 1\n', None),
    "directive": (b"%YAML 9.9\n---\na: 1\n", None),
    "zeros": (bytes(100), None),
}

CASES = [
    pytest.param(codec, content, line, id=f"{codec}, {name}")
    for codec, cases in (("json", JSON), ("yaml", YAML))
    for name, (content, line) in cases.items()
]


@pytest.mark.parametrize(("codec", "content", "line"), CASES)
def test_a_content_that_is_no_document_is_corrupt_named_and_kept(
    tmp_path: Path, codec: str, content: bytes, line: int | None
) -> None:
    path = tmp_path / "state"
    with filestore.open(path, codec=codec) as store:
        store["c"]["good"] = {"value": 1}
        store["c"]["bad"] = {"value": 1}
    at = path / f"c/bad.{codec}"
    at.write_bytes(content)
    before = tree(path)
    with filestore.open(path) as store:
        for attempt in (
            lambda: store["c"]["bad"],
            lambda: store["c"].read("bad"),
            lambda: store["c"].put("bad", {"value": 2}),
            lambda: store["c"].put("bad", {"value": 1}),
            lambda: store["c"].patch("bad", {"value": 2}),
            lambda: store["c"].__delitem__("bad"),
        ):
            with pytest.raises(Corrupt) as caught:
                attempt()
            error = caught.value
            assert error.path == str(at)
            assert error.key == ("c", "bad")
            assert str(at) in str(error)
            assert len(str(error)) < len(str(at)) + 300
            assert line is None or error.line == line
        assert "bad" in store["c"].keys()  # its name is known  # noqa: SIM118  # the names, without reading
        (problem,) = store.check()
        assert problem.path == str(at)
        assert problem.kind == "corrupt"
        assert [left.path for left in store.repair()] == [str(at)]
        assert store.revision == 2
    assert tree(path) == before
    assert_usable(path)
    # Mended by hand, it is a document again.
    at.write_bytes((path / f"c/good.{codec}").read_bytes())
    with filestore.open(path) as store:
        assert store["c"]["bad"] == {"value": 1}
        assert store.check() == []


@pytest.mark.parametrize(("codec", "content", "line"), CASES)
def test_a_document_spoilt_under_an_open_handle_is_corrupt_and_kept(
    tmp_path: Path, codec: str, content: bytes, line: int | None
) -> None:
    path = tmp_path / "state"
    with filestore.open(path, codec=codec) as store:
        store["c"]["good"] = {"value": 1}
        store["c"]["bad"] = {"value": 1}
        assert store["c"]["bad"] == {"value": 1}
        (path / f"c/bad.{codec}").write_bytes(content)
        before = tree(path)
        for attempt in (
            lambda: store["c"].put("bad", {"value": 2}),
            lambda: store["c"].__delitem__("bad"),
            lambda: store["c"]["bad"],
        ):
            with pytest.raises(Corrupt, match="bad"):
                attempt()
        assert tree(path) == before


VALUES = {
    "NaN": float("nan"),
    "infinity": float("inf"),
    "huge integer": 1 << 64,
    "bytes": b"bytes",
    "set": {1},
    "surrogate": "\ud800",
    "object": object(),
    "key that is no text": {1: 2},
    "surrogate in a key": {"\ud800": 1},
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("codec", ["json", "yaml"])
def test_a_value_that_would_not_come_back_is_refused(
    tmp_path: Path, codec: str, value: object
) -> None:
    path = tmp_path / "state"
    with filestore.open(path, codec=codec) as store:
        store["c"]["good"] = {"value": 1}
        before = tree(path)
        with pytest.raises(filestore.InvalidDocument):
            store["c"]["good"] = {"value": value}
        with pytest.raises(filestore.InvalidDocument):
            store["d"]["new"] = {"deep": [{"value": value}]}
        assert store.revision == 1
    assert tree(path) == before
    assert_usable(path)


def test_a_document_nested_without_end_is_refused(path: Path) -> None:
    endless: dict[str, object] = {}
    endless["self"] = endless
    before = tree(path)
    with filestore.open(path) as store:
        with pytest.raises(filestore.InvalidDocument):
            store["c"]["good"] = endless
        with pytest.raises(filestore.InvalidDocument, match="bytes"):
            store["c"]["good"] = {"value": "x" * (17 << 20)}
    assert tree(path) == before
    assert_usable(path)
