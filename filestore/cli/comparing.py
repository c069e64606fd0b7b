"""The commands that compare, and make one like the other: ``diff`` and ``apply``."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import click

from filestore.cli import screen
from filestore.cli.exits import Exit, exit_of
from filestore.cli.showing import change_lines, change_value
from filestore.cli.sources import documents, is_moment, read_dump
from filestore.cli.target import (
    examples,
    json_option,
    message_option,
    open_store,
    place,
    quiet_option,
    store_option,
)
from filestore.codec import decode
from filestore.comparison import differing
from filestore.diff import diff as diff_of
from filestore.location import is_path
from filestore.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from filestore.backend import Unreadable
    from filestore.model import Document, Key
    from filestore.plan import Documents
    from filestore.store import Store


class _Differing(NamedTuple):
    key: Key
    before: Document | None
    after: Document | None


@click.command(
    epilog=examples(
        "diff 12 15",
        "diff 12",
        "diff",
        "diff git:HEAD~1",
        "diff git:v1.2 git:main",
        "diff ../other-lab backup.jsonl",
    )
)
@click.argument("one", metavar="[A]", required=False, callback=place)
@click.argument("other", metavar="[B]", required=False, callback=place)
@store_option
@click.option("--exit-code", is_flag=True, help="Exit 1 when they differ.")
@json_option("JSON lines, one document that differs a line")
def diff(
    *, one: str | None, other: str | None, location: str | None, exit_code: bool, as_json: bool
) -> None:
    """Tell what differs from A to B, field by field.

    A and B are revisions, revisions of git (git:NAME), stores, folders of
    documents, or dumps (what ls COLLECTION --json writes; - is standard input).
    Without B, the store as it is.  Without both, what has been edited by hand
    and no commit tells yet.
    """
    differs = False
    with ExitStack() as stack:
        # One for both: of two moments of one store, only what was changed in between is read.
        store = cache(lambda: stack.enter_context(open_store(location, readonly=True)))
        found: Iterable[_Differing | Unreadable]
        if one is None:
            found = _edited(store())
        else:
            before = stack.enter_context(documents(one, store))
            after = store() if other is None else stack.enter_context(documents(other, store))
            found = _compare(before, after)
        unreadable: Exit | None = None
        for each in found:
            if isinstance(each, _Differing):
                differs = True
                _show(each, as_json=as_json)
            else:  # which hides no other
                screen.complain(each.message)
                unreadable = unreadable or exit_of(each)
    if unreadable is not None or (differs and exit_code):
        click.get_current_context().exit(unreadable or Exit.NOT_FOUND)


def _edited(store: Store) -> Iterator[_Differing | Unreadable]:
    for each in store.unrecorded():
        if each.error is not None:
            yield each.error
            continue
        before, after = (
            None if data is None else decode(data) for data in (each.before, each.after)
        )
        yield _Differing(each.key, before, after)


def _compare(before: Documents, after: Documents) -> Iterator[_Differing | Unreadable]:
    for each in differing(before, after):
        if isinstance(each, Exception):
            yield each
            continue
        key, *both = each
        yield _Differing(key, *(None if data is None else decode(data) for data in both))


def _show(each: _Differing, *, as_json: bool) -> None:
    if as_json:
        fields = diff_of(each.before, each.after)
        screen.machine(change_value(each.key, each.before, each.after, fields))
    else:
        screen.styled(change_lines(each.key, each.before, each.after, patch=True))


@click.command(
    epilog=examples(
        "apply lab/ --plan=plan.json",
        "apply plan.json --message 'as agreed'",
        "apply backup.jsonl --delete",
    )
)
@click.argument("source", metavar="SOURCE|PLAN", callback=place)
@store_option
@click.option(
    "--plan",
    "plan_file",
    metavar="FILE",
    is_flag=False,
    flag_value="",
    help="Only show what would change, and write the plan to FILE if one is given.",
)
@click.option(
    "--delete",
    is_flag=True,
    help="Delete what SOURCE does not have, in the collections that it has.",
)
@message_option
@json_option("the plan, or the revision, as one JSON value")
@quiet_option
def apply(
    *,
    source: str,
    location: str | None,
    plan_file: str | None,
    delete: bool,
    message: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Give the store the documents of SOURCE; or carry out a PLAN.

    All at once.  SOURCE is a revision, a revision of git (git:NAME), a store, a folder of
    documents, or a dump.  What it does not have stays, unless --delete is
    given.  A plan that was written with --plan is refused if any document that
    it saw has changed since.
    """
    with open_store(location, readonly=plan_file is not None) as store:
        plan = _plan(store, source, delete=delete)
        if plan_file is not None:
            _show_plan(plan, plan_file, as_json=as_json, quiet=quiet)
            return
        made = store.apply(plan, message=message)
    counts = plan.counts
    if as_json:
        screen.machine({"revision": made, **counts})
    elif made is None:
        screen.note("Nothing is to be changed", quiet=quiet)
    else:
        screen.note(f"{_told(plan)}, in revision {made}", quiet=quiet)


def _plan(store: Store, source: str, *, delete: bool) -> Plan:
    if not is_moment(source) and _may_be_plan(source):
        found = read_dump(source)
        if isinstance(found, Plan):
            if delete:
                raise click.UsageError("--delete is for a source: a plan says what it deletes")
            return found
        return store.plan(found, delete=delete)
    with documents(source, lambda: store) as wanted:
        return store.plan(wanted, delete=delete)


def _may_be_plan(source: str) -> bool:
    return is_path(source) and not os.path.isdir(source)


def _show_plan(plan: Plan, file: str, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        screen.machine(plan.to_json())
    elif not quiet:
        for step in plan.steps:
            before, after = (
                None if data is None else decode(data) for data in (step.before, step.after)
            )
            if step.before is None and step.etag is not None:  # of a plan that was read back
                screen.note(f"  {step.key}  {step.kind}", quiet=False)
            else:
                screen.styled(change_lines(step.key, before, after, patch=True))
        screen.note(_told(plan) if plan.steps else "Nothing is to be changed", quiet=quiet)
    if file:
        # It holds whole documents: nobody else's business.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as out:
            json.dump(plan.to_json(), out, sort_keys=True)
            out.write("\n")
        if not as_json:
            screen.note(f"The plan is in {file}: filestore apply {file}", quiet=quiet)


def _told(plan: Plan) -> str:
    counts = plan.counts
    return (
        f"{counts['create']} created, {counts['update']} updated, {counts['delete']} deleted,"
        f" {counts['unchanged']} as they were"
    )
