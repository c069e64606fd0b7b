"""What in a repository keeps a store from being kept well, and how to mend it.  Changes nothing."""

from __future__ import annotations

import os
import subprocess
import tempfile
import unicodedata
from itertools import chain
from typing import TYPE_CHECKING, Final

from filestore.engine import config as configuration
from filestore.engine.layout import CONFIG, RUNTIME
from filestore.errors import FilestoreError
from filestore.integrations.git.conflicts import find_conflicts, read_file
from filestore.integrations.git.run import environment
from filestore.integrations.git.setup import (
    ATTRIBUTES,
    RENAMES,
    attributes,
    configured,
    ignores_runtime,
)
from filestore.problem import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from filestore.integrations.git.repository import Repository
    from filestore.model import Key

_SHOWN: Final = 20
"""Documents that a problem of many is told of one by one."""


def examine(repository: Repository) -> list[Problem]:
    """Every problem, the store's own files first.  Raises GitError, StorageError."""
    return list(
        chain(
            _settings(repository),
            _driver(repository),
            _runtime(repository),
            _conflicts(repository),
            _tracking(repository),
            _line_endings(repository),
            _names(repository),
            _shared_id(repository),
        )
    )


def _settings(repository: Repository) -> Iterator[Problem]:
    suffix = repository.codec.suffix
    given = attributes(repository)
    for name, value in ATTRIBUTES.items():
        if given.get(name) != value:
            yield Problem(
                "attribute-missing",
                f"git does not give *{suffix} the attribute {name}={value} (it has"
                f" {given.get(name, 'none')}): filestore git setup",
                path=".gitattributes",
            )
    git = repository.git
    tracked = set(git.lines("ls-files", "-z", "--", CONFIG, ".gitattributes", ".gitignore"))
    for name in (CONFIG, ".gitattributes"):
        if name not in tracked:
            yield Problem(
                "not-tracked",
                f"{name} is not in git, so a clone lacks it: git add -f {name}",
                path=name,
            )


def _driver(repository: Repository) -> Iterator[Problem]:
    command = configured(repository, "merge.filestore.driver")
    if command is None:
        yield Problem(
            "driver-missing",
            "the merge driver is named in .gitattributes and not registered in this clone, so git"
            " merges line by line: filestore git setup",
        )
    elif not _works(command):
        yield Problem(
            "driver-broken",
            "the registered merge driver does not merge (was filestore moved or removed?):"
            " filestore git setup",
        )
    if configured(repository, "diff.filestore.textconv") is None:
        yield Problem(
            "driver-missing",
            "the diff driver is not registered in this clone, so git diff shows lines and not"
            " fields: filestore git setup",
            severity=Severity.WARNING,
        )
    for name, value in RENAMES.items():
        if configured(repository, name) != value:
            yield Problem(
                "renames",
                f"git may take a document that was deleted and another that was added for a rename"
                f" and merge changes of the one into the other: git config {name} {value}",
                severity=Severity.WARNING,
            )


