"""The git command, run in a folder."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar, cast

from filestore.errors import FilestoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

T = TypeVar("T")

# What a hook or an alias leaves behind would lead to another repository than the store's.
_ELSEWHERE: Final = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_LITERAL_PATHSPECS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)


class GitError(FilestoreError):
    """Git refused; the message is git's own."""


class Git:
    """Runs git in a folder, without a shell and without a terminal.  Safe for threads."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def run(
        self, *arguments: str, feed: bytes | None = None, codes: Collection[int] = (0,)
    ) -> bytes:
        """What the command wrote to its standard output.

        Raises GitError when it can't be run, or ends with a code that is not among ``codes``.
        """
        return self.call(*arguments, feed=feed, codes=codes).stdout

    def call(
        self, *arguments: str, feed: bytes | None = None, codes: Collection[int] = (0,)
    ) -> subprocess.CompletedProcess[bytes]:
        """The same, with the exit code."""
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=self.folder,
                env=environment(),
                input=feed or b"",
                capture_output=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise GitError(f"git cannot be run in {self.folder}: is it installed?") from error
        except OSError as error:
            raise GitError(f"git cannot be run: {error.strerror}") from error
        if done.returncode not in codes:
            raise GitError(refusal(arguments, done.stderr), path=self.folder)
        return done

    def text(self, *arguments: str) -> str:
        """What it wrote, as text without the newline at the end."""
        return os.fsdecode(self.run(*arguments)).rstrip("\n")

    def lines(self, *arguments: str, codes: Collection[int] = (0,)) -> list[str]:
        """What it wrote with ``-z``."""
        return [
            os.fsdecode(line) for line in self.run(*arguments, codes=codes).split(b"\0") if line
        ]


class Aside(Generic[T]):
    """A call that is made in a thread of its own; a context manager that waits for its end."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._told: T | None = None
        self._error: BaseException | None = None
        self._end = _aside(self._run)

    def _run(self) -> None:
        try:
            self._told = self._call()
        except BaseException as error:  # noqa: BLE001  # raised to who waits
            self._error = error

    def wait(self) -> T:
        """Wait for its end; what it returned.  Raises what it raised."""
        self._end()
        if self._error is not None:
            raise self._error
        return cast("T", self._told)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()


def _aside(work: Callable[[], None]) -> Callable[[], None]:
    """Work in a thread of its own, or at once where there can be none; what waits for its end."""
    thread = threading.Thread(target=work, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the system gives no more threads
        work()
        return lambda: None
    return thread.join


def environment() -> dict[str, str]:
    """The process's environment, without what would lead git to another repository."""
    inherited = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    # Messages that can be searched for, and nobody who could answer a question.
    return {**inherited, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def refusal(arguments: tuple[str, ...], stderr: bytes) -> str:
    """Why git refused, in a line."""
    told = stderr.decode(errors="replace").strip().splitlines()
    command = next((word for word in arguments if not word.startswith("-")), "")
    reason = next((line for line in told if line.startswith(("fatal:", "error:"))), "")
    reason = (reason or (told[-1] if told else "no reason given")).partition(": ")[2] or reason
    return f"git {command}: {reason or (told[-1] if told else 'no reason given')}"
