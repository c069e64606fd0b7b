"""Values by keys, for whatever a program wants to keep beside its resources."""

from __future__ import annotations

from typing import Any


class KeyValue:
    """A value under a key.  Equal to another of the same key and value, and so not hashable.

    ``value``: anything that JSON has; it comes back as itself.
    """

    __slots__ = ("key", "value")

    def __init__(self, key: str | None = None, value: Any = None) -> None:
        self.key = key
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyValue):
            return NotImplemented
        return (self.key, self.value) == (other.key, other.value)

    __hash__ = None  # type: ignore[assignment]  # as upstream: it can be changed

    def __repr__(self) -> str:
        # Not the value: connectors and credentials are kept in these.
        return f"<filestore.KeyValue {self.key!r}>"