def _works(command: str) -> bool:
    """Whether the driver merges two fields whose lines touch, which no merge of lines does."""
    sides = {"%O": '{"a": 1, "b": 1}', "%A": '{"a": 2, "b": 1}', "%B": '{"a": 1, "b": 2}'}
    with tempfile.TemporaryDirectory() as folder:
        for mark, text in sides.items():
            with open(os.path.join(folder, mark[1]), "w", encoding="ascii") as file:
                file.write(text)
            command = command.replace(mark, mark[1])
        for mark, text in (("%L", "7"), ("%P", "x.json"), ("%S", "b"), ("%X", "o"), ("%Y", "t")):
            command = command.replace(mark, text)
        # As git does: by a shell, as the configuration of this very repository says.
        done = subprocess.run(
            ["sh", "-c", command.replace("%%", "%")],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        merged = read_file(os.path.join(folder, "A"))
    return done.returncode == 0 and merged == b'{\n  "a": 2,\n  "b": 2\n}\n'


def _runtime(repository: Repository) -> Iterator[Problem]:
    committed = repository.git.lines("ls-files", "-z", "--", RUNTIME)
    if committed:
        yield Problem(
            "runtime-committed",
            f"{len(committed)} files of {RUNTIME}/, which is this machine's own, are in git:"
            f" git rm -r --cached {RUNTIME}",
            path=RUNTIME,
        )
    if not ignores_runtime(repository):
        yield Problem(
            "runtime-not-ignored",
            f"git does not ignore {RUNTIME}/, which is this machine's own: filestore git setup",
            path=".gitignore",
        )


def _conflicts(repository: Repository) -> Iterator[Problem]:
    for conflict in find_conflicts(repository):
        told = "is settled and waits for: git add" if conflict.settled else "is in conflict"
        hint = "" if conflict.settled else ": filestore conflicts tells, filestore resolve settles"
        yield Problem(
            "conflict",
            f"{conflict.key} {told}{hint}",
            path=conflict.path,
            key=conflict.key,
            severity=Severity.WARNING if conflict.settled else Severity.ERROR,
        )


def _tracking(repository: Repository) -> Iterator[Problem]:
    git, pattern = repository.git, f"*{repository.codec.suffix}"
    others = ("ls-files", "-z", "--others")
    yield from _many(
        repository,
        git.lines(*others, "--exclude-standard", "--", pattern),
        "untracked",
        "is not in git: git add it, or filestore git commit",
        Severity.WARNING,
    )
    yield from _many(
        repository,
        git.lines(*others, "--ignored", "--exclude-standard", "--", pattern),
        "ignored",
        "is ignored by git, so no clone will have it: mend .gitignore (git check-ignore -v tells)",
    )
    links, sparse = [], []
    for line in git.lines("ls-files", "-z", "--stage", "-t", "--", pattern):
        about, _, path = line.partition("\t")
        if about.startswith("S "):
            sparse.append(path)
        if " 120000 " in f" {about} ":
            links.append(path)
    yield from _many(
        repository, links, "link", "is a symbolic link, which no store follows: make it a file"
    )
    yield from _many(
        repository,
        [path for path in sparse if not os.path.lexists(os.path.join(repository.root, path))],
        "sparse",
        "is left out by the sparse checkout, so the store takes it for deleted:"
        " git sparse-checkout disable",
    )


def _line_endings(repository: Repository) -> Iterator[Problem]:
    committed, here = [], []
    for line in repository.git.lines(
        "ls-files", "-z", "--eol", "--", f"*{repository.codec.suffix}"
    ):
        about, _, path = line.partition("\t")
        words = about.split()
        if words[0] in ("i/crlf", "i/mixed"):
            committed.append(path)
        elif words[1] in ("w/crlf", "w/mixed"):
            here.append(path)
    yield from _many(
        repository,
        committed,
        "line-endings",
        "is committed with CRLF, and differs in every line from what the store writes:"
        " git add --renormalize .",
        Severity.WARNING,
    )
    yield from _many(
        repository,
        here,
        "line-endings",
        "has CRLF here (core.autocrlf, or an editor): filestore git setup, then save it again",
        Severity.WARNING,
    )


def _names(repository: Repository) -> Iterator[Problem]:
    """Paths of one folder that some file systems take for one."""
    seen: dict[str, str] = {}
    for path in repository.git.lines("ls-files", "-z"):
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
        other = seen.setdefault(folded, path)
        if other != path and path.endswith(repository.codec.suffix):
            yield Problem(
                "case-collision",
                f"{path} and {other} are one file to macOS and Windows: no store names files so;"
                " rename one through filestore, or remove it",
                path=path,
            )


def _shared_id(repository: Repository) -> Iterator[Problem]:
    for path in repository.git.lines("ls-files", "-z", "--full-name", "--", f":(top)*{CONFIG}"):
        if os.path.basename(path) != CONFIG or path == f"{repository.prefix}{CONFIG}":
            continue
        depth = repository.prefix.count("/")
        raw = read_file(os.path.join(repository.root, *[".."] * depth, path))
        try:
            shared = raw is not None and configuration.parse(raw, path).id == repository.config.id
        except FilestoreError:
            continue
        if shared:
            yield Problem(
                "shared-id",
                f"{path} has this store's id, so it is a copy: journals could be taken for each"
                " other's; give it an id of its own (any new UUID)",
                path=path,
                severity=Severity.WARNING,
            )


def _many(
    repository: Repository,
    paths: Iterable[str],
    kind: str,
    message: str,
    severity: Severity = Severity.ERROR,
) -> Iterator[Problem]:
    """The documents among the paths; beyond some only their number."""
    found: Sequence[tuple[Key, str]] = [
        (key, path) for path in paths if (key := repository.key_of(path)) is not None
    ]
    for key, path in found[:_SHOWN]:
        yield Problem(kind, f"{key} {message}", path=path, key=key, severity=severity)
    if len(found) > _SHOWN:
        yield Problem(
            kind,
            f"so {'is' if len(found) == _SHOWN + 1 else 'are'} {len(found) - _SHOWN:,} more",
            severity=severity,
        )
