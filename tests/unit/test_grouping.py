"""Which edits are one operation's: decided from the traces that git leaves."""

from __future__ import annotations

from dataclasses import dataclass, field

from filestore.engine import grouping
from filestore.engine.grouping import Changed, Grouping, Look, Operation, divided, told


def line(position: int, ended: int, text: str, actor: str | None = "Ann") -> Operation:
    return Operation(position, ended, actor, text)


@dataclass
class Traces:
    """A repository at a moment, and a clock."""

    now: float = 1000.0
    there: Look | None = field(default_factory=lambda: Look(0.0, False, 500.0, 500.0))
    lines: list[Operation] = field(default_factory=list)

    def look(self) -> Look | None:
        return self.there

    def operations(self) -> list[Operation]:
        return self.lines

    def clock(self) -> float:
        return self.now

    def grouping(self) -> Grouping:
        return Grouping(self, clock=self.clock, steady=self.clock)


def changed(*moments: float | None, size: int = 10) -> list[Changed]:
    return [Changed(moment, size) for moment in moments]


def test_nothing_is_waited_for_where_git_does_nothing() -> None:
    assert Traces().grouping().wait(1000.0) is None
    assert Traces(there=None).grouping().wait(1000.0) is None
    never = Traces(there=Look(0.0, False, 0.0, 0.0))
    assert never.grouping().wait(1000.0) is None


def test_an_operation_under_way_is_waited_for_as_long_as_it_changes_files() -> None:
    traces = Traces(there=Look(999.0, False, 500.0, 500.0))
    one = traces.grouping()
    assert one.wait(1000.0) is not None
    traces.now = 1001.9
    assert one.wait(1000.0) is not None
    traces.now = 1002.1
    assert one.wait(1000.0) is None, "a lock that somebody forgot"
    traces.now = 1000.0 + grouping.LONGEST_SECONDS
    assert one.wait(traces.now) is None, "a lock that somebody forgot, and a busy store"


def test_the_log_is_waited_for_a_moment_after_the_index() -> None:
    traces = Traces(there=Look(0.0, False, 999.9, 500.0))
    one = traces.grouping()
    assert one.wait(1000.0) is not None
    traces.there = Look(0.0, False, 999.9, 999.95)
    assert one.wait(1000.0) is None
    traces.there = Look(0.0, False, 999.9, 500.0)
    traces.now = 999.9 + grouping.LATE_SECONDS
    assert one.wait(1000.0) is None, "git add writes no log"


def test_steps_are_waited_for_until_nothing_happens_for_a_while() -> None:
    traces = Traces(there=Look(0.0, True, 999.9, 999.9))
    one = traces.grouping()
    assert one.wait(999.8) is not None
    traces.now = 1000.3
    assert one.wait(999.8) is None


def test_a_clock_that_runs_behind_the_files_holds_up_nothing() -> None:
    assert Traces(there=Look(0.0, False, 2000.0, 500.0)).grouping().wait(1000.0) is None


def test_what_an_operation_did_is_one_group_with_its_words() -> None:
    traces = Traces(
        there=Look(0.0, False, 999.9, 999.9), lines=[line(1, 999, "checkout: moving from a to b")]
    )
    one = traces.grouping()
    assert one.wait(1000.0) is None
    many = changed(*[999.5] * 1500, None)
    (group,) = one.groups(many)
    assert group.members == list(range(1501))
    assert (group.actor, group.message) == ("Ann", "checkout: moving from a to b")
    assert not one.full(1500, 9 << 20)
    assert one.full(grouping.OPERATION_DOCUMENTS, 0)
    assert one.full(0, grouping.OPERATION_BYTES)


def test_what_was_done_before_explains_nothing_that_comes_later() -> None:
    traces = Traces(
        there=Look(0.0, False, 999.9, 999.9), lines=[line(1, 999, "checkout: moving from a to b")]
    )
    one = traces.grouping()
    assert one.wait(1000.0) is None
    assert one.groups(changed(999.5))[0].message
    assert one.wait(1000.0) is None
    assert one.groups(changed(999.8))[0].message, "an event came late"
    assert one.wait(1000.0) is None
    (group,) = one.groups(changed(999.95))
    assert group.message is None, "after the log was written"
    traces.now, traces.there = 1001.0, Look(0.0, False, 1000.9, 1000.9)
    traces.lines.append(line(2, 1000, "reset: moving to HEAD"))
    assert one.wait(1001.0) is None
    assert [each.message for each in one.groups(changed(1000.5))] == ["reset: moving to HEAD"]


