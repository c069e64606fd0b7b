"""Values written on a command line, and documents written as text."""

from __future__ import annotations

import json
import sys
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import click

from filestore.codec import MAX_BYTES, canonical, codec_named, decode
from filestore.errors import Corrupt, InvalidDocument

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from filestore.model import Document
    from filestore.store import Store

FORMS: Final = ("json", "yaml")
"""The forms that a document is read and written in."""

_BEGINS_JSON: Final = ("{", "[", '"')


class Whole(click.IntRange):
    """A whole number, called so in errors and in the help."""

    name = "integer"


def pair(argument: str) -> tuple[str, Any]:
    """``field=value``: the value is JSON, or else the plain text itself.

    What begins like JSON and is not is refused, not taken as text.
    """
    field, text = _split(argument)
    try:
        return field, read_json(text)
    except json.JSONDecodeError as error:
        if text.startswith(_BEGINS_JSON):
            raise click.UsageError(f"the value of '{field}' is not JSON: {error}") from None
        return field, text
    except (ValueError, RecursionError):
        raise click.UsageError(f"the value of '{field}' is too long or too deep") from None


def pairs(arguments: Sequence[str]) -> dict[str, Any]:
    """Several of them; a field that is given twice is a mistake, and refused."""
    found: dict[str, Any] = {}
    for argument in arguments:
        field, value = pair(argument)
        if field in found:
            raise click.UsageError(f"the field '{field}' is given twice")
        found[field] = value
    return found


def read_json(text: str) -> Any:
    """A JSON value, and no dialect of it: no NaN, and no name twice in an object.

    Raises ValueError, most often as JSONDecodeError, and RecursionError.
    """
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)


def is_pair(argument: str) -> bool:
    """Whether an argument is a ``field=value`` and not a file's name."""
    return not argument.startswith(("/", "./", "../")) and "=" in argument[1:]


def alternatives(filters: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The equalities that any document that passes has one of.

    ``name=123`` is meant for 123 as well as "123": nobody can see quotes in a listing.
    """
    readings: dict[str, list[Any]] = {}
    for written, (field, value) in zip(filters, pairs(filters).items(), strict=True):
        text = _split(written)[1]
        readings[field] = [value] if isinstance(value, str) else [value, text]
    for values in product(*readings.values()):
        yield dict(zip(readings, values, strict=True))


def compact(value: Any) -> str:
    """A value on one line; text as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def write(document: Document, form: str) -> str:
    """The document as a store with that codec keeps it."""
    return codec_named(form).encode(canonical(document)).decode()


def parse(raw: bytes, form: str, name: str) -> Document:
    """The document that somebody wrote.

    ``name`` is where it came from.  Raises InvalidDocument with the place.
    """
    try:
        return decode(codec_named(form).parse(raw))
    except Corrupt as error:
        line = f", line {error.line}" if error.line else ""
        raise InvalidDocument(f"{name}{line}: {error.message}") from error
    except InvalidDocument as error:
        raise InvalidDocument(f"{name}: {error.message}") from error


def read(source: str, form: str | None) -> Document:
    """The document in a file, or on standard input for ``-``.

    Without a form the file's suffix tells; else it is JSON.  Reads no more than it takes to see
    that something is too large: /dev/zero never ends.
    """
    if source == "-":
        if sys.stdin is None:
            raise click.UsageError("there is no standard input")
        raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        return parse(raw, form or "json", "standard input")
    with open(source, "rb") as file:
        raw = file.read(MAX_BYTES + 1)
    return parse(raw, form or _form_by_name(source), source)


def form_of(store: Store) -> str:
    """The form that the store itself keeps."""
    return str(store.stats().get("codec", "json"))


def _form_by_name(path: str) -> str:
    return "yaml" if path.endswith((".yaml", ".yml")) else "json"


def _split(argument: str) -> tuple[str, str]:
    field, equals, text = argument.partition("=")
    if not equals or not field:
        raise click.UsageError(f"'{argument}' is not FIELD=VALUE")
    return field, text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise json.JSONDecodeError("an object has a name twice", "{", 0)
    return result


def _refuse(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is no JSON number", name, 0)
