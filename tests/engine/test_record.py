"""Lines of the journal: what is written is read, and what is not a line is seen to be none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestore.codec import canonical
from filestore.codec.etag import etag_of
from filestore.engine import record
from filestore.errors import InvalidKey
from filestore.model import Commit, Key, Op, Origin

STORE = "5d1f0a3c"


def commit(revision: int = 7, *ops: Op) -> Commit:
    return Commit(revision, 1700000000.25, "ana", 'a "message"\nof two lines', Origin.LOCAL, ops)


OPS = (
    Op(Key("volumes", "v1"), None, canonical({"size": 1})),
    Op(Key("volumes", "a/b"), canonical({"text": "é\n\u2028"}), canonical({})),
    Op(Key("driver_data/lvm", "x"), canonical({"deep": [{}]}), None),
)


def test_a_commit_is_one_line_and_reads_back() -> None:
    original = commit(7, *OPS)
    payload = record.commit_payload(original, record.etags(original), 6)
    assert b"\n" not in payload
    assert record.parse_commit(payload) == (original, 6)


@pytest.mark.parametrize("kept", [0, 10_000])
@pytest.mark.parametrize("size", [1, 10, 64, 10_000])
def test_a_line_that_is_made_piece_by_piece_is_the_same_line(
    size: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "_MOST_KEPT", kept)
    for original in (commit(7, *OPS), commit(7, *OPS[:1])):
        etags = record.etags(original)
        payload = record.commit_payload(original, etags, 6)
        assert isinstance(payload, bytes)
        with monkeypatch.context() as patch:
            patch.setattr(record, "_LONG", 0)
            long = record.commit_payload(original, etags, 6)
        assert isinstance(long, record.LongPayload)
        for each in (long, payload):
            line = record.LongLine(each, 5)
            chunks = list(line.chunks(size))
            assert b"".join(chunks) == record.line(payload, 5)
            assert line.size == len(record.line(payload, 5))
            assert all(len(chunk) >= size for chunk in chunks[:-1])
        assert list(record.keys_in(payload)) == [op.key for op in original.ops]


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ['{"collection":"c","id":"i","before":null', "]}", '"', "\\", ',"ops":[', '"},{"collection":']
)
DOCUMENTS = st.recursive(
    st.dictionaries(TEXTS | st.sampled_from(["collection", "id", "before"]), TEXTS, max_size=3),
    lambda inner: st.dictionaries(
        TEXTS | st.just("collection"), inner | st.lists(inner, max_size=2), max_size=3
    ),
    max_leaves=6,
)


def _bytes(document: dict[str, Any] | None) -> bytes | None:
    return None if document is None else canonical(document)


def pieces_of(payload: bytes, size: int) -> record.Long:
    """The object of a line as it is read in pieces."""
    return record.Long(
        payload[:100],
        lambda: (payload[at : at + size] for at in range(0, len(payload), size)),
    )


@given(
    st.lists(
        st.tuples(TEXTS.filter(bool), st.none() | DOCUMENTS, st.none() | DOCUMENTS), max_size=4
    ),
    TEXTS,
    st.sampled_from([1, 2, 7, 40, 10_000]),
)
def test_an_object_read_in_pieces_says_what_it_says_as_a_whole(
    ops: list[tuple[str, dict[str, Any] | None, dict[str, Any] | None]], message: str, size: int
) -> None:
    made = tuple(Op(Key("volumes", id), _bytes(was), _bytes(after)) for id, was, after in ops)
    original = Commit(7, 1.5, None, message, Origin.LOCAL, made)
    try:
        payload = record.commit_payload(original, record.etags(original), 6)
        whole = record.parse_commit(payload)
    except InvalidKey:
        return  # an id that is none
    assert isinstance(payload, bytes)
    long = pieces_of(payload, size)
    assert record.parse_commit(long) == whole
    assert list(record.keys_in(long)) == list(record.keys_in(payload)) == [op.key for op in made]
    assert record.revision_of(long) == 7
    assert not record.is_checkpoint(long)
    keys = {op.key for op in made[:1]}
    assert record.documents_after(long, keys) == record.documents_after(payload, keys)
    for each in (payload, long):
        told = record.outline(each)
        assert (told.revision, told.time, told.origin) == (7, 1.5, Origin.LOCAL)
        assert list(told.ops) == [
            (op.key, op.before is not None, None if op.after is None else etag_of(op.after))
            for op in made
        ]


@given(st.none() | DOCUMENTS, DOCUMENTS)
def test_the_only_document_of_a_commit_is_found_by_its_etag(
    was: dict[str, Any] | None, after: dict[str, Any]
) -> None:
    data = canonical(after)
    made = Commit(7, 1.5, None, None, Origin.LOCAL, (Op(Key("v", "v"), _bytes(was), data),))
    payload = record.commit_payload(made, record.etags(made), 6)
    assert isinstance(payload, bytes)
    assert record.only_document(payload, etag_of(data)) == data
    assert record.only_document(payload, etag_of(data + b" ")) is None


def test_a_document_with_such_fields_itself_is_found_or_not_but_never_another() -> None:
    for depth in range(8):
        after: dict[str, Any] = {}
        for _ in range(depth):
            after = {"a": 1, "document": after}
        data = canonical(after)
        made = Commit(7, 1.5, None, None, Origin.LOCAL, (Op(Key("v", "v"), data, data),))
        payload = record.commit_payload(made, record.etags(made), 6)
        assert isinstance(payload, bytes)
        assert record.only_document(payload, etag_of(data)) in ({data} if depth < 4 else {None})


@pytest.mark.parametrize(
    "payload",
    [
        b'{"revision":7,"synced":6}',
        b'{"revision":7,"ops":[{"id":"v"}]}',
        b'{"revision":7,"ops":[ {"collection":"c","id":"i","before":null}]}',
        b'{"revision":7,"ops":[{"collection":"c","id":"i","before":null}]',
        b'{"revision":7,"ops":[]',
    ],
)
@pytest.mark.parametrize("size", [1, 10, 1000])
def test_an_object_in_pieces_that_is_no_commit_of_ours_is_refused(
    payload: bytes, size: int
) -> None:
    with pytest.raises(ValueError, match="op"):
        list(record.parts_of(pieces_of(payload, size)))


@pytest.mark.parametrize("size", [30, 64, 10_000])
def test_a_long_line_is_found_by_its_checksum(size: int) -> None:
    payload = b'{"checkpoint":12}' + b" " * 200
    line = record.line(payload, 5)

    def found(raw: bytes) -> tuple[int, bytes] | None:
        return record.long_line(lambda: (raw[at : at + size] for at in range(0, len(raw), size)), 5)

    told = found(line + b"more")
    assert told is not None
    assert told[0] == len(line)
    assert payload.startswith(told[1])
    assert found(line[:-1]) is None
    assert found(line[:-2] + b"x\n") is None
    assert found(b"\0" * 300) is None
    assert found(b"") is None


def test_a_header_reads_back_and_seeds_its_lines() -> None:
    text, seed = record.header_line(3, 12, 9, STORE)
    assert record.parse_header(text + b"\0" * 100) == record.Header(3, 12, 9, STORE, seed)
    other_seed = record.header_line(4, 12, 9, STORE)[1]
    line = record.line(b'{"checkpoint":1}', seed)
    assert [one.payload for one in record.lines(line, seed, 0)] == [b'{"checkpoint":1}']
    assert [one.payload for one in record.lines(line, other_seed, 0)] == [None]


def test_every_cut_header_is_no_header() -> None:
    text, _ = record.header_line(3, 12, 9, STORE)
    for size in range(len(text)):
        assert record.parse_header(text[:size]) is None
        assert record.parse_header(text[:size] + b"\0" * 50) is None


def test_a_header_of_another_format_is_no_header() -> None:
    payload = b'{"journal":2,"segment":1,"first":1,"checkpoint":0,"store":"s"}'
    assert record.parse_header(record.line(payload, 0)) is None


@pytest.mark.parametrize("payload", [b"[]", b"{}", b"not json", b'{"journal":1}'])
def test_what_has_a_checksum_and_is_no_header_is_no_header(payload: bytes) -> None:
    assert record.parse_header(record.line(payload, 0)) is None


def test_zeros_behind_the_lines_are_no_line() -> None:
    line = record.line(b'{"checkpoint":1}', 5)
    assert len(list(record.lines(line + b"\0" * 4096, 5, 0))) == 1


def test_a_bad_stretch_is_one_line_of_nothing_and_the_good_ones_behind_it_are_found() -> None:
    one, two = record.line(b'{"checkpoint":1}', 5), record.line(b'{"checkpoint":2}', 5)
    raw = one + b"garbage\n1234567x {\n\0\0" + two + b"\0" * 10
    found = list(record.lines(raw, 5, 0))
    assert [line.payload for line in found] == [b'{"checkpoint":1}', None, b'{"checkpoint":2}']
    assert found[1].start == len(one)
    assert raw[found[2].start : found[2].end] == two


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_flipped_byte_is_noticed(at: int, flip: int) -> None:
    original = commit(7, *OPS)
    line = record.line(record.commit_payload(original, record.etags(original), 6), 5)
    at %= len(line)
    bad = bytearray(line)
    bad[at] ^= flip
    payloads = [one.payload for one in record.lines(bytes(bad), 5, 0)]
    # The checksum's letters have two cases that mean the same.
    assert payloads == [None] or bytes(bad[:8]).lower() == line[:8]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"revision":1}',
        b'{"revision":1,"synced":0,"time":1,"actor":null,"message":null,"origin":"who","ops":[]}',
        b'{"revision":1,"synced":0,"time":1,"actor":null,"message":null,"origin":"local","ops":5}',
        b'{"revision":1e99,"synced":0,"time":1,"actor":null,"message":null,"origin":"local","ops":[]}',
        b"[]",
    ],
)
def test_what_is_no_commit_raises_what_readers_expect(payload: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        record.parse_commit(payload)


@pytest.mark.parametrize(
    "name", [("..", ""), ("", "v"), ("a//b", "v"), ("v", "x" * 5000), (7, "v")]
)
def test_a_commit_of_a_key_that_names_no_document_is_none(name: tuple[object, str]) -> None:
    named = commit(7, OPS[0])
    fields = orjson.loads(record.commit_payload(named, record.etags(named), 6))
    fields["ops"] = [{"collection": name[0], "id": name[1], "document": {}}]
    with pytest.raises(InvalidKey):
        record.parse_commit(orjson.dumps(fields))


@pytest.mark.parametrize(
    "revision", [b"-1", b"1e30", b'"x"', b"null", b"true", b"9223372036854775808"]
)
def test_a_checkpoint_of_no_revision_is_none(revision: bytes) -> None:
    payload = b'{"checkpoint":%b}' % revision
    assert record.is_checkpoint(payload)
    with pytest.raises(ValueError, match="no revision"):
        record.checkpoint_revision(payload)
