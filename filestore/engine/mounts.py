"""What kind of file system a path is on.  Pure."""

from __future__ import annotations

import re
from typing import Final

# Not by the codec for such escapes: Python would import it, maybe beside a fork.
_ESCAPED: Final = re.compile(rb"\\([0-3][0-7]{2})")


def _byte(escape: re.Match[bytes]) -> bytes:
    return bytes((int(escape[1], 8),))


def kind_of(mounts: str, path: str) -> str:
    """The type of the file system; empty where ``mounts`` does not tell.

    ``mounts`` is what /proc/self/mountinfo says; ``path`` has no links.
    """
    best, found = -1, ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        point = fields[4]
        if "\\" in point:
            raw = point.encode("utf-8", "surrogateescape")
            point = _ESCAPED.sub(_byte, raw).decode("utf-8", "surrogateescape")
        inside = point in {"/", path} or path.startswith(f"{point}/")
        if inside and len(point) >= best:
            best, found = len(point), right.split()[0]
    return found
