"""Work in the background gives way to busy threads, and to nobody else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from filestore.engine import pace as pace_module
from filestore.engine.pace import Pace


class Clock:
    """A process of two threads: the one that asks, and another."""

    def __init__(self) -> None:
        self.now = self.own = self.other = 0.0
        self.waits: list[float] = []

    def work(self, own: float, other: float) -> None:
        self.now += own + other
        self.own += own
        self.other += other

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    times = SimpleNamespace(
        monotonic=lambda: clock.now,
        thread_time=lambda: clock.own,
        process_time=lambda: clock.own + clock.other,
    )
    monkeypatch.setattr(pace_module, "time", times)
    return clock


def test_it_waits_longer_than_it_worked_while_others_are_busy(clock: Clock) -> None:
    pace = Pace(clock.wait)
    pace.begin()
    clock.work(0.003, 0.001)
    pace()
    assert clock.waits == [0.006]
    clock.other += 0.005  # while it waited
    clock.work(0.003, 0.0)
    pace()
    assert clock.waits == [0.006, 0.006]
    clock.work(0.003, 0.0001)  # somebody looks whether there is anything to do
    pace()
    assert len(clock.waits) == 2


def test_a_thread_that_works_for_the_same_is_not_given_way_to(clock: Clock) -> None:
    pace = Pace(clock.wait)
    pace.aside = 1.0  # before
    pace.begin()
    clock.work(0.003, 0.001)
    pace.aside += 0.001
    pace()
    assert clock.waits == []
    clock.work(0.003, 0.002)
    pace.aside += 0.001
    pace()
    assert clock.waits == [0.006]


def test_a_short_piece_of_work_is_not_measured(clock: Clock) -> None:
    pace = Pace(clock.wait)
    pace.begin()
    clock.work(0.001, 0.0005)
    pace()
    assert clock.waits == []


@pytest.mark.parametrize("ended", [True, False])
def test_who_is_waited_for_does_not_wait(clock: Clock, ended: bool) -> None:
    pace = Pace(clock.wait)
    pace.begin()
    if ended:
        pace.end()
    else:
        pace.hurry = True
    clock.work(0.003, 0.003)
    pace()
    assert clock.waits == []
