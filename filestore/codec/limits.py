"""What a file must be before a codec looks at what it says: its size and its encoding."""

from __future__ import annotations

from typing import Final

from filestore.errors import Corrupt, InvalidDocument

MAX_DEPTH: Final = 100
"""Containers that may be around any value of a document, the document itself among them."""

MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes that a document may have, in its canonical form and in its file."""


def check_raw(raw: bytes) -> None:
    """Raise Corrupt for a file that is empty or too large to be one of ours."""
    if len(raw) > MAX_BYTES:
        raise Corrupt(
            f"the file has {len(raw):,} bytes: a document has at most {MAX_BYTES:,}", line=1
        )
    if not raw or raw.isspace():
        raise Corrupt("the file is empty: write a document, at least {}, or remove it", line=1)


def check_encoded(raw: bytes) -> bytes:
    """Raise InvalidDocument for a file that would be too large to be read again."""
    if len(raw) > MAX_BYTES:
        raise InvalidDocument(
            f"the document's file would have {len(raw):,} bytes: at most {MAX_BYTES:,} are possible"
        )
    return raw


def check_remarks(actor: str | None, message: str | None) -> None:
    """Raise InvalidDocument for an actor or a message of a commit that no record could hold."""
    for remark, what in ((actor, "actor"), (message, "message")):
        if remark is not None and not remark.isascii():
            try:
                remark.encode()
            except UnicodeEncodeError as error:
                raise InvalidDocument(
                    f"the {what} {remark!r:.60} has a lone surrogate: it must be valid Unicode"
                ) from error


def text_of(raw: bytes) -> str:
    """The text of a file.  Raises Corrupt for what is not UTF-8 without a byte order mark."""
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise Corrupt(
            "the file begins with a byte order mark: save it as UTF-8 without one", line=1
        )
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Corrupt(
            f"byte {error.start} is not valid UTF-8: save the file as UTF-8",
            line=raw.count(b"\n", 0, error.start) + 1,
        ) from error
