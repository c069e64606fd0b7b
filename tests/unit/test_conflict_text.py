"""The text of a conflict: readable, exact, and with all three documents in it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from filestore import conflict_text
from filestore.codec import canonical, codec_named, decode
from filestore.errors import Corrupt
from filestore.merge import Side, merge
from tests.values import AWKWARD, documents, exactly, texts, values

if TYPE_CHECKING:
    from pathlib import Path

    from filestore.codec import Codec

JSON = codec_named("json")
YAML = codec_named("yaml")
codecs = st.sampled_from([JSON, YAML])


def test_the_marks_are_around_the_field_in_conflict() -> None:
    merged = merge(
        {"name": "db", "size": 10, "status": "available"},
        {"name": "db", "size": 20, "status": "available"},
        {"name": "db", "size": 30, "status": "in-use"},
    )
    assert conflict_text.write(merged, JSON, labels=("base", "HEAD", "other")).decode() == (
        "{\n"
        '  "name": "db",\n'
        "<<<<<<< HEAD\n"
        '  "size": 20,\n'
        "||||||| base\n"
        '  "size": 10,\n'
        "=======\n"
        '  "size": 30,\n'
        ">>>>>>> other\n"
        '  "status": "in-use"\n'
        "}\n"
    )


def test_the_marks_are_around_a_field_deep_inside() -> None:
    base = {"m": {"a": 1, "l": [{"id": "x", "k": 1}, {"id": "z", "k": 1}]}}
    ours = {"m": {"a": 1, "l": [{"id": "x", "k": 2}, {"id": "z", "k": 1}]}}
    theirs = {"m": {"a": 1, "l": [{"id": "x", "k": 3}, {"id": "z", "k": 1}]}}
    assert conflict_text.write(merge(base, ours, theirs), YAML).decode() == (
        "m:\n"
        "  a: 1\n"
        "  l:\n"
        "    - id: x\n"
        "<<<<<<< ours\n"
        "      k: 2\n"
        "||||||| base\n"
        "      k: 1\n"
        "=======\n"
        "      k: 3\n"
        ">>>>>>> theirs\n"
        "    - id: z\n"
        "      k: 1\n"
    )


def test_a_field_that_one_side_removed_takes_its_comma_along() -> None:
    merged = merge({"a": 1, "z": 1}, {"a": 1}, {"a": 1, "z": 2})
    assert conflict_text.write(merged, JSON).decode() == (
        "{\n"
        "<<<<<<< ours\n"
        '  "a": 1\n'
        "||||||| base\n"
        '  "a": 1,\n'
        '  "z": 1\n'
        "=======\n"
        '  "a": 1,\n'
        '  "z": 2\n'
        ">>>>>>> theirs\n"
        "}\n"
    )


def test_a_merge_without_conflict_is_the_document_s_file() -> None:
    merged = merge({"a": 1}, {"a": 2}, {"a": 1, "b": 1})
    assert conflict_text.write(merged, JSON) == JSON.encode(canonical({"a": 2, "b": 1}))


def test_a_label_can_t_break_the_text() -> None:
    merged = merge({"a": 1}, {"a": 2}, {"a": 3})
    text = conflict_text.write(merged, JSON, labels=("b", "x\n>>>>>>> y", "z\n"))
    assert conflict_text.read(text) is not None


@given(documents, st.data(), codecs)
@example({"keys": AWKWARD["keys"]}, None, JSON)
@example(AWKWARD, None, YAML)
def test_what_is_written_is_read_back_whole(base: Any, data: Any, codec: Codec) -> None:
    if data is None:
        ours, theirs = {**base, "zz": 1}, {**base, "zz": {"x" * 600: 1}}
    else:
        ours, theirs = (data.draw(changed(base)) for _ in range(2))
    merged = merge(base, ours, theirs)
    assume(merged.conflicts)
    back = conflict_text.read(conflict_text.write(merged, codec))
    assert back is not None
    for side, raw in zip(Side, (back.base, back.ours, back.theirs), strict=True):
        document = merged.take(side)
        expected = b"" if document is None else codec.encode(canonical(document))
        assert raw == expected
        if document is not None:
            assert exactly(decode(codec.parse(expected))) == exactly(document)


def changed(document: Any) -> st.SearchStrategy[Any]:
    """A few fields at the top and one level down are others."""

    @st.composite
    def draw_one(draw: Any) -> Any:
        result = dict(document)
        for key in draw(st.lists(st.sampled_from(sorted(result) or [""]), max_size=3)):
            inner = result.get(key)
            if isinstance(inner, dict) and inner and draw(st.booleans()):
                part = draw(st.sampled_from(sorted(inner)))
                result[key] = {**inner, part: draw(values)}
                if draw(st.booleans()):
                    del result[key][part]
            elif draw(st.booleans()):
                result[key] = draw(values)
            else:
                result.pop(key, None)
        if draw(st.booleans()):
            result[draw(texts)] = draw(values)
        return result

    return draw_one()


@given(documents, documents, documents, codecs)
def test_any_three_documents_survive(base: Any, ours: Any, theirs: Any, codec: Codec) -> None:
    merged = merge(base, ours, theirs)
    text = conflict_text.write(merged, codec)
    back = conflict_text.read(text)
    if not merged.conflicts:
        assert back is None
        return
    assert back is not None
    assert back.base is not None
    files = [decode(codec.parse(raw)) for raw in (back.base, back.ours, back.theirs)]
    assert [exactly(file) for file in files] == [exactly(merged.take(side)) for side in Side]


@given(documents, texts, codecs)
def test_the_store_takes_a_conflict_for_no_document(base: Any, key: str, codec: Codec) -> None:
    merged = merge(base, {**base, key: {"ours": []}}, {**base, key: [{"theirs": {}}]})
    assume(merged.conflicts)
    with pytest.raises(Corrupt, match="merge conflict"):
        codec.parse(conflict_text.write(merged, codec))


@pytest.mark.parametrize("style", ["--diff3", None])
def test_what_git_writes_is_read(style: str | None, tmp_path: Path) -> None:
    for name, size in (("base", 1), ("ours", 2), ("theirs", 3)):
        (tmp_path / name).write_bytes(JSON.encode(canonical({"size": size})))
    command = ["git", "merge-file", "-p", *([style] if style else []), "ours", "base", "theirs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    back = conflict_text.read(done.stdout)
    assert back is not None
    assert [decode(JSON.parse(raw)) for raw in (back.ours, back.theirs)] == [
        {"size": 2},
        {"size": 3},
    ]
    assert (back.base is None) is (style is None)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}\n",
        b"<<<<<<< a\n",
        b"<<<<<<< a\n=======\n",
        b"<<<<<<< a\n>>>>>>> b\n",
        b"<<<<<<< a\n<<<<<<< a\n=======\n>>>>>>> b\n",
        b"<<<<<<< a\n=======\n||||||| c\n>>>>>>> b\n",
        b"=======\n>>>>>>> b\n",
    ],
)
def test_marks_that_are_not_as_they_should_be_are_not_guessed_at(text: bytes) -> None:
    assert conflict_text.read(text) is None
