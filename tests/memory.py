"""How much memory a call takes."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def grown_by(call: Callable[[], object]) -> int:
    """How much memory a call takes at most, with what it returns, in bytes.

    Of this thread and all others.
    """
    gc.collect()
    tracer = sys.gettrace()
    sys.settrace(None)  # what measures the tests' coverage would count as well
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        result = call()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        sys.settrace(tracer)
    del result
    return most - before
