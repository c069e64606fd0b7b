"""The commands that look back: ``log``, ``show``, ``blame``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from filestore.cli import screen
from filestore.cli.showing import by_commit, commit_lines, commit_value, when
from filestore.cli.target import (
    collection_option,
    examples,
    find_key,
    json_option,
    open_history,
    store_option,
)
from filestore.cli.values import Whole, compact
from filestore.errors import HistoryGone, NotFound
from filestore.model import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore.blame import Blame
    from filestore.change import Change
    from filestore.model import Revision
    from filestore.store import Store

_WINDOW: Final = 64  # revisions to look at first; what is asked for is mostly new


@click.command(epilog=examples("log --limit 5", "log volumes/3f2a --patch", "log --since 40"))
@click.argument("name", metavar="[COLLECTION[/ID]]", required=False)
@collection_option
@store_option
@click.option("-n", "--limit", type=Whole(min=1), help="At most so many commits.")
@click.option("--since", type=Whole(min=0), default=0, help="Only what came after this revision.")
@click.option("-p", "--patch", is_flag=True, help="The fields that differ, old and new.")
@json_option("JSON lines, one commit a line")
def log(
    *,
    name: str | None,
    collection: str | None,
    location: str | None,
    limit: int | None,
    since: int,
    patch: bool,
    as_json: bool,
) -> None:
    """List the commits of the store or of a part, newest first.

    What was edited by hand while no program had the store open is recorded first.
    """
    shown = 0
    with open_history(location) as store:
        id = None
        if name is None:
            pass
        elif collection is None and ("/" not in name[:-1] or name in store.collections()):
            collection = name.rstrip("/")
        else:
            collection, id = find_key(store, name, collection)
        for changes in _newest_first(store, since, collection, id):
            if as_json:
                screen.machine(commit_value(changes, patch=patch))
            else:
                screen.styled(commit_lines(changes, patch=patch))
            shown += 1
            if shown == limit:
                return
        oldest = store.horizon
    if not as_json and oldest > since:
        screen.aside(f"Commits up to revision {oldest} are no longer kept")
    if not (shown or since) and id is not None:
        raise NotFound(f"no commit that is kept is about {collection}/{id}")


def _newest_first(
    store: Store, since: Revision, collection: str | None, id: str | None
) -> Iterator[list[Change]]:
    """The commits back to ``since``, from windows that grow as one looks further back."""
    if id is not None:
        yield from reversed(list(by_commit(store.changes(since, collection, id))))
        return
    newest, size = store.revision, _WINDOW
    bottom = max(since, store.horizon)
    while newest > bottom:
        oldest = max(bottom, newest - size)
        window = []
        for commit in by_commit(store.changes(oldest, collection)):
            if commit[0].revision > newest:
                break
            window.append(commit)
        yield from reversed(window)
        newest, size = oldest, size * 2


@click.command(epilog=examples("show 12", "show 12 --json"))
@click.argument("revision", type=Whole(min=1))
@store_option
@json_option("one JSON value, the commit with the fields that differ")
def show(*, revision: int, location: str | None, as_json: bool) -> None:
    """Print one commit: who, when, why, and each field it changed."""
    with open_history(location) as store:
        changes = commit_changes(store, revision)
    if as_json:
        screen.machine(commit_value(changes, patch=True))
    else:
        screen.styled(commit_lines(changes, patch=True))


def commit_changes(store: Store, revision: int) -> list[Change]:
    """What one commit changed.  Raises NotFound, HistoryGone."""
    if revision > store.revision:
        raise NotFound(f"there is no revision {revision}: the newest is {store.revision}")
    if revision <= store.horizon:
        raise HistoryGone(
            f"revision {revision} is no longer kept: the oldest commit is {store.horizon + 1}"
        )
    found = next(by_commit(store.changes(revision - 1)), None)
    if found is None or found[0].revision != revision:
        raise NotFound(f"revision {revision} is not kept")
    return found


@click.command(epilog=examples("blame volumes/3f2a"))
@click.argument("name", metavar="COLLECTION/ID")
@collection_option
@store_option
@json_option("JSON lines, one field a line")
def blame(*, name: str, collection: str | None, location: str | None, as_json: bool) -> None:
    """Tell who set each field of a document, when, in which commit."""
    with open_history(location) as store:
        key = find_key(store, name, collection)
        fields = store.blame(key.collection, key.id)
        oldest = store.horizon
    if as_json:
        for each in fields:
            screen.machine(each.to_json())
        return
    screen.table(
        ("FIELD", "REVISION", "WHEN", "WHO", "VALUE", "MESSAGE"),
        [
            (
                each.field,
                _revision(each, oldest),
                "" if each.time is None else when(each.time),
                each.actor or "",
                compact(each.value),
                each.message or "",
            )
            for each in fields
        ],
        right=frozenset({1}),
    )


def _revision(each: Blame, oldest: Revision) -> str:
    if each.revision is not None:
        return str(each.revision)
    if each.origin is Origin.EXTERNAL:
        return "edited"
    return f"<= {oldest}" if oldest else "before"
