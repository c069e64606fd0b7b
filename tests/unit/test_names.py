"""N1: names of files are injective on every file system, and stay in their folder."""

from __future__ import annotations

import re
import unicodedata
import uuid
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from filestore.engine.names import (
    MAX_COLLECTION_COMPONENT,
    MAX_COLLECTION_DEPTH,
    MAX_COMPONENT,
    MAX_ID,
    decode_collection,
    decode_id,
    encode_collection,
    encode_id,
)
from filestore.errors import InvalidKey
from tests.values import AWKWARD_TEXTS

DEVICES = [
    name
    for base in ("con", "prn", "aux", "nul", "com0", "com9", "lpt1", "COM1", "Con", "nuL")
    for name in (base, f"{base}.", f"{base}.txt", f"{base}x", f"{base}.a.b", f"x{base}")
]

names = (
    st.text(min_size=1, max_size=30)
    | st.sampled_from([text for text in AWKWARD_TEXTS if text and len(text.encode()) <= MAX_ID])
    | st.sampled_from(DEVICES)
    | st.text("aAbB.-_@%~/=+0", min_size=1, max_size=12)
    | st.text("cConNmM1.~", min_size=1, max_size=6)
    | st.text("aA.%é-/con", min_size=180, max_size=420).filter(lambda t: len(t.encode()) <= MAX_ID)
    | st.text("0123456789abcdef-", min_size=190, max_size=410)
)
# Another name that is easily taken for the first.
transformations: list[Any] = [
    str.lower,
    str.upper,
    str.casefold,
    str.swapcase,
    str.strip,
    *(
        lambda t, form=form: unicodedata.normalize(form, t)
        for form in ("NFC", "NFD", "NFKC", "NFKD")
    ),
    lambda t: t.rstrip(". "),
    lambda t: t.replace("/", "%2f"),
    lambda t: f"{t}~1",
    lambda t: t[:-1] + "%",
    lambda t: "/".join(encode_id(t)),
]


def folded(components: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """How file systems may see the name."""
    return tuple(
        tuple(unicodedata.normalize(form, part.casefold()).casefold() for part in components)
        for form in ("NFC", "NFD", "NFKC", "NFKD")
    )


def is_key(id: str) -> bool:
    return 0 < len(id.encode()) <= MAX_ID


@given(names)
@example("a" * 199)
@example("a" * 200)
@example("A" * 198)
@example("é" * 512)
@example("AB" * 512)
@example("a" * 198 + "con")
@example("a" * 199 + "con")
@example("a" * 199 + ".")
@example("a" * 199 + "-")
@example("a" * 199 + "..")
@example("." * 1024)
def test_an_id_is_found_again_from_its_name(id: str) -> None:
    components = encode_id(id)
    assert decode_id(components) == id
    assert decode_id(list(components)) == id


@given(names)
def test_a_name_is_safe_on_every_file_system(id: str) -> None:
    components = encode_id(id)
    for part in components:
        assert len(part) <= MAX_COMPONENT
        assert re.fullmatch(r"[A-Za-z0-9_.@+=~%-]+", part)
        assert part[0] not in ".-"
        assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", part)
        assert "/" not in part
        assert "\0" not in part
    assert all(part.endswith("%") for part in components[:-1])
    assert re.search(r"%$|%.$", components[-1]) is None


@given(names, names | st.sampled_from(transformations))
def test_different_ids_have_different_names_wherever_names_are_folded(one: str, other: Any) -> None:
    other = other if isinstance(other, str) else other(one)
    assume(other != one and is_key(other))
    assert not set(folded(encode_id(one))) & set(folded(encode_id(other)))


@given(names, names)
def test_a_name_is_never_inside_the_folders_of_another(one: str, other: str) -> None:
    longer = encode_id(one)
    assert all(longer[:depth] != encode_id(other) for depth in range(1, len(longer)))


@given(
    st.lists(st.text("aA%~2fFeEcCoOnN.-1", max_size=8), max_size=3)
    | names.map(lambda id: [part.swapcase() for part in encode_id(id)])
    | names.map(lambda id: ["".join(encode_id(id))])
    | names.map(lambda id: [f"{part}%" for part in encode_id(id)])
    | names.map(lambda id: [*encode_id(id)[:-1], encode_id(id)[-1] + "~1"])
)
@example([])
@example([""])
@example(["a", "b"])
@example(["%", "a"])
@example(["a%", "b"])
@example(["%61"])
@example(["%2F"])
@example(["%ff"])
@example(["a~1"])
@example(["A~01"])
@example(["A~0"])
@example(["A~"])
@example(["A"])
@example(["A~3"])
@example(["A~1~1"])
@example([".a"])
@example(["con"])
@example(["é"])
@example(["a b"])
@example(["%4"])
@example(["~1"])
def test_only_the_names_that_are_made_have_an_id(components: list[str]) -> None:
    id = decode_id(components)
    assert id is None or encode_id(id) == tuple(components)


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("4fcf2247-7812-48cf-a1e2-ab09e0045d9d", "4fcf2247-7812-48cf-a1e2-ab09e0045d9d"),
        ("volume_1@lvm+a=b.c", "volume_1@lvm+a=b.c"),
        ("a/b", "a%2fb"),
        ("../../etc/passwd", "%2e.%2f..%2fetc%2fpasswd"),
        (".", "%2e"),
        ("..", "%2e."),
        (".hidden", "%2ehidden"),
        ("-rf", "%2drf"),
        ("a b", "a%20b"),
        ("~", "%7e"),
        ("%2e", "%252e"),
        ("\0", "%00"),
        ("é", "%c3%a9"),
        ("e\u0301", "e%cc%81"),
        ("Lab", "Lab~1"),
        ("lAb", "lAb~2"),
        ("LAB-É", "LAB-%c3%89~7"),
        ("CON", "%43ON~3"),
        ("con", "%63on"),
        ("con.fig", "%63on.fig"),
        ("console", "console"),
        ("com1", "%63om1"),
        ("com10", "com10"),
        ("#x.json#", "%23x.json%23"),
        ("x.json", "x.json"),
    ],
)
def test_the_name_is_this(id: str, name: str) -> None:
    assert encode_id(id) == (name,)


