"""The seam between canonical bytes and the bytes of files."""

from __future__ import annotations

from typing import Protocol

from filestore.errors import FilestoreError


class Codec(Protocol):
    """A format of files.  Stateless, safe for threads.

    F1: ``parse(encode(data)) == data`` for all canonical bytes that :meth:`encode` takes.
    """

    @property
    def name(self) -> str:
        """What the store's settings call it."""

    @property
    def suffix(self) -> str:
        """What the names of its files end in, with the dot."""

    def encode(self, data: bytes) -> bytes:
        """A file's bytes for canonical bytes; the same for the same on any machine.

        Raises InvalidDocument when the file would have more than MAX_BYTES.
        """

    def parse(self, raw: bytes) -> bytes:
        """The canonical bytes of a file's bytes, however a person has laid them out.

        Raises Corrupt, with the line where it is known, for what this format can't read in one
        way only, or what is no document; the caller adds path and key.
        """


class UnknownCodec(FilestoreError, ValueError):
    """There is no codec of that name."""


def codec_named(name: str) -> Codec:
    """The codec that settings call ``json`` or ``yaml``.  Raises UnknownCodec (a ValueError)."""
    if name == "json":
        from filestore.codec.json import JSON

        return JSON
    if name == "yaml":
        from filestore.codec.yaml import YAML  # pyyaml is loaded by those who have YAML files

        return YAML
    raise UnknownCodec(f"there is no codec {name!r}: choose json or yaml")
