"""What the settings say of history, and which segments go by that."""

from __future__ import annotations

from typing import Any

import pytest

from filestore.engine.config import parse as parse_config
from filestore.errors import Corrupt
from filestore.retention import DEFAULT, FEED_SECONDS, Retention, Span, parse

DAY = 86400.0
NOW = 1000 * DAY


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({"age": "30d"}, Retention(age=30 * DAY)),
        ({"age": "1.5h"}, Retention(age=5400)),
        ({"age": "90 s"}, Retention(age=90)),
        ({"age": "2w", "revisions": 10}, Retention(age=14 * DAY, revisions=10)),
        ({"bytes": "64MiB"}, Retention(bytes=64 << 20)),
        ({"bytes": "1.5 GB"}, Retention(bytes=1_500_000_000)),
        ({"bytes": "10KB"}, Retention(bytes=10_000)),
        ({"bytes": 4096}, Retention(bytes=4096)),
    ],
)
def test_limits_are_read(limits: dict[str, Any], kept: Retention) -> None:
    assert parse({"retention": limits}) == kept


def test_without_a_word_the_default_counts() -> None:
    assert parse({}) == DEFAULT == Retention(bytes=64 << 20)


def test_a_store_may_keep_no_history() -> None:
    assert parse({"history": "none"}).nothing
    assert not DEFAULT.nothing


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"history": "all"}, "history"),
        ({"history": False}, "history"),
        ({"history": "none", "retention": {"age": "1d"}}, "leave out"),
        ({"retention": "30d"}, "retention must be"),
        ({"retention": {}}, "retention must be"),
        ({"retention": {"count": 5}}, "not count"),
        ({"retention": {"age": 30}}, "age"),
        ({"retention": {"age": "0d"}}, "age"),
        ({"retention": {"age": "30y"}}, "age"),
        ({"retention": {"age": "9" * 400 + "w"}}, "age"),
        ({"retention": {"revisions": 0}}, "history: none"),
        ({"retention": {"revisions": True}}, "revisions"),
        ({"retention": {"revisions": 1.5}}, "revisions"),
        ({"retention": {"revisions": 1 << 70}}, "revisions"),
        ({"retention": {"bytes": "64"}}, "bytes"),
        ({"retention": {"bytes": -1}}, "bytes"),
        ({"retention": {"bytes": "0MiB"}}, "bytes"),
        ({"retention": {"bytes": None}}, "bytes"),
    ],
)
def test_nonsense_is_refused_by_name(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        parse(fields)


def test_the_settings_file_says_it() -> None:
    raw = b"codec: json\nformat: 1\nid: x\nretention: {age: 30d, revisions: 10000, bytes: 64MiB}\n"
    assert parse_config(raw, "p").retention == Retention(30 * DAY, 10000, 64 << 20)
    assert parse_config(b"codec: json\nformat: 1\nid: x\nhistory: none\n", "p").retention.nothing
    with pytest.raises(Corrupt, match=r"filestore\.yaml: retention: age must be"):
        parse_config(
            b"codec: json\nformat: 1\nid: x\nretention: {age: soon}\n", "/s/filestore.yaml"
        )


def spans(*begun: float | None, size: int = 100) -> list[Span]:
    """Segments of a hundred commits each, begun so many seconds ago."""
    return [
        Span(number * 100 + 1, size, None if ago is None else NOW - ago)
        for number, ago in enumerate(begun)
    ]


OLD = (50 * DAY, 40 * DAY, 30 * DAY, 20 * DAY, 10 * DAY)


@pytest.mark.parametrize(
    ("kept", "gone"),
    [
        (Retention(), 0),
        (Retention(age=25 * DAY), 2),  # the third has commits of up to 20 days
        (Retention(age=30 * DAY), 1),
        (Retention(age=1), 4),
        (Retention(revisions=450), 0),
        (Retention(revisions=350), 1),
        (Retention(revisions=349), 1),
        (Retention(revisions=50), 4),
        (Retention(revisions=0), 4),
        (Retention(bytes=500), 0),
        (Retention(bytes=499), 1),
        (Retention(bytes=0), 4),
        (Retention(age=45 * DAY, revisions=250, bytes=450), 2),
    ],
)
def test_any_limit_that_is_past_lets_segments_go(kept: Retention, gone: int) -> None:
    assert kept.expired(spans(*OLD), 450, NOW) == gone


def test_what_feeds_may_still_read_is_kept_but_for_the_sake_of_space() -> None:
    fresh = spans(FEED_SECONDS - 1, FEED_SECONDS - 2, FEED_SECONDS - 3)
    assert Retention(revisions=0).expired(fresh, 300, NOW) == 0
    assert Retention(age=0.5).expired(fresh, 300, NOW) == 0
    assert Retention(bytes=150).expired(fresh, 300, NOW) == 2


def test_what_has_no_time_is_not_old() -> None:
    assert Retention(age=1).expired(spans(None, None, None), 300, NOW) == 0
    assert Retention(age=1).expired([], 0, NOW) == 0


@pytest.mark.parametrize(
    ("kept", "commits", "seconds", "size"),
    [
        (Retention(), None, None, 1000),
        (Retention(revisions=8000), 1000, None, 1000),
        (Retention(revisions=0), 64, None, 1000),
        (Retention(age=80), None, 10, 1000),
        (Retention(bytes=4000), None, None, 500),
        (Retention(bytes=8), None, None, 100),
        (Retention(bytes=1 << 40), None, None, 1000),
    ],
)
def test_segments_are_small_enough_for_what_is_kept(
    kept: Retention, commits: int | None, seconds: float | None, size: int
) -> None:
    assert kept.segment_commits == commits
    assert kept.segment_seconds == seconds
    assert kept.segment_bytes(1000, 100) == size
