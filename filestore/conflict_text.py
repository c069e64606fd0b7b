"""A merge with conflicts as the text of a file, and the way back.  No I/O.

The text is the merged document's file, in which each place that can't be merged
stands three times, between the marks that git writes::

    conflicted = *( line | hunk )
    hunk       = "<<<<<<<" [" " label] LF *line        ; as ours has it
                 "|||||||" [" " label] LF *line        ; as the base has it
                 "=======" LF *line                    ; as theirs has it
                 ">>>>>>>" [" " label] LF

For example::

    {
      "display_name": "db",
    <<<<<<< ours
      "size": 20,
    ||||||| base
      "size": 10,
    =======
      "size": 30,
    >>>>>>> theirs
      "status": "in-use"
    }

Whoever keeps the lines outside and one side's lines of every hunk has the canonical file of
:meth:`Merged.take <filestore.merge.Merged.take>` of that side; a side with no line at all has
no document.  So the text holds all three documents, and merging them again gives the same
conflicts.  No line of a canonical file begins like a mark.  A hunk holds one field; where
the field is there on one side only and was the last one in JSON, it takes along the line before it,
whose comma depends on it.

The reader also takes what ``git merge-file`` writes, with or without the base.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from filestore.codec import canonical
from filestore.merge import ABSENT, Choice, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filestore.codec import Codec
    from filestore.merge import Merged

MARK: Final = 7
"""Characters of a mark, unless git asks for more: it does where merges are nested."""

_is_begin: Final = re.compile(rb"(<{7,})(?: .*)?", re.DOTALL).fullmatch

_Counts: TypeAlias = "tuple[int, int, int]"
"""Lines of one part of the document for base, ours and theirs."""


@dataclass(frozen=True, slots=True)
class Conflicted:
    """The three files that a conflicted text holds; ``base`` is None where it tells none."""

    base: bytes | None
    ours: bytes
    theirs: bytes


def write(
    merged: Merged,
    codec: Codec,
    *,
    labels: tuple[str, str, str] = ("base", "ours", "theirs"),
    mark: int = MARK,
) -> bytes:
    """The text of a merge; without conflicts it is the document's file.

    ``labels`` are written behind the marks of base, ours and theirs.
    """
    texts = []
    for side in Side:
        document = merged.take(side)
        texts.append([] if document is None else _file(codec, document))
    base, ours, theirs = (label.replace("\n", " ").encode() for label in labels)
    out: list[bytes] = []
    for lines in _parts(texts, _rows(merged.tree, None, _SHAPES[codec.name]())):
        if lines[0] == lines[1] == lines[2]:
            out += lines[0]
        else:
            out += (b"<" * mark + b" " + ours, *lines[1])
            out += (b"|" * mark + b" " + base, *lines[0])
            out += (b"=" * mark, *lines[2], b">" * mark + b" " + theirs)
    out.append(b"")
    return b"\n".join(out)


def _file(codec: Codec, document: Any) -> list[bytes]:
    return codec.encode(canonical(document)).split(b"\n")[:-1]


def _parts(texts: list[list[bytes]], rows: Iterator[_Counts]) -> Iterator[list[list[bytes]]]:
    """The lines of each row; a row that differs by a comma or a dash goes with the next."""
    at = [0, 0, 0]
    waiting: list[list[bytes]] = [[], [], []]
    for row in rows:
        lines = [
            text[start : start + count] for text, start, count in zip(texts, at, row, strict=True)
        ]
        at = [start + count for start, count in zip(at, row, strict=True)]
        if row == (1, 1, 1) and not lines[0] == lines[1] == lines[2]:
            waiting = [one + other for one, other in zip(waiting, lines, strict=True)]
            continue
        if any(waiting) and lines[0] == lines[1] == lines[2]:
            yield waiting
            yield lines
        else:
            yield [one + other for one, other in zip(waiting, lines, strict=True)]
        waiting = [[], [], []]
    yield waiting
    assert at == [len(text) for text in texts]


class _JsonShape:
    """How many lines a value has, as :mod:`filestore.codec.json` lays it out."""

    closing: Final = 1

    def opening(self, _key: str | int | None) -> int:
        return 1

    def scalar(self, _key: str | int | None) -> int:
        return 1


class _YamlShape:
    """How many lines a value has, as :mod:`filestore.codec.yaml` lays it out."""

    closing: Final = 0

    def __init__(self) -> None:
        from filestore.codec.yaml import is_long  # pyyaml is loaded by those who have YAML

        self._is_long = is_long

    def opening(self, key: str | int | None) -> int:
        return self.scalar(key) if isinstance(key, str) else 0

    def scalar(self, key: str | int | None) -> int:
        return 2 if isinstance(key, str) and self._is_long(key) else 1


_Shape: TypeAlias = "_JsonShape | _YamlShape"
_SHAPES: Final[dict[str, Callable[[], _Shape]]] = {"json": _JsonShape, "yaml": _YamlShape}


def _rows(node: Any, key: str | int | None, shape: _Shape) -> Iterator[_Counts]:
    """How many lines of each side belong to each part of the tree, from top to bottom."""
    counts = [_lines(node, side, key, shape) for side in Side]
    if isinstance(node, Choice):
        yield (counts[0], counts[1], counts[2])
        return
    inside = list(_inside(node))
    present = [any(_of(value, side) is not ABSENT for _, value in inside) for side in Side]
    if not any(isinstance(value, dict | list | Choice) for _, value in inside):
        yield from [(1, 1, 1)] * counts[0]
    elif not all(present):
        yield (counts[0], counts[1], counts[2])  # {} on one side and lines on another
    else:
        yield from [(1, 1, 1)] * shape.opening(key)
        for step, value in inside:
            yield from _rows(value, step, shape)
        yield from [(1, 1, 1)] * shape.closing


def _lines(node: Any, side: Side, key: str | int | None, shape: _Shape) -> int:
    value = _of(node, side)
    if value is ABSENT:
        return 0
    inside = [_lines(inner, side, step, shape) for step, inner in _inside(value)]
    if not any(inside):
        return shape.scalar(key)
    return shape.opening(key) + sum(inside) + shape.closing


def _inside(node: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(node, dict):
        # In the order of canonical bytes.
        yield from sorted(node.items())
    elif isinstance(node, list):
        yield from enumerate(node)


def _of(node: Any, side: Side) -> Any:
    return node.of(side) if isinstance(node, Choice) else node


def read(text: bytes) -> Conflicted | None:
    """The three files that the text holds; None when it has no marks, or not as they should be."""
    base: list[bytes] = []
    ours: list[bytes] = []
    theirs: list[bytes] = []
    marks: tuple[bytes, bytes, bytes] | None = None
    state = ""
    hunks = bases = 0
    for line in text.split(b"\n"):
        if not state:
            found = _is_begin(line)
            if found is None:
                for side in (base, ours, theirs):
                    side.append(line)
                continue
            size = len(found[1])
            marks = (b"|" * size, b"=" * size, b">" * size)
            state, hunks = "ours", hunks + 1
            continue
        assert marks is not None
        word = line.split(b" ", 1)[0]
        if state == "ours" and word == marks[0]:
            state, bases = "base", bases + 1
        elif state in ("ours", "base") and line == marks[1]:
            state = "theirs"
        elif state == "theirs" and word == marks[2]:
            state = ""
        elif word in marks or _is_begin(line):
            return None
        else:
            {"ours": ours, "base": base, "theirs": theirs}[state].append(line)
    if not hunks or state:
        return None
    files = [b"\n".join(lines) for lines in (base, ours, theirs)]
    return Conflicted(files[0] if bases == hunks else None, files[1], files[2])
