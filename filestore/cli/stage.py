"""How the demo looks: colours on a terminal, plain text in a pipe, ASCII where there is no more."""

from __future__ import annotations

import os
import shlex
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Final

from filestore.cli import screen
from filestore.cli.day import short
from filestore.cli.values import compact, write
from filestore.diff import Kind
from filestore.masking import masked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.tree import Tree

    from filestore.change import Change
    from filestore.cli.day import Step
    from filestore.diff import Difference
    from filestore.model import Document, Key

_WIDTH: Final = 80
_NAMES_SHOWN: Final = 2
_CHANGES_SHOWN: Final = 2
_ASCII: Final = {"…": "...", "→": "->", "─": "-", "✗": "x"}


class Stage:
    """Writes the demo's scenes to a console, in its order: top to bottom."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, _WIDTH)
        self._ascii = not (console.encoding or "").lower().startswith("utf")

    def opening(self, path: str) -> None:
        """Say what is to come, and where."""
        self._line("filestore demo", "bold")
        shown = screen.visible(path)
        self._line(f"A day in a small lab, through the public API, in a new store: {shown}")

    def loaded(
        self, path: str, codec: str, counts: dict[str, int], *, revision: int, seconds: float
    ) -> None:
        """Say what the lab has."""
        note = f"revision {revision}, {_duration(seconds)}"
        self._head(1, "Open the store and load the lab", note)
        option = "" if codec == "json" else f', codec="{codec}"'
        self._code(f'store = filestore.open("{path}"{option})')
        parts = ", ".join(f"{number} {name}" for name, number in counts.items())
        self._outcome(f"{parts}: one transaction")

    def step(self, number: int, step: Step, *, revision: int | None, seconds: float) -> None:
        """Show one thing that was done, and how it is written in Python."""
        made = "nothing changed" if revision is None else f"revision {revision}"
        self._head(number, step.title, f"{made}, {_duration(seconds)}")
        self._code(step.code)
        self._outcome(step.outcome, refused=step.refused)

    def tree(self, path: str) -> None:
        """Show what is on the disk."""
        from rich.text import Text
        from rich.tree import Tree

        self._scene("The tree", "every document is a file")
        root = Tree(Text(f"{screen.visible(path)}/", style="bold"), guide_style="dim")
        folders, files = _names(path)
        for name in files:
            root.add(Text(name, style="dim"))
        for name in folders:
            if name.startswith("."):
                root.add(Text(f"{name}/  the journal, private to this machine", style="dim"))
            else:
                self._grow(root.add(Text(f"{name}/", style="cyan")), os.path.join(path, name))
        self._console.print(root)

    def _grow(self, branch: Tree, folder: str) -> None:
        from rich.text import Text

        folders, files = _names(folder)
        for name in folders:
            self._grow(branch.add(Text(f"{name}/", style="cyan")), os.path.join(folder, name))
        for name in files[:_NAMES_SHOWN]:
            branch.add(Text(self._cut(screen.visible(name), margin=12)))
        if len(files) > _NAMES_SHOWN:
            branch.add(Text(self._fit(f"… {len(files) - _NAMES_SHOWN} more"), style="dim"))

    def document(self, key: Key, document: Document, codec: str) -> None:
        """Show a document as its file has it, secrets masked."""
        from rich.syntax import Syntax

        name = f"{key.collection}/{short(key.id)}.{codec}"
        self._scene("One document", f"{name}: sorted keys, one field a line")
        text = write(masked(document), codec).rstrip("\n")
        if self._console.is_terminal and not self._ascii:
            shown = Syntax(text, codec, theme="ansi_dark", background_color="default")
            self._console.print(shown, width=self._width)
        else:
            for line in text.splitlines():
                self._line(line)

    def changes(self, since: int, changes: Sequence[Change]) -> None:
        """Show what the day changed, commit by commit, field by field, secrets masked."""
        self._scene("What changed", f"store.changes(since={since})")
        for revision, group in groupby(changes, key=lambda change: change.revision):
            members = list(group)
            words = (f"revision {revision}", members[0].actor, members[0].message)
            self._line("  ".join(word for word in words if word), "bold")
            for change in members[:_CHANGES_SHOWN]:
                self._change(change)
            if len(members) > _CHANGES_SHOWN:
                self._line(f"  … {len(members) - _CHANGES_SHOWN} more documents", "dim")

    def _change(self, change: Change) -> None:
        name = f"{change.key.collection}/{short(change.key.id)}"
        if change.before is None:
            self._line(f"  + {name}  {_told(change.after)}", "green")
        elif change.after is None:
            self._line(f"  - {name}  {_told(change.before)}", "red")
        else:
            self._line(f"  ~ {name}", "yellow")
            for difference in change.diff:
                self._line(self._cut(f"      {_in_words(difference)}"))

    def closing(self, path: str, subject: Key) -> None:
        """Say where the store is and what to do next."""
        self._scene("Yours to look at", screen.visible(os.path.abspath(path)))
        self._line(f"  cd {shlex.quote(path)}", "green")
        for code, meaning in (
            ("filestore ls volumes status=in-use", "which volumes are in use?"),
            (f"filestore edit {subject.collection}/{subject.id}", "change one in your editor"),
            ("git init && git add . && git status -s", "keep it in git"),
        ):
            self._line(f"  # {meaning}", "dim")
            self._line(f"  {code}", "green")

    def _scene(self, title: str, note: str) -> None:
        from rich.text import Text

        self._line()
        parts = ((self._fit("── "), "dim"), (title, "bold cyan"), (f"  {self._fit(note)}", "dim"))
        self._console.print(Text.assemble(*parts), soft_wrap=True)
        self._line()

    def _head(self, number: int, title: str, note: str) -> None:
        from rich.text import Text

        self._line()
        head = Text.assemble((f" {number}  ", "bold cyan"), (title, "bold"))
        gap = self._width - head.cell_len - len(note)
        if note:
            head.append(" " * max(2, gap) + note, "dim")
        self._console.print(head, soft_wrap=True)

    def _code(self, code: str) -> None:
        for line in code.splitlines():
            self._line(self._cut(f"      {line}"), "green")

    def _outcome(self, text: str, *, refused: bool = False) -> None:
        mark, style = ("✗", "red") if refused else ("→", "")
        lines = textwrap.wrap(screen.visible(text), self._width - 6, break_long_words=False)
        for index, line in enumerate(lines):
            self._line(f"    {mark if index == 0 else ' '} {line}", style)

    def _line(self, text: str = "", style: str = "") -> None:
        from rich.text import Text

        self._console.print(Text(self._fit(text), style=style), soft_wrap=True)

    def _cut(self, text: str, *, margin: int = 0) -> str:
        """``text`` in one line of the console, its end left out if need be."""
        from rich.text import Text

        shown = Text(screen.visible(text))
        shown.truncate(self._width - margin, overflow="ellipsis")
        return self._fit(shown.plain)

    def _fit(self, text: str) -> str:
        """``text`` in the characters that the console has."""
        if not self._ascii:
            return text
        for mark, plain in _ASCII.items():
            text = text.replace(mark, plain)
        return text.encode("ascii", "backslashreplace").decode("ascii")


def _names(folder: str) -> tuple[list[str], list[str]]:
    """The folders and the files in a folder, sorted."""
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    return (
        [name for name, is_folder in found if is_folder],
        [name for name, is_folder in found if not is_folder],
    )


def _told(document: Document | None) -> str:
    """A document that came or went, in a few words."""
    fields = document or {}
    name = fields.get("display_name")
    return f'"{screen.visible(name)}"' if isinstance(name, str) else f"{len(fields)} fields"


def _in_words(difference: Difference) -> str:
    """One field's difference, with secrets masked."""
    field = difference.field
    old, new = (compact(masked(side, field)) for side in (difference.old, difference.new))
    if difference.kind is Kind.ADDED:
        return f"{field}: {new} (new)"
    if difference.kind is Kind.REMOVED:
        return f"{field}: {old} (gone)"
    return f"{field}: {old} → {new}"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
