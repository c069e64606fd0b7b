"""Keeping the garbage collector out of bulk work.

Decoding a hundred thousand documents makes no garbage and many objects, which the
collector looks at over and over: it takes two thirds of the time.
"""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager, nullcontext
from typing import Final

BULK: Final = 1024
"""How many documents to take in one go."""

WORTH_PAUSING: Final = 64
"""How many documents make pausing worth its while."""


class _Pause(AbstractContextManager[None]):
    """Not by contextlib's decorator, which takes a microsecond."""

    def __enter__(self) -> None:
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()


_pause: Final = _Pause()
_go_on: Final = nullcontext()


def paused(count: int) -> AbstractContextManager[None]:
    """No collection inside the block, if ``count`` documents are worth it; of the whole process."""
    return _pause if count >= WORTH_PAUSING and gc.isenabled() else _go_on
