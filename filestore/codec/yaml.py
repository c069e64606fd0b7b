"""Documents in YAML files: block style, keys sorted, one field and one text a line.

The files are written here and not by pyyaml's emitters: those of libyaml and of pure Python
fold, escape and mark long keys differently, and differently in their versions, and a file's
bytes must be a function of the value alone.

They are read with libyaml where it is there, from its events: a composer is recursive, and
deep nesting would end the process.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson
import yaml

from filestore.codec.canonical_form import canonical
from filestore.codec.json_faults import find_conflict
from filestore.codec.limits import MAX_DEPTH, check_encoded, check_raw, text_of
from filestore.codec.yaml_scalars import Unclear, read_plain, write_float, write_text
from filestore.errors import Corrupt, InvalidDocument

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # pragma: no cover - pyyaml was built without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

_LONG_KEY: Final = 512
"""Readers need not look further than 1,024 characters for the colon after a key."""

_find_break: Final = re.compile("[\x85\u2028\u2029\ufeff]").search


class YamlCodec:
    """See :class:`filestore.codec.Codec`."""

    name: Final = "yaml"
    suffix: Final = ".yaml"

    def encode(self, data: bytes) -> bytes:
        document = orjson.loads(data)
        if not document:
            return b"{}\n"
        lines: list[str] = []
        _write_fields(document, "", "", lines)
        lines.append("")
        return check_encoded("\n".join(lines).encode())

    def parse(self, raw: bytes) -> bytes:
        check_raw(raw)
        text = text_of(raw)
        try:
            if "<<<<<<< " in text:  # inside a text over several lines they would be taken for text
                _refuse_conflict(text)
            return canonical(_read(text))
        except InvalidDocument as error:
            raise Corrupt(str(error)) from error
        except Corrupt:
            _refuse_conflict(text)
            raise


YAML: Final = YamlCodec()


def is_long(key: str) -> bool:
    """Whether the key has a line of its own, and the next begins with the colon."""
    return len(write_text(key)) > _LONG_KEY


def _write_fields(fields: dict[str, Any], first: str, indent: str, lines: list[str]) -> None:
    """Append the lines of a mapping; ``first`` is what stands before its first key."""
    for key, value in fields.items():
        name = write_text(key)
        if len(name) > _LONG_KEY:  # is_long, without writing it again
            lines.append(f"{first}? {name}")
            _write(value, f"{indent}:", indent, lines)
        else:
            _write(value, f"{first}{name}:", indent, lines)
        first = indent


def _write_items(items: list[Any], first: str, indent: str, lines: list[str]) -> None:
    """Append the lines of a sequence; ``first`` is what stands before its first dash."""
    for item in items:
        if type(item) is dict and item:
            _write_fields(item, f"{first}- ", f"{indent}  ", lines)
        elif type(item) is list and item:
            _write_items(item, f"{first}- ", f"{indent}  ", lines)
        else:
            lines.append(f"{first}- {_scalar(item)}")
        first = indent


def _write(value: Any, before: str, indent: str, lines: list[str]) -> None:
    """Append the value of a key; ``before`` is the key with its colon."""
    kind = type(value)
    if kind is str:
        lines.append(f"{before} {write_text(value)}")
    elif kind is dict and value:
        lines.append(before)
        indent += "  "
        _write_fields(value, indent, indent, lines)
    elif kind is list and value:
        lines.append(before)
        indent += "  "
        _write_items(value, indent, indent, lines)
    else:
        lines.append(f"{before} {_scalar(value)}")


_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    str: write_text,
    int: str,
    float: write_float,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    dict: lambda _: "{}",
    list: lambda _: "[]",
}


def _scalar(value: Any) -> str:
    return _WRITERS[type(value)](value)


def _read(text: str) -> dict[str, Any]:
    if found := _find_break(text):
        raise Corrupt(
            f"U+{ord(found[0]):04X} is a line break or a mark to some readers of YAML and text to"
            f' others: write it as an escape in double quotes, "\\u{ord(found[0]):04x}"',
            line=text.count("\n", 0, found.start()) + 1,
        )
    try:
        loader = _Loader(text)
        try:
            return _document(loader.get_event)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        parts = (error.context, error.problem)
        problem = ", ".join(part for part in parts if part)
        if mark and _begins_with_tab(text, mark.line):
            problem = "a line begins with a tab: indent with spaces"
        raise Corrupt(
            f"the file is no YAML: {problem}", line=mark.line + 1 if mark else None
        ) from error
    except yaml.reader.ReaderError as error:
        raise Corrupt(f"the file is no YAML: {error.reason}", line=_line_of(error, text)) from error


def _document(next_event: Callable[[], Any]) -> dict[str, Any]:
    """Build the value of the one document from the events; recursion is by a stack of its own."""
    next_event()  # the stream begins
    event = next_event()
    if type(event) is yaml.StreamEndEvent:
        raise Corrupt("the file holds only comments: write a document, at least {}", line=1)
    if event.version or event.tags:
        raise _corrupt(event, "directives are not supported: remove the lines that begin with %")
    event = next_event()
    if type(event) is not yaml.MappingStartEvent:
        _check_node(event)
        raise _corrupt(event, "a document is a mapping: the file must hold fields, `key: value`")
    root = _fields(event, next_event)
    next_event()  # the document ends
    event = next_event()
    if type(event) is not yaml.StreamEndEvent:
        raise _corrupt(event, "a second document begins here: a file holds one")
    return root


def _fields(event: Any, next_event: Callable[[], Any]) -> dict[str, Any]:
    _check_node(event)
    scalar, mapping, sequence = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent
    mapping_end, sequence_end = yaml.MappingEndEvent, yaml.SequenceEndEvent
    root: dict[str, Any] = {}
    target: Any = root  # the container that is open
    key: str | None = None  # in a mapping: the key whose value comes next
    opened: list[tuple[Any, str | None]] = []  # what is around it, outermost first
    while True:
        event = next_event()
        kind = type(event)
        value: Any
        if kind is scalar:
            if event.anchor is not None or event.tag is not None:
                _check_node(event)
            if event.implicit[0]:
                try:
                    value = read_plain(event.value)
                except Unclear as error:
                    raise _corrupt(event, _merge(error, event, target, key)) from None
            else:
                value = event.value
        elif kind is mapping_end or kind is sequence_end:
            if not opened:
                return root
            target, key = opened.pop()
            continue
        else:
            _check_node(event)
            value = {} if kind is mapping else []
            assert kind is mapping or kind is sequence, kind
        # Here stands a value of the open container, or a key.
        if len(opened) >= MAX_DEPTH:
            raise _corrupt(event, f"the value is inside more than {MAX_DEPTH} containers")
        if type(target) is list:
            target.append(value)
        elif key is None:
            if type(value) is not str:
                raise _corrupt(event, "a key is text: quote it")
            if value in target:
                raise _corrupt(event, f"the key {value!a} stands twice: remove one of them")
            key = value
            continue
        else:
            target[key] = value
            key = None
        if kind is not scalar:
            opened.append((target, key))
            target = value
            key = None


def _merge(error: Unclear, event: Any, target: Any, key: str | None) -> str:
    if event.value == "<<" and key is None and type(target) is dict:
        return "merge keys (<<) are not supported: write the fields out"
    return str(error)


def _check_node(event: Any) -> None:
    if type(event) is yaml.AliasEvent:
        raise _corrupt(event, f"aliases (*{event.anchor}) are not supported: write the value out")
    if event.anchor is not None:
        raise _corrupt(event, f"anchors (&{event.anchor}) are not supported: remove it")
    if event.tag is not None:
        raise _corrupt(event, f"tags ({event.tag}) are not supported: remove it, or quote the text")


def _corrupt(event: Any, message: str) -> Corrupt:
    return Corrupt(message, line=event.start_mark.line + 1)


def _begins_with_tab(text: str, line: int) -> bool:
    lines = text.splitlines()
    return line < len(lines) and lines[line].lstrip(" ").startswith("\t")


def _line_of(error: yaml.reader.ReaderError, text: str) -> int | None:
    # The position is one of characters to one reader and of bytes to the other: look again.
    found = re.search(rf"\x00|{re.escape(chr(error.character))}", text)
    return text.count("\n", 0, found.start()) + 1 if found else None


def _refuse_conflict(text: str) -> None:
    conflict = find_conflict(text)
    if conflict is not None:
        raise Corrupt(conflict.message, line=conflict.line)
