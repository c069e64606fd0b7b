"""Canonical bytes: F1 for every document that is accepted, a precise refusal for the rest."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import re
import struct
import sys
import uuid
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestore.codec import MAX_BYTES, MAX_DEPTH, canonical, canonical_again, decode
from filestore.codec.etag import etag_of
from filestore.codec.refusal import refuse
from filestore.errors import FilestoreError, InvalidDocument
from tests.values import AWKWARD, documents, exactly, nested


class Colour(str, enum.Enum):  # noqa: UP042 - not a StrEnum: what older code has
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Flavour(enum.Enum):
    SWEET = "sweet"


class Name(str):
    __slots__ = ()


class Size(int):
    pass


class Weight(float):
    pass


class Fields(dict):  # type: ignore[type-arg]
    pass


class Items(list):  # type: ignore[type-arg]
    pass


@dataclass
class Point:
    x: int


class Quarrelsome(enum.Enum):
    A = 1

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = None  # type: ignore[assignment]


Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - the untyped kind is what users have

NO_JSON: list[Any] = [
    float("nan"),
    -float("nan"),
    float("inf"),
    float("-inf"),
    2**64,
    -(2**63) - 1,
    10**400,
    (),
    (1, 2),
    Pair(1, 2),
    {1},
    frozenset(),
    b"a",
    bytearray(b"a"),
    memoryview(b"a"),
    1j,
    ...,
    StopIteration,
    object(),
    print,
    int,
    dt.datetime(2026, 1, 31, tzinfo=dt.UTC),
    dt.date(2026, 1, 31),
    dt.time(1, 2),
    uuid.UUID(int=1),
    decimal.Decimal("1.5"),
    Point(1),
    Colour.RED,
    Number.ONE,
    Flavour.SWEET,
    Quarrelsome.A,
    Name("a"),
    Size(1),
    Weight(1.5),
    Fields(a=1),
    Items([1]),
    OrderedDict(a=1),
    defaultdict(int),
    orjson.Fragment(b"1"),
    "\ud800",
    "a\udfffb",
    "\ud83d\ude00",
]


@given(documents)
@example(AWKWARD)
@example({})
def test_a_document_is_read_back_exactly_as_it_was_written(document: dict[str, Any]) -> None:
    data = canonical(document)
    assert exactly(decode(data)) == exactly(document)
    assert exactly(json.loads(data)) == exactly(document)
    assert canonical(decode(data)) == data


@given(documents, st.randoms(use_true_random=False))
def test_bytes_do_not_depend_on_the_order_of_keys(document: dict[str, Any], random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(key, shuffled(inner)) for key, inner in value.items()]
            random.shuffle(items)
            return dict(items)
        return [shuffled(inner) for inner in value] if isinstance(value, list) else value

    assert canonical(shuffled(document)) == canonical(document)


@given(documents, documents)
def test_different_documents_have_different_bytes(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (exactly(one) == exactly(other))


def named(value: object) -> str:
    """The same name in every process: without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", ascii(value))


@pytest.mark.parametrize("value", NO_JSON, ids=named)
@pytest.mark.parametrize(
    "around", [lambda v: {"a": v}, lambda v: {"a": [0, {"b c": v}]}], ids=["field", "inside"]
)
def test_what_json_cannot_carry_is_refused_with_its_place(value: Any, around: Any) -> None:
    with pytest.raises(InvalidDocument) as caught:
        canonical(around(value))
    assert str(caught.value).startswith(("a: ", 'a[1]["b c"]: '))


@pytest.mark.parametrize("value", NO_JSON, ids=named)
def test_it_is_refused_too_among_bytes_that_look_suspicious(value: Any) -> None:
    with pytest.raises(InvalidDocument):
        canonical({"a": "(" * 40, "b": -1, "c": 127, "d": 255, "e": value})


@pytest.mark.parametrize("length", [0, 1, 40, 255, 256, 70_000])
def test_no_tuple_passes_whatever_its_length_and_whoever_else_has_it(length: int) -> None:
    shared = tuple(range(length))
    for document in ({"a": tuple([1] * length)}, {"a": shared}, {"a": [shared, shared]}):
        with pytest.raises(InvalidDocument, match="make it a list"):
            canonical(document)


@given(
    st.integers(0, 2**64 - 1)
    .map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits | 0x7FF0000000000000))[0])
    .filter(lambda number: not abs(number) < float("inf"))
)
def test_no_float_that_is_not_finite_passes(number: float) -> None:
    with pytest.raises(InvalidDocument, match=r"^a: "):
        canonical({"a": number})


@given(documents)
@example(AWKWARD)
def test_the_slow_look_finds_nothing_in_a_document(document: dict[str, Any]) -> None:
    assert refuse(document) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    "key", [1, 1.5, True, None, (), b"a", Name("a"), Colour.RED, uuid.UUID(int=1), "\ud800"]
)
def test_a_key_that_is_no_plain_text_is_refused(key: Any) -> None:
    with pytest.raises(InvalidDocument, match=r"^a\[0\]: the key "):
        canonical({"a": [{key: 1}]})


