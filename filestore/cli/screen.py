"""Standard output and error: for people on a terminal, for programs in a pipe.

Three kinds of output: *machine* lines (always UTF-8, one JSON value a line),
*text* (what was asked for, plain when not on a terminal) and *notes*
(confirmations, silent with ``--quiet``).  Nothing that came out of a document
reaches a terminal as a control sequence: see :func:`visible`.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

# Controls, formats (they reorder what a reader sees), surrogates, separators of lines.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    """``text`` with everything that a terminal would obey or hide written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def printable_json(text: str) -> str:
    """JSON text with C1 controls and the like as JSON escapes; still the same value."""
    if text.isascii():
        return text
    return "".join(
        json.dumps(c)[1:-1] if c != "\n" and unicodedata.category(c) in _HIDDEN else c for c in text
    )


def encodable(text: str) -> bool:
    """Whether standard output can say this text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeError:
        return False
    return True


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    stream = sys.stdout
    return stream is not None and stream.isatty()


def console(width: int | None = None) -> Console:
    """Rich's console on standard output; honours NO_COLOR, TERM and what is not a terminal."""
    from rich.console import Console  # takes 40 ms to import, and scripts do not need it

    return Console(highlight=False, markup=False, emoji=False, width=width, soft_wrap=False)


def machine(value: Any) -> None:
    """Write one JSON value on a line of its own, in UTF-8 whatever the locale."""
    line = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    raw((line + "\n").encode())


def raw(data: bytes) -> None:
    """Write bytes as they are."""
    click.echo(data, nl=False)


def text(line: str = "") -> None:
    """Write a line of what was asked for; the caller has made it visible."""
    click.echo(line)


def note(line: str, *, quiet: bool) -> None:
    """Write a confirmation."""
    if not quiet:
        click.echo(visible(line))


def complain(message: str) -> None:
    """Write one line to standard error."""
    click.echo(f"Error: {visible(' '.join(message.split()))}", err=True)


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()
) -> None:
    """Columns under headings: cut to the terminal's width, whole in a pipe.

    The first column is never cut: it is what one copies.
    """
    shown = [[visible(cell) for cell in row] for row in rows]
    if on_terminal():
        _rich_table(headings, shown, right)
        return
    widths = [max(map(len, column)) for column in zip(headings, *shown, strict=True)]
    for row in [list(headings), *shown]:
        cells = (
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        text("  ".join(cells).rstrip())


def _rich_table(headings: Sequence[str], rows: list[list[str]], right: frozenset[int]) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for index, heading in enumerate(headings):
        first = index == 0
        grid.add_column(
            heading,
            no_wrap=True,
            overflow="ignore" if first else "ellipsis",
            min_width=max((len(row[0]) for row in rows), default=0) if first else None,
            style="cyan" if first else "",
            justify="right" if index in right else "left",
        )
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    console().print(grid)


def document(data: str, lexer: str) -> None:
    """Write a document: coloured on a terminal, its exact text in a pipe."""
    if on_terminal():
        from rich.syntax import Syntax

        shown = printable_json(data) if lexer == "json" else data
        if encodable(shown):
            syntax = Syntax(
                shown.rstrip("\n"), lexer, theme="ansi_dark", background_color="default"
            )
            console().print(syntax, soft_wrap=True)
            return
    raw(data.encode())
