"""Commits to git that are made by themselves."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from filestore.closing import Closing
from filestore.errors import Closed, FilestoreError

if TYPE_CHECKING:
    from collections.abc import Callable


class Batch(Closing):
    """Commits that are made by themselves; a context manager.  See
    :meth:`filestore.integrations.git.commits.StoreGit.batch`.
    """

    def __init__(
        self,
        commit: Callable[[str | None], str | None],
        every: float | None,
        message: str | None,
        *,
        on_close: bool,
    ) -> None:
        self._commit = commit
        self._every = every
        self._message = message
        self._on_close = on_close
        self._process = os.getpid()
        self._ending = threading.Event()
        self._closed = False
        self.trouble: FilestoreError | None = None
        self._thread: threading.Thread | None = None
        if every is not None:
            if every <= 0:
                raise ValueError(f"every must be more than 0 seconds, not {every}")
            self._thread = threading.Thread(target=self._run, name="filestore-git", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(self._every):
            try:
                self._commit(self._message)
                self.trouble = None
            except Closed:
                return
            except FilestoreError as error:
                self.trouble = error

    def close(self) -> None:
        """Wait for a commit that is being made, and make the last one; idempotent."""
        if self._closed or self._process != os.getpid():
            return
        self._closed = True
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        if self._on_close:
            self._commit(self._message)
