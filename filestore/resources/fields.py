"""The fields of resources: what each may hold, and which of them changed.

A field is a descriptor; the values of an object's fields are in its :class:`Tracked`,
so that a resource and the object that its driver is handed have the same ones.

Three ways lead into a field.  Assigning is as forgiving as Cinder is
(``"3"`` is a size).  Reading a document or a dump takes only what the field could have
written, or nearly: ``"no"`` is no boolean.  Nothing checks what is changed inside a dictionary
before it is written.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, Self, TypeVar, overload

from filestore.errors import InvalidDocument
from filestore.masking import masked
from filestore.resources.documents import SCALARS, UTC, moment, plain, timestamp

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from filestore.model import Document

T = TypeVar("T")

NONE: Final[frozenset[str]] = frozenset()
"""No names; one object for thousands of resources."""


class Tracked:
    """The values of an object's fields, and which of them were assigned.

    ``values``: by name; None where there is no value.  ``assigned``: names of fields
    assigned since the last write.  ``seen``: copies of what can be changed in
    place, as it was last read or written.
    """

    __slots__ = ("assigned", "seen", "values")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.assigned: set[str] | frozenset[str] = NONE
        self.seen: dict[str, Any] = {}


class HasFields(Protocol):
    """What a field is a part of."""

    _tracked: Tracked


class Field(Generic[T]):
    """A field of a resource.

    ``default``: its value where a constructor is given none.  ``nullable``: whether it
    may be None.
    """

    exact: ClassVar[type | None] = None
    """The type whose values are taken from documents as they are, unless there is none such."""
    mutable: ClassVar[bool] = False
    """Whether its values can be changed in place."""
    merged: ClassVar[bool] = False
    """Whether sets merge its keys, instead of replacing its value."""

    def __init__(self, *, default: T | None = None, nullable: bool = True) -> None:
        self.default = default
        self.nullable = nullable
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: HasFields, owner: type) -> T: ...
    def __get__(self, instance: HasFields | None, owner: type) -> Any:
        if instance is None:
            return self
        return instance._tracked.values.get(self.name)

    def __set__(self, instance: HasFields, value: Any) -> None:
        tracked = instance._tracked
        tracked.values[self.name] = self.coerced(value)
        tracked.assigned |= {self.name}

    def coerced(self, value: Any) -> T | None:
        """The value to keep of one that is assigned.  Raises InvalidDocument."""
        if value is None:
            if self.nullable:
                return None
            raise InvalidDocument(f"the field {self.name!r} cannot be None: give it a value")
        try:
            return self.coerce(value)
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            shown = masked(value, self.name)
            raise InvalidDocument(
                f"the field {self.name!r} cannot be {shown!r}: {error}"
            ) from error

    def coerce(self, value: Any) -> T:
        """What of a value to keep, as Cinder would; raises ValueError and its like."""
        raise NotImplementedError

    def read(self, value: Any) -> T:
        """What :meth:`write` made a JSON value of; raises ValueError and its like."""
        return self.coerce(value)

    def write(self, value: Any) -> Any:
        """A value as JSON has it; None stays None."""
        return value


class Text(Field[str | None]):
    """Text."""

    exact = str

    def coerce(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, int | float | dt.datetime):
            return str(value)
        raise ValueError("text is required")


class Identity(Field[str]):
    """An id; any text, since a store can name any."""

    exact = str

    def __init__(self) -> None:
        super().__init__(nullable=False)

    def coerce(self, value: Any) -> str:
        text = str(value)
        if not text:
            raise ValueError("an id is required")
        return text


class Integer(Field[int | None]):
    """A whole number."""

    exact = int

    def coerce(self, value: Any) -> int:
        return int(value)


class Boolean(Field[bool | None]):
    """True or false."""

    exact = bool

    def coerce(self, value: Any) -> bool:
        return bool(value)

    def read(self, value: Any) -> bool:
        if value in (0, 1):
            return bool(value)
        raise ValueError("true or false is required")  # bool() would take "no" for true


class Time(Field[dt.datetime | None]):
    """A moment, in some time zone; naive ones are in UTC."""

    def coerce(self, value: Any) -> dt.datetime:
        if isinstance(value, str):
            return moment(value)
        if not isinstance(value, dt.datetime):
            raise ValueError("a time is required")  # noqa: TRY004  # one error for every kind
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)

    def write(self, value: Any) -> Any:
        return None if value is None else timestamp(value)


class Choice(Field[str | None]):
    """One of several words."""

    def __init__(self, *choices: str, default: str | None = None, nullable: bool = True) -> None:
        super().__init__(default=default, nullable=nullable)
        self.choices = frozenset(choices)

    def coerce(self, value: Any) -> str:
        if value in self.choices:
            return str(value)
        raise ValueError(f"one of {', '.join(sorted(self.choices))} is required")


class TextMap(Field[dict[str, str]]):
    """Texts by names; never None.  Sets merge its keys with what others wrote."""

    mutable = True
    merged = True

    def coerced(self, value: Any) -> dict[str, str]:
        return super().coerced({} if value is None else value) or {}

    def coerce(self, value: Any) -> dict[str, str]:
        return {_text(name): _text(each) for name, each in value.items()}

    def write(self, value: Any) -> Any:
        for name, each in value.items():
            if type(each) is not str or type(name) is not str:
                return self.coerced(value)
        return dict(value)


class Specs(Field[dict[str, str | None]]):
    """Texts or None by names."""

    mutable = True

    def coerced(self, value: Any) -> dict[str, str | None]:
        return super().coerced({} if value is None else value) or {}

    def coerce(self, value: Any) -> dict[str, str | None]:
        return {_text(name): None if each is None else _text(each) for name, each in value.items()}

    def write(self, value: Any) -> Any:
        return self.coerced(value)


class Texts(Field[list[str] | None]):
    """A list of texts."""

    mutable = True

    def coerce(self, value: Any) -> list[str]:
        if isinstance(value, str):
            raise ValueError("a list is required")  # noqa: TRY004  # one error for every kind
        return [_text(each) for each in value]

    def write(self, value: Any) -> Any:
        return None if value is None else self.coerced(value)


class Map(Field[dict[str, Any] | None]):
    """A dictionary of anything that a driver puts there."""

    exact = dict
    mutable = True

    def coerce(self, value: Any) -> dict[str, Any]:
        return dict(value)

    def read(self, value: Any) -> dict[str, Any]:
        raise ValueError(f"an object is required, not {type(value).__name__}")

    def write(self, value: Any) -> Any:
        return plain(value)


def fields_of(owner: type) -> dict[str, Field[Any]]:
    """The fields of a class and of those it inherits from, in the order of their definition."""
    return {
        name: value
        for each in reversed(owner.__mro__)
        for name, value in vars(each).items()
        if isinstance(value, Field)
    }


def read_fields(fields: Mapping[str, Field[Any]], document: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a document's fields; those it does not have, and unknown ones, are left out.

    Takes over what is in the document.  Raises :class:`Unreadable`.
    """
    values = {}
    for name, value in document.items():
        field = fields.get(name)
        if field is None or value is None:
            continue
        if type(value) is field.exact:
            values[name] = value
        else:
            try:
                values[name] = field.read(value)
            except (ValueError, TypeError, AttributeError, OverflowError) as error:
                raise Unreadable(name, value, error) from error
    return values


def write_fields(
    fields: Mapping[str, Field[Any]],
    values: Mapping[str, Any],
    names: Collection[str] | None = None,
) -> Document:
    """The fields, or those of ``names``, as JSON has them; None for null.

    Raises InvalidDocument for what JSON has not.
    """
    document: Document = dict.fromkeys(fields if names is None else names)
    for name, value in values.items():
        if name not in document:
            continue
        if type(value) in SCALARS:
            document[name] = value
        else:
            try:
                document[name] = fields[name].write(value)
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                raise InvalidDocument(f"the field {name!r} cannot be written: {error}") from error
    return document


class Unreadable(Exception):
    """A value that its field cannot have; for whoever knows where it comes from."""

    def __init__(self, name: str, value: Any, reason: Exception) -> None:
        super().__init__(name, value, reason)
        self.name = name
        self.value = value
        self.reason = reason


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | dt.datetime):
        return str(value)
    raise ValueError("texts are required")
