"""Which database a URL means, and how to say so without its password."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import sqlalchemy
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from filestore.errors import UnsupportedFormat
from filestore.location import masked_url

_MODERN: Final = int(sqlalchemy.__version__.split(".", 1)[0]) >= 2


@dataclass(frozen=True, slots=True)
class Address:
    """A database.  ``shown`` is the URL without secrets; ``secrets`` what is left out."""

    url: URL
    shown: str
    secrets: tuple[str, ...]

    @property
    def database(self) -> str:
        """The kind of database: ``sqlite`` or ``postgresql``."""
        return self.url.get_backend_name()

    def clean(self, text: str) -> str:
        """A message of a driver in one line, without what is secret."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())

    def leaks(self, error: BaseException) -> bool:
        """Whether an error, or what caused it, says what is secret."""
        return any(secret in str(error) for secret in self.secrets)


def parse(location: str) -> Address:
    """Understand a URL as SQLAlchemy does.  Raises UnsupportedFormat."""
    shown = masked_url(location)
    try:
        url = make_url(location)
        port = url.port
    except (ArgumentError, ValueError):
        # Not chained: the cause tells the whole URL.
        raise UnsupportedFormat(
            f"{shown!r} is no URL of a database: write it as in"
            " 'postgresql://user:password@host:5432/database'; special characters in a"
            " password are written as %40 for @, %2F for /",
            path=shown,
        ) from None
    if port is not None and not 0 < port < 65536:
        raise UnsupportedFormat(f"{shown!r}: {port} is no port", path=shown)
    shown = masked_url(url.render_as_string(hide_password=True))
    url = _with_driver(url)
    try:
        url.get_dialect()
    except NoSuchModuleError as error:
        raise UnsupportedFormat(
            f"SQLAlchemy has no driver {url.drivername!r} for {shown!r}", path=shown
        ) from error
    secrets = {str(url.password or "")} | {
        str(value)
        for name, value in url.query.items()
        if any(word in name.lower() for word in ("pass", "secret", "token"))
    }
    return Address(
        url,
        shown,
        tuple(sorted((each for each in secrets if each), key=len, reverse=True)),
    )


def _with_driver(url: URL) -> URL:
    """Choose a PostgreSQL driver that is installed, where the URL leaves it open.

    SQLAlchemy's own choice differs from version to version.
    """
    if url.drivername != "postgresql":
        return url
    if find_spec("psycopg2") is None and find_spec("psycopg") is not None and _MODERN:
        return url.set(drivername="postgresql+psycopg")
    return url.set(drivername="postgresql+psycopg2")
