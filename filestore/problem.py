"""What ``check`` finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filestore.model import Key


class Severity(StrEnum):
    """How bad a :class:`Problem` is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that ``check`` found.

    ``kind`` is a stable word for programs, ``message`` says what and what to
    do; ``repairable`` tells whether ``repair`` mends it.
    """

    kind: str
    message: str
    path: str | None = None
    key: Key | None = None
    severity: Severity = Severity.ERROR
    repairable: bool = False
