"""``demo``: a store in a folder of its own, a day of work in it, and what came of it."""

from __future__ import annotations

import os
import time
from itertools import count, groupby
from typing import TYPE_CHECKING, Any, Final

import click

import filestore
from filestore.cli import screen
from filestore.cli.day import day, load, short
from filestore.cli.exits import Refused
from filestore.cli.masking import masked
from filestore.cli.target import user
from filestore.cli.values import FORMS, compact, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.tree import Tree

    from filestore.model import Change, Key
    from filestore.store import Store

FOLDER: Final = "filestore-demo"
_WIDTH: Final = 80
_NAMES_SHOWN: Final = 2
_CHANGES_SHOWN: Final = 2


@click.command()
@click.argument("path", required=False)
@click.option(
    "--codec", type=click.Choice(FORMS), default="json", show_default=True, help="The files' form."
)
def demo(path: str | None, codec: str) -> None:
    """Make a store, work in it for a day, and show what came of it.

    The store is made in PATH, or in a new folder filestore-demo here, and stays
    there for you to look at.  A folder that has something in it is never touched.
    """
    path = _new_folder(path)
    show = Stage(screen.console())
    with filestore.open(path, codec=codec, watch=False, actor=user()) as store:
        show.opening(path, codec)
        start = time.perf_counter()
        loaded = load(store)
        show.loaded(loaded, store.revision, time.perf_counter() - start)
        morning = store.revision
        _work(store, show)
        changes = list(store.changes(since=morning))
        subject = changes[0].key
        show.tree(path)
        show.document(subject, masked(store[subject.collection][subject.id]), codec)
        show.changes(morning, changes)
    show.closing(path, subject)


def _new_folder(path: str | None) -> str:
    """Make the folder that the store goes into."""
    if path is not None:
        os.makedirs(path, mode=0o700, exist_ok=True)
        if os.listdir(path):
            raise Refused(f"{path} is not empty: name a folder that is new or empty")
        return path
    for number in count(1):
        name = FOLDER if number == 1 else f"{FOLDER}-{number}"
        try:
            os.mkdir(name, mode=0o700)
        except FileExistsError:
            continue
        return name
    raise AssertionError("counting ended")


def _work(store: Store, show: Stage) -> None:
    before, start = store.revision, time.perf_counter()
    for number, step in enumerate(day(store), start=2):
        seconds = time.perf_counter() - start
        after = store.revision
        note = f"revision {after}" if after != before else "nothing has changed"
        show.step(number, step.title, f"{note}, {_duration(seconds)}", step.code)
        show.outcome(step.outcome, refused=step.refused)
        before, start = after, time.perf_counter()


