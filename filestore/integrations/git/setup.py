"""Telling a repository how a store's documents are merged and shown.

``.gitattributes`` says which driver a file has, and travels with the repository.  What the driver
is stands in the configuration, which no clone brings along: each clone needs this once.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Final

from filestore.engine.layout import RUNTIME
from filestore.integrations.git.run import GitError
from filestore.integrations.git.saving import write_file

if TYPE_CHECKING:
    from filestore.integrations.git.repository import Repository

ATTRIBUTES: Final = {"merge": "filestore", "diff": "filestore", "eol": "lf"}

# Both fall back on what git does without them: a driver that can't be run would leave ours in the
# file as if it was merged, and a conversion that can't be run would end `git diff`.
_MERGE: Final = (
    "{command} git merge-driver %O %A %B %L %P %S %X %Y; r=$?; test $r -lt 2 || "
    "{{ git merge-file --marker-size=%L -L ours -L base -L theirs %A %O %B; r=$?; "
    "test $r -eq 0 || r=1; }}; exit $r"
)
_TEXTCONV: Final = 'f() {{ {command} git textconv "$1" 2>/dev/null || cat -- "$1"; }}; f'


def own_command() -> str:
    """How a shell runs this very installation.

    ``-P``: Python must not import what a repository has in its top folder.
    """
    return f"{shlex.quote(sys.executable)} -P -m filestore"


def settings(command: str) -> dict[str, str]:
    """What the repository's configuration has to say."""
    return {
        "merge.filestore.name": "documents of a filestore, field by field",
        # In a driver, % begins what git fills in.
        "merge.filestore.driver": _MERGE.format(command=command.replace("%", "%%")),
        "diff.filestore.textconv": _TEXTCONV.format(command=command),
    }


RENAMES: Final = {"merge.renames": "false", "merge.directoryRenames": "false"}
"""Documents are alike, so git takes one that was deleted and another that was added
for a rename, and would merge what the other side did to the one into the other."""


def set_up(
    repository: Repository, *, command: str | None = None, renames: bool = False
) -> list[str]:
    """Write the attributes and the configuration; what was done, a line each; none if all was so.

    Lines of the files that are the user's stay as they are.  ``renames`` leaves git's search for
    renames on.  Raises GitError, OSError.
    """
    done = []
    if wrong := _wrong_attributes(repository):
        line = f"*{repository.codec.suffix} text eol=lf merge=filestore diff=filestore"
        _put_first(os.path.join(repository.root, ".gitattributes"), line)
        done.append(f".gitattributes: {line}")
        if wrong := _wrong_attributes(repository):
            raise GitError(
                ".gitattributes: another line sets "
                + ", ".join(f"{name}={value}" for name, value in wrong.items())
                + f" for *{repository.codec.suffix}: remove that from it",
                path=repository.root,
            )
    if not ignores_runtime(repository):
        _put_first(os.path.join(repository.root, ".gitignore"), f"/{RUNTIME}/")
        done.append(f".gitignore: /{RUNTIME}/")
    wanted = settings(command or own_command()) | ({} if renames else RENAMES)
    for name, value in wanted.items():
        if configured(repository, name) != value:
            repository.git.run("config", "--local", "--replace-all", name, value)
            done.append(f"git config {name}")
    return done


def _wrong_attributes(repository: Repository) -> dict[str, str]:
    return {
        name: value
        for name, value in attributes(repository).items()
        if ATTRIBUTES.get(name, value) != value
    }


def attributes(repository: Repository) -> dict[str, str]:
    """What git says of a document: merge, diff, eol, and others that somebody set."""
    probe = f"collection/document{repository.codec.suffix}"
    told = repository.git.run("check-attr", "-z", "--stdin", *ATTRIBUTES, feed=probe.encode())
    fields = told.decode().split("\0")
    return dict(zip(fields[1::3], fields[2::3], strict=False))


def configured(repository: Repository, name: str) -> str | None:
    """A setting, from whichever of git's files it is."""
    done = repository.git.call("config", "-z", "--get", name, codes=(0, 1))
    return None if done.returncode else os.fsdecode(done.stdout).rstrip("\0")


def ignores_runtime(repository: Repository) -> bool:
    """Whether git leaves the store's runtime folder alone."""
    return repository.git.call(
        "check-ignore", "-q", "--no-index", f"{RUNTIME}/state", codes=(0, 1)
    ).returncode == 0  # fmt: skip


def _put_first(path: str, line: str) -> None:
    """Put a line in front of a file: what stands below it, the user's, counts for more."""
    if os.path.islink(path):
        raise GitError(f"{path}: is a link, which git does not follow: make it a file", path=path)
    try:
        with open(path, "rb") as file:
            rest = file.read()
    except FileNotFoundError:
        rest = b""
    write_file(path, f"{line}\n".encode() + rest, mode=0o666)
