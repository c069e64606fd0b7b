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
from typing import TYPE_CHECKING, Any, Final, TextIO

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


def _visible_json(text: str) -> str:
    """JSON text with the same characters as JSON escapes: still the same value."""
    if text.isascii():
        return text
    return "".join(
        json.dumps(c)[1:-1] if c != "\n" and unicodedata.category(c) in _HIDDEN else c for c in text
    )


def _visible_lines(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


def _encodable(text: str) -> bool:
    """Whether standard output can say this text."""
    return _encoded(text) == text


def _encoded(text: str) -> str:
    """The text with everything that standard output cannot say written as an escape."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    stream = sys.stdout
    return stream is not None and stream.isatty()


def errors_on_terminal() -> bool:
    """Whether standard error is a terminal."""
    stream = sys.stderr
    return stream is not None and stream.isatty()


def console(*, stderr: bool = False) -> Console:
    """Rich's console on standard output; honours NO_COLOR, TERM and what is not a terminal."""
    from rich.console import Console  # takes 40 ms to import, and scripts do not need it

    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    # Rich would exit with 1, which means something else here.
    made.on_broken_pipe = _broken_pipe  # type: ignore[method-assign]
    return made


def _broken_pipe() -> None:
    raise BrokenPipeError


def machine(value: Any) -> None:
    """Write one JSON value on a line of its own, in UTF-8 whatever the locale."""
    line = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    _raw(f"{line}\n".encode())


def text(line: str) -> None:
    """Write a line of what was asked for; the caller has made it visible."""
    _write(sys.stdout, line)


def note(line: str, *, quiet: bool) -> None:
    """Write a confirmation."""
    if not quiet:
        _write(sys.stdout, visible(line))


def aside(line: str) -> None:
    """Write a line to standard error."""
    _write(sys.stderr, visible(line))


def complain(message: str) -> None:
    """Write an error: one line to standard error."""
    aside(f"Error: {' '.join(message.split())}")


# Not click.echo: it takes a stream in ASCII for a mistake and writes UTF-8 into it.
def _write(stream: TextIO | None, line: str) -> None:
    if stream is not None:  # None when its descriptor was closed from the start
        stream.write(f"{line}\n")
        if stream is sys.stderr:
            stream.flush()  # what is buffered now could come after later output


def _raw(data: bytes) -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()
) -> None:
    """Columns under headings: cut to the terminal's width, whole in a pipe.

    The first column is never cut: it is what one copies.
    """
    shown = [[_encoded(visible(cell)) for cell in row] for row in rows]  # as wide as it will be
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


def styled(lines: Iterable[tuple[str, str]]) -> None:
    """Lines of (style, text): coloured on a terminal, plain elsewhere; visible and never cut."""
    shown = [(style, visible(line)) for style, line in lines]
    if not on_terminal() or not all(_encodable(line) for _, line in shown):
        for _, line in shown:
            text(line)
        return
    from rich.text import Text

    terminal = console()
    for style, line in shown:
        terminal.print(Text(line, style=style), soft_wrap=True)


def document(data: str, form: str) -> None:
    """Write a document: coloured on a terminal, its exact text in UTF-8 elsewhere."""
    if not on_terminal():
        _raw(data.encode())
        return
    shown = (_visible_json if form == "json" else _visible_lines)(data.rstrip("\n"))
    if not _encodable(shown):
        for line in shown.split("\n"):
            text(line)
        return
    from rich.syntax import Syntax

    syntax = Syntax(shown, form, theme="ansi_dark", background_color="default")
    console().print(syntax, soft_wrap=True)
