"""What the location of a store names, and how it may be shown."""

from __future__ import annotations

import re
from typing import Final

MEMORY: Final = "memory:"
"""The location of a new store in this process's memory."""

CINDERLIB: Final = "cinderlib+"
"""What the URL of cinderlib's own database begins with, as an end of a migration."""

# What may follow a user's name up to the host; a password may hold any character but these two.
_PASSWORD: Final = r"(?s)(://[^:/?#]*:)(.*)(?=@)"
_SECRET_OPTION: Final = r"(?i)([?&][^=&]*(?:pass|secret|token)[^=&]*=)[^&]*"


def is_url(location: str) -> bool:
    """Whether the location is a URL, not the path of a folder."""
    return "://" in location


def is_path(location: str) -> bool:
    """Whether the location is a folder's path: what commands about files need."""
    return location != MEMORY and not is_url(location)


def masked_url(url: str) -> str:
    """The URL with ``***`` for what is secret in it: fit to be shown and logged.

    Any other location is as it was.
    """
    if not is_url(url):
        return url
    return re.sub(_SECRET_OPTION, r"\1***", re.sub(_PASSWORD, r"\1***", url))
