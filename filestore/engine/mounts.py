"""What kind of file system a path is on.  Pure."""

from __future__ import annotations


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
        point = (
            fields[4]
            .encode("utf-8", "surrogateescape")
            .decode("unicode_escape")
            .encode("latin-1")
            .decode("utf-8", "surrogateescape")
        )
        inside = point in {"/", path} or path.startswith(f"{point}/")
        if inside and len(point) >= best:
            best, found = len(point), right.split()[0]
    return found
