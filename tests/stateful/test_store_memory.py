"""The state machine over the memory backend."""

from __future__ import annotations

from hypothesis import settings

from filestore import Store
from filestore.backends.memory import MemoryBackend
from tests.stateful.machine import StoreMachine


class MemoryMachine(StoreMachine):
    def open(self) -> Store:
        return Store(MemoryBackend())


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(settings.default, max_examples=60, stateful_step_count=40)
