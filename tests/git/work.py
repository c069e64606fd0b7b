"""A work tree with a store in it, as tests drive it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filestore.codec import canonical, codec_named, decode

ROOT = Path(__file__).parents[2]


@dataclass
class Ran:
    code: int
    out: str
    err: str


@dataclass
class Work:
    """A work tree with a store in it."""

    path: Path
    codec: str = "json"

    def run(self, *words: str | Path, code: int | None = 0, **options: Any) -> Ran:
        done = subprocess.run(
            [str(word) for word in words], cwd=self.path, capture_output=True, **options
        )
        ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
        if code is not None:
            assert ran.code == code, ran
        assert "Traceback" not in ran.err, ran
        return ran

    def git(self, *words: str | Path, code: int | None = 0, **options: Any) -> Ran:
        return self.run("git", *words, code=code, **options)

    def filestore(self, *words: str | Path, code: int | None = 0, **options: Any) -> Ran:
        return self.run(sys.executable, "-P", "-m", "filestore", *words, code=code, **options)

    def file(self, name: str) -> Path:
        return self.path / f"{name}.{self.codec}"

    def write(self, name: str, document: dict[str, Any]) -> None:
        path = self.file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(codec_named(self.codec).encode(canonical(document)))

    def read(self, name: str) -> dict[str, Any]:
        return decode(codec_named(self.codec).parse(self.file(name).read_bytes()))

    def commit(self, message: str = "a change", **documents: dict[str, Any] | None) -> None:
        """Commit these documents of the collection ``volumes``; None removes one."""
        for id, document in documents.items():
            if document is None:
                self.file(f"volumes/{id}").unlink()
            else:
                self.write(f"volumes/{id}", document)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)

    def both(
        self,
        base: dict[str, dict[str, Any] | None],
        ours: dict[str, dict[str, Any] | None],
        theirs: dict[str, dict[str, Any] | None],
    ) -> None:
        """Two branches, ``main`` (checked out) and ``other``, that diverged from ``base``."""
        self.commit("base", **base)
        self.git("checkout", "-q", "-b", "other")
        self.commit("theirs", **theirs)
        self.git("checkout", "-q", "main")
        self.commit("ours", **ours)


def make(path: Path, codec: str = "json", *, drivers: bool = True, folder: str = "") -> Work:
    """A repository with a store in its top or in a folder, and the drivers registered."""
    path.mkdir()
    Work(path).git("init", "-q")
    work = Work(path / folder, codec)
    Work(path).filestore("init", folder or ".", "--codec", codec)
    if drivers:
        work.filestore("git", "setup")
    work.git("add", "-A")
    work.git("commit", "-q", "-m", "a store")
    return work