def test_a_uuid_is_its_own_name() -> None:
    for number in range(0, 2**128, 2**128 // 97):
        id = str(uuid.UUID(int=number))
        assert encode_id(id) == (id,)


def test_a_long_id_is_cut_into_folders_and_no_escape_is() -> None:
    assert encode_id("x" * 199) == ("x" * 199,)
    assert encode_id("x" * 200) == ("x" * 199 + "%", "x")
    assert encode_id("x" * 198 + "é") == ("x" * 198 + "%", "%c3%a9")
    assert encode_id("x" * 199 + "..") == ("x" * 199 + "%", "%2e.")
    assert encode_id("x" * 199 + "nul") == ("x" * 199 + "%", "%6eul")
    assert encode_id("X" + "x" * 197) == ("X" + "x" * 197 + "~%", "1")
    assert len(encode_id("é" * 512)) == 16


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("", "can't be empty"),
        ("x" * 1025, "is 1025 bytes long"),
        ("é" * 513, "is 1026 bytes long"),
        ("a" * 4096, "is 4096 bytes long"),
        ("a\ud800", "lone surrogate at character 1"),
        (1, "text, not int"),
        (None, "text, not NoneType"),
        (b"a", "text, not bytes"),
    ],
)
def test_what_is_no_id_is_refused(id: Any, message: str) -> None:
    with pytest.raises(InvalidKey, match=message) as caught:
        encode_id(id)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 150


components = names.map(lambda name: name.replace("/", "")).filter(
    lambda name: 0 < len(name.encode()) <= 40
)
collections = st.lists(components, min_size=1, max_size=MAX_COLLECTION_DEPTH).map("/".join)


@given(collections)
def test_a_collection_is_found_again_from_its_folders(name: str) -> None:
    folders = encode_collection(name)
    assert decode_collection(folders) == name
    assert decode_collection(list(folders)) == name
    assert len(folders) == name.count("/") + 1
    for folder in folders:
        assert re.fullmatch(r"[A-Za-z0-9_.@+=~%-]+", folder)
        assert folder[0] not in ".-@"
        assert folder[-1] not in ".%"
        assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", folder)
        assert not folder.lower().endswith((".json", ".yaml", ".yml"))
        assert len(folder) <= MAX_COLLECTION_COMPONENT


@given(components, components | st.sampled_from(transformations))
def test_different_collections_have_different_folders(one: str, other: Any) -> None:
    other = other if isinstance(other, str) else other(one)
    assume(other != one and other and "/" not in other and len(other.encode()) <= 60)
    assert not set(folded(encode_collection(one))) & set(folded(encode_collection(other)))


@given(names, components)
def test_the_folders_of_ids_and_of_collections_differ(id: str, component: str) -> None:
    assert encode_collection(component)[0] not in encode_id(id)[:-1]
    assert encode_collection(component)[0] != encode_id(id)[-1] + ".json"
    assert encode_collection(component)[0] != encode_id(id)[-1] + ".yaml"


@given(st.lists(st.text("aA%~2fF@.json-1", max_size=8), max_size=3))
@example([])
@example([""])
@example(["@3f"])
@example(["a."])
@example(["a.json"])
@example(["a%2fb"])
@example(["a", ".filestore"])
@example(["a%", "b"])
@example(["x" * 256])
@example(["%20" * 86])
@example(["a"] * 9)
def test_only_the_folders_that_are_made_have_a_collection(folders: list[str]) -> None:
    name = decode_collection(folders)
    assert name is None or encode_collection(name) == tuple(folders)


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("volumes", ("volumes",)),
        ("driver_data/lvm1", ("driver_data", "lvm1")),
        ("key-values", ("key-values",)),
        ("@3f", ("%403f",)),
        ("a@b", ("a@b",)),
        ("..", ("%2e%2e",)),
        ("../x", ("%2e%2e", "x")),
        (".filestore", ("%2efilestore",)),
        ("x.json", ("x%2ejson",)),
        ("X.YAML", ("X%2eYAML~1f",)),
        ("x.yml.", ("x.yml%2e",)),
        ("x.jsonl", ("x.jsonl",)),
        ("Lab/nul", ("Lab~1", "%6eul")),
    ],
)
def test_the_folders_are_these(name: str, folders: tuple[str, ...]) -> None:
    assert encode_collection(name) == folders
    assert decode_collection(folders) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "can't be empty"),
        ("/", "empty component"),
        ("a//b", "empty component"),
        ("/a", "empty component"),
        ("a/", "empty component"),
        ("a/" * 8 + "a", "has 9 components"),
        ("x" * 256, "256 bytes"),
        ("a/" + "é" * 43, "258 bytes"),
        ("\udfff", "lone surrogate"),
        (None, "text, not NoneType"),
    ],
)
def test_what_is_no_collection_is_refused(name: Any, message: str) -> None:
    with pytest.raises(InvalidKey, match=message):
        encode_collection(name)


def test_a_collection_may_be_this_deep_and_a_component_this_long() -> None:
    assert encode_collection("a/" * 7 + "a") == ("a",) * 8
    assert encode_collection("x" * 255) == ("x" * 255,)
    assert decode_collection(("x" * 255,)) == "x" * 255
