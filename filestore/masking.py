"""Documents as they may be shown to whoever looks over a shoulder."""

from __future__ import annotations

import re
from typing import Any, Final

_SECRET: Final = re.compile(
    r"passw|secret|token|credential|private_key|provider_auth", re.IGNORECASE
)
MASK: Final = "********"


def masked(value: Any, name: str = "") -> Any:
    """A copy in which every text or number under a telling name is replaced."""
    if isinstance(value, dict):
        return {field: masked(inner, f"{name}.{field}") for field, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, name) for inner in value]
    if _SECRET.search(name) and value is not None and not isinstance(value, bool):
        return MASK
    return value