def test_events_that_have_not_become_hints_are_waited_for() -> None:
    traces = Traces(there=Look(0.0, False, 999.9, 999.9))
    one = traces.grouping()
    assert one.wait(1000.0, behind=True) is not None
    traces.now = 999.9 + grouping.STUCK_SECONDS
    assert one.wait(1001.0, behind=True) is None


def test_edits_that_nothing_explains_are_groups_of_few() -> None:
    one = Traces(there=Look(0.0, False, 500.0, 0.0)).grouping()
    assert one.wait(1000.0) is None
    assert one.full(grouping.MOST_DOCUMENTS, 0)
    assert one.full(1, grouping.MOST_BYTES)
    groups = one.groups(changed(*[999.5] * 2500))
    assert [len(group.members) for group in groups] == [1000, 1000, 500]
    assert [len(group.members) for group in one.groups(changed(*[999.5] * 3, size=5 << 20))] == [
        2,
        1,
    ]


def test_an_operation_without_a_log_is_one_group_if_it_was_seen() -> None:
    traces = Traces(there=Look(999.0, False, 500.0, 500.0))
    one = traces.grouping()
    assert one.wait(1000.0) is not None
    traces.now, traces.there = 1000.6, Look(0.0, False, 1000.0, 500.0)
    assert one.wait(1000.0) is None
    (group,) = one.groups(changed(*[999.5] * 2500))
    assert (len(group.members), group.message) == (2500, None)


def test_an_operation_without_a_log_is_one_group_if_it_ended_just_now() -> None:
    traces = Traces(there=Look(0.0, False, 999.9, 500.0), now=1000.5)
    one = traces.grouping()
    assert one.wait(1000.0) is None
    assert [len(group.members) for group in one.groups(changed(*[999.5] * 2500))] == [2500]
    assert len(one.groups(changed(*[1000.4] * 2500))) == 3, "what came later is another's"


def test_edits_made_before_are_apart() -> None:
    lines = [line(1, 900, "merge x: Fast-forward"), line(2, 990, "reset: moving to HEAD~1", "Bob")]
    groups = divided([100.0, 899.5, 990.2, None, 898.0, 950.0, 991.5], lines, None, 991.0)
    assert [(group.members, group.actor, group.message) for group in groups] == [
        ([0, 5, 6], None, None),
        ([1, 4], "Ann", "merge x: Fast-forward"),
        ([2, 3], "Bob", "reset: moving to HEAD~1"),
    ]


def test_what_came_shortly_before_and_changed_nothing_is_not_told() -> None:
    lines = [line(1, 998, "checkout: a"), line(2, 1000, "checkout: b"), line(3, 1000, "reset: c")]
    (group,) = divided([999.5, 1000.4], lines, None, 1000.9)
    assert group.message == "reset: c"
    (group,) = divided([997.5, 1000.4], lines, None, 1000.9)
    assert group.message == "checkout: a; checkout: b; reset: c"


def test_a_long_operation_explains_all_since_it_was_seen() -> None:
    lines = [line(1, 1000, "checkout: moving from a to b")]
    assert len(divided([941.0, 970.0, 1000.5], lines, 940.0, 1001.0)) == 1
    assert len(divided([941.0, 970.0, 1000.5], lines, None, 1001.0)) == 2


def test_deletions_alone_are_of_the_operation_that_was_seen() -> None:
    lines = [line(1, 1000, "checkout: moving from a to b")]
    seen = divided([None, None], lines, 999.0, 1001.0)
    assert seen[0].message == "checkout: moving from a to b"
    assert divided([None, None], lines, None, 1001.0)[0].message is None
    assert divided([], lines, 999.0, 1001.0) == []


def test_the_message_tells_the_last_of_many_steps() -> None:
    steps = [
        line(1, 1, "rebase (start): checkout main"),
        line(2, 1, "rebase (pick): one"),
        line(3, 1, "rebase (finish): returning to refs/heads/x"),
    ]
    assert told(steps) == "rebase (finish): returning to refs/heads/x"
    picks = [line(n, 1, f"cherry-pick: {n}") for n in range(5)]
    assert told(picks) == "2 more; cherry-pick: 2; cherry-pick: 3; cherry-pick: 4"
