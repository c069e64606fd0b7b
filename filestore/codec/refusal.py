"""Why a value is no document: a slow look at it, made after a fast test has failed."""

from __future__ import annotations

from typing import Final

from filestore.codec.limits import MAX_DEPTH
from filestore.errors import InvalidDocument
from filestore.fieldpath import FieldPath, readable

_ADVICE: Final = {
    "tuple": "make it a list",
    "set": "make it a sorted list",
    "frozenset": "make it a sorted list",
    "bytes": "decode it, or encode it as base64 text",
    "bytearray": "decode it, or encode it as base64 text",
    "datetime": "use its isoformat()",
    "date": "use its isoformat()",
    "time": "use its isoformat()",
    "UUID": "use str() of it",
    "Decimal": "use str() or float() of it",
}
_SCALARS: Final = frozenset({bool, type(None)})


def refuse(document: object) -> None:
    """Raise InvalidDocument for the first thing in the value that no document has.

    Returns when there is none.  Recursion is by a stack of its own: the depth of the value, and
    a value that contains itself, are no danger.
    """
    if type(document) is not dict:
        raise InvalidDocument(
            f"a document is a dict, not {_described(document)}: put the value under a key"
        )
    # Depth first, and a path is a linked list: ends at the first branch that is too deep.
    stack: list[tuple[object, _Step | None, int]] = [(document, None, 0)]
    while stack:
        value, step, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise _error(
                step,
                f"the value is inside more than {MAX_DEPTH} containers:"
                " nest less deeply (does something contain itself?)",
            )
        kind = type(value)
        if kind is dict:
            assert isinstance(value, dict)
            for key in value:
                if type(key) is not str:
                    raise _error(step, f"the key {_shown(key)} is no text: keys are str, exactly")
                if not _is_unicode(key):
                    raise _error(step, f"the key {_shown(key)} has a lone surrogate: {_UNICODE}")
            stack.extend((inner, (step, key), depth + 1) for key, inner in reversed(value.items()))
        elif kind is list:
            assert isinstance(value, list)
            stack.extend(
                (inner, (step, index), depth + 1)
                for index, inner in zip(range(len(value) - 1, -1, -1), reversed(value), strict=True)
            )
        elif kind not in _SCALARS:
            _refuse_scalar(value, step)


def _refuse_scalar(value: object, step: _Step | None) -> None:
    kind = type(value)
    if kind is str:
        assert isinstance(value, str)
        if not _is_unicode(value):
            raise _error(step, f"the text has a lone surrogate: {_UNICODE}")
    elif kind is int:
        assert isinstance(value, int)
        if not -(2**63) <= value < 2**64:
            raise _error(
                step,
                "the integer is not between -2**63 and 2**64-1: store it as text",
            )
    elif kind is float:
        assert isinstance(value, float)
        if not abs(value) < float("inf"):
            raise _error(step, f"{value!r} is no JSON number: use null or text")
    else:
        advice = _ADVICE.get(kind.__name__)
        if advice is None:
            base = next((base for base in kind.__mro__ if base in _PLAIN), None)
            advice = f"convert it with {base.__name__}()" if base else "convert it to JSON's types"
            if base is not None and hasattr(kind, "__members__"):
                advice = "use its value"
        raise _error(step, f"a document can't hold {_described(value)}: {advice}")


_Step = tuple["_Step | None", "str | int"]
_PLAIN: Final = frozenset({str, int, float, list, dict})
_UNICODE: Final = "text must be valid Unicode"


def _error(step: _Step | None, message: str) -> InvalidDocument:
    path: list[str | int] = []
    while step is not None:
        step, name = step
        path.append(name)
    shown = _shortened(tuple(reversed(path)))
    return InvalidDocument(f"{shown}: {message}" if shown else message)


def _shortened(path: FieldPath) -> str:
    if len(path) <= 12:
        return readable(path)
    return f"{readable(path[:6])}...{readable(path[-3:])}"


def _described(value: object) -> str:
    kind = type(value)
    if kind.__module__ == "builtins":
        return f"a value of type {kind.__name__}"
    return f"a value of type {kind.__module__}.{kind.__name__}"


def _shown(key: object) -> str:
    text = ascii(key)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