@pytest.mark.parametrize("value", [None, [], [{}], "a", 1, (), Fields(a=1), OrderedDict()])
def test_only_a_dict_is_a_document(value: Any) -> None:
    with pytest.raises(InvalidDocument, match="a document is a dict, not a value of type"):
        canonical(value)


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("innermost", [1, {}, []])
def test_values_may_be_inside_so_many_containers_and_no_more(innermost: Any, lists: bool) -> None:
    document = nested(MAX_DEPTH, innermost, lists=lists)
    assert decode(canonical(document)) == document
    for depth in (MAX_DEPTH + 1, MAX_DEPTH + 2, 250, 300, 1100, 100_000):
        with pytest.raises(InvalidDocument, match="inside more than 100 containers"):
            canonical(nested(depth, innermost, lists=lists))


def test_a_wide_document_is_not_taken_for_a_deep_one() -> None:
    document = {"a": [{"b": [[]]} for _ in range(1000)], "b": "[{" * 1000}
    assert decode(canonical(document)) == document


@pytest.mark.parametrize("width", [1, 2, 50])
def test_a_value_that_contains_itself_is_refused(width: int) -> None:
    fields: dict[str, Any] = {}
    items: list[Any] = []
    fields.update({str(index): [fields, items] for index in range(width)})
    items.extend([items, fields] * width)
    for document in (fields, {"a": items}):
        with pytest.raises(InvalidDocument, match="contain itself"):
            canonical(document)


def test_a_shallow_stack_is_no_reason_to_refuse() -> None:
    document = nested(MAX_DEPTH - 1, ["(" * 40])  # the bracket makes it compare, which recurses
    data = canonical(document)
    sys_limit = sys.getrecursionlimit()
    frame: Any = sys._getframe()
    used = 0
    while frame is not None:
        used += 1
        frame = frame.f_back
    try:
        sys.setrecursionlimit(used + 40)
        assert canonical(document) == data
    finally:
        sys.setrecursionlimit(sys_limit)


def test_a_document_has_a_largest_size() -> None:
    room = MAX_BYTES - len(canonical({"a": ""}))
    assert len(canonical({"a": "x" * room})) == MAX_BYTES
    with pytest.raises(InvalidDocument, match="16,777,217 bytes"):
        canonical({"a": "x" * (room + 1)})


def test_the_refused_are_value_errors_of_ours() -> None:
    with pytest.raises(ValueError, match=r"^a: ") as caught:
        canonical({"a": float("nan")})
    assert isinstance(caught.value, FilestoreError)


@pytest.mark.parametrize(
    ("document", "data"),
    [
        ({"b": 1, "a": 2}, b'{"a":2,"b":1}'),
        ({"a": [], "b": {}, "c": [[]]}, b'{"a":[],"b":{},"c":[[]]}'),
        ({"a": [0.0, -0.0, 0, 1.0]}, b'{"a":[0.0,-0.0,0,1.0]}'),
        ({"a": [1e15, 1e16, 1e22]}, b'{"a":[1000000000000000.0,1e+16,1e+22]}'),
        ({"a": [1e-4, 1e-5, 1.5e-5, 1e-6]}, b'{"a":[0.0001,0.00001,0.000015,1e-6]}'),
        ({"a": '"\\/\b\f\n\r\t\0\x1f'}, b'{"a":"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f"}'),
        ({"a": "\x7f\u2028é😀"}, '{"a":"\x7f\u2028é😀"}'.encode()),
        # by code point, where UTF-16 would put the emoji before U+FFFF
        (
            {"😀": 1, "\uffff": 2, "é": 3, "z": 4, "Z": 5, "": 6},
            '{"":6,"Z":5,"z":4,"é":3,"\uffff":2,"😀":1}'.encode(),
        ),
    ],
)
def test_the_bytes_are_these(document: dict[str, Any], data: bytes) -> None:
    assert canonical(document) == data


def test_an_etag_is_a_hash_of_the_bytes() -> None:
    assert etag_of(b"{}") == "2afb9b83f9314e5d029766197f539792"
    assert len(etag_of(b"{}")) == 32
    assert etag_of(b'{"a":1}') != etag_of(b'{"a":1.0}')


def test_what_is_read_is_the_callers_own() -> None:
    data = canonical({"a": [1]})
    decode(data)["a"].append(2)
    assert decode(data) == {"a": [1]}


@given(documents)
def test_what_was_read_has_the_bytes_it_was_read_from(document: dict[str, Any]) -> None:
    data = canonical(document)
    assert canonical_again(decode(data)) == data


@pytest.mark.parametrize("value", [nested(MAX_DEPTH + 1), [1], None, "x", 7])
def test_what_was_read_may_be_no_document_all_the_same(value: Any) -> None:
    with pytest.raises(InvalidDocument):
        canonical_again(value)


def test_what_is_no_document_is_found_at_any_depth_and_beside_anything() -> None:
    plain: list[Any] = ["text", 1, True, None, {"a": [1, {"b": None}]}, []]
    for odd in ((1,), (), Flavour.SWEET, uuid.UUID(int=1), float("nan"), {1: 2}, b"", {1}):
        value: Any = odd
        for _ in range(8):
            with pytest.raises(InvalidDocument):
                canonical({"first": plain, "odd": value, "last": plain})
            value = {"inner": plain, "list": [value, 1]}