class Stage:
    """The demo's words and colours; plain text where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, _WIDTH)
        self._plain = not (console.encoding or "").lower().startswith("utf")

    def opening(self, path: str, codec: str) -> None:
        self._line("filestore demo", "bold")
        self._line(f"A day in a small lab, through the public API.  The store is in {path}")
        self._line()
        option = "" if codec == "json" else f', codec="{codec}"'
        self.step(
            1, "Open a new store and load the lab", "", f'store = filestore.open("{path}"{option})'
        )

    def loaded(self, counts: dict[str, int], revision: int, seconds: float) -> None:
        total = sum(counts.values())
        parts = ", ".join(f"{number} {name}" for name, number in counts.items())
        self.outcome(parts)
        self.outcome(
            f"{total} documents in one transaction, {_duration(seconds)}: revision {revision}"
        )

    def step(self, number: int, title: str, note: str, code: str) -> None:
        """One thing that is done, and how it is written in Python."""
        from rich.text import Text

        head = Text.assemble((f" {number} ", "bold cyan"), (self._fit(title), "bold"))
        gap = self._width - head.cell_len - len(note)
        if gap >= 2:
            head.append(" " * gap + note, "dim")
        self._console.print(head)
        if gap < 2:
            self._line(f"    {note}", "dim")
        for line in code.splitlines():
            self._line(self._cut(f"    {line}"), "green")

    def outcome(self, text: str, *, refused: bool = False) -> None:
        """What came of it, indented and wrapped."""
        from rich.padding import Padding
        from rich.text import Text

        shown = Text(self._fit(screen.visible(text)), style="red" if refused else "")
        self._console.print(Padding(shown, (0, 0, 0, 4)), width=self._width)

    def tree(self, path: str) -> None:
        """What is on the disk."""
        from rich.text import Text
        from rich.tree import Tree

        self._heading("The tree", "every document is a file")
        root = Tree(Text(f"{path}/", style="bold"), guide_style="dim")
        folders, files = _names(path)
        for name in files:
            root.add(Text(name, style="dim"))
        for name in folders:
            branch = root.add(Text(f"{name}/", style="cyan"))
            if name.startswith("."):
                branch.label = Text.assemble((f"{name}/", "dim"), ("  the journal", "dim"))
            else:
                self._grow(branch, os.path.join(path, name))
        self._console.print(root)

    def _grow(self, branch: Tree, folder: str) -> None:
        from rich.text import Text

        folders, files = _names(folder)
        for name in folders:
            self._grow(branch.add(Text(f"{name}/", style="cyan")), os.path.join(folder, name))
        for name in files[:_NAMES_SHOWN]:
            branch.add(Text(self._cut(screen.visible(name), 12)))
        if len(files) > _NAMES_SHOWN:
            branch.add(Text(self._fit(f"… {len(files) - _NAMES_SHOWN} more"), style="dim"))

    def document(self, key: Key, document: dict[str, Any], codec: str) -> None:
        """One document as its file has it."""
        from rich.syntax import Syntax

        self._heading(
            "One document", f"{key.collection}/{short(key.id)}.{codec}: sorted keys, one a line"
        )
        text = write(document, codec).rstrip("\n")
        if self._console.is_terminal and screen.encodable(text):
            shown = Syntax(text, codec, theme="ansi_dark", background_color="default")
            self._console.print(shown, width=self._width)
            return
        for line in text.splitlines():
            self._line(self._fit(line))

    def changes(self, since: int, changes: Sequence[Change]) -> None:
        """What the day changed, commit by commit, field by field."""
        self._heading("What changed", f"store.changes(since={since})")
        for revision, group in groupby(changes, key=lambda change: change.revision):
            members = list(group)
            self._line(f"revision {revision}  {members[0].message or ''}".rstrip(), "bold")
            for change in members[:_CHANGES_SHOWN]:
                self._change(change)
            if len(members) > _CHANGES_SHOWN:
                self._line(self._fit(f"  … {len(members) - _CHANGES_SHOWN} more documents"), "dim")

    def _change(self, change: Change) -> None:
        name = f"{change.key.collection}/{short(change.key.id)}"
        if change.before is None:
            self._line(f"  + {name}  {len(change.after or {})} fields", "green")
            return
        if change.after is None:
            self._line(f"  - {name}", "red")
            return
        self._line(f"  ~ {name}", "yellow")
        for field, before, after in _differences(change):
            self._line(self._cut(self._fit(f"      {field}: {before} → {after}")))

    def closing(self, path: str, subject: Key) -> None:
        """Where it is, and what to do next."""
        self._heading("Yours to look at", os.path.abspath(path))
        for code, meaning in (
            (f"filestore -s {path} ls volumes status=in-use", "the volumes in use"),
            (f"filestore -s {path} edit volumes/{subject.id}", "change one in your editor"),
            (
                f"git init {path} && git -C {path} add . && git -C {path} status -s",
                "keep it in git",
            ),
        ):
            self._line(f"  # {meaning}", "dim")
            self._line(f"  {code}", "green")

    def _heading(self, title: str, note: str) -> None:
        from rich.text import Text

        self._line()
        rule = self._fit("── ")
        head = Text.assemble((rule, "dim"), (title, "bold"), (f"  {note}", "dim"))
        self._console.print(head)
        self._line()

    def _line(self, text: str = "", style: str = "") -> None:
        from rich.text import Text

        self._console.print(Text(text, style=style), soft_wrap=True)

    def _cut(self, text: str, margin: int = 0) -> str:
        from rich.text import Text

        shown = Text(text)
        shown.truncate(self._width - margin, overflow="crop")
        if len(shown) < len(text):
            shown.truncate(self._width - margin - 3, overflow="crop")
            shown.append(self._fit("…"))
        return shown.plain

    def _fit(self, text: str) -> str:
        """``text`` in the characters that the terminal has."""
        if not self._plain:
            return text
        for mark, plain in _PLAIN.items():
            text = text.replace(mark, plain)
        return text.encode("ascii", "backslashreplace").decode("ascii")


def _names(folder: str) -> tuple[list[str], list[str]]:
    """The folders and the files in a folder, sorted."""
    with os.scandir(folder) as entries:
        found = sorted((not entry.is_dir(follow_symlinks=False), entry.name) for entry in entries)
    return (
        [name for is_file, name in found if not is_file],
        [name for is_file, name in found if is_file],
    )


def _differences(change: Change) -> Iterable[tuple[str, str, str]]:
    """The fields that differ, before and after, with secrets masked."""
    for difference in change.diff:
        old, new = (masked(side, difference.field) for side in (difference.old, difference.new))
        yield difference.field, compact(old), compact(new)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


_PLAIN: Final = {"…": "...", "→": "->", "─": "-"}
