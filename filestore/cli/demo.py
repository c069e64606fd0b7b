"""``demo``: a store in a folder of its own, a day of work in it, and what came of it."""

from __future__ import annotations

import os
import time
from itertools import count
from typing import TYPE_CHECKING, Final

import click

import filestore
from filestore.cli import screen
from filestore.cli.day import day, load
from filestore.cli.exits import Refused
from filestore.cli.stage import Stage
from filestore.cli.target import place, user
from filestore.cli.values import FORMS

if TYPE_CHECKING:
    from filestore.store import Store

FOLDER: Final = "filestore-demo"


@click.command()
@click.argument("path", required=False, callback=place)
@click.option(
    "--codec", type=click.Choice(FORMS), default="json", show_default=True, help="The files' form."
)
def demo(*, path: str | None, codec: str) -> None:
    """Make a store, work in it for a day, and show what came of it.

    The store is made in PATH, or in a new folder filestore-demo here, and stays
    there for you to look at.  A folder that has something in it is never touched.
    """
    path = _new_folder(path)
    show = Stage(screen.console())
    show.opening(path)
    start = time.perf_counter()
    with filestore.open(path, codec=codec, watch=False, actor=user()) as store:
        counts = load(store)
        morning = store.revision
        show.loaded(path, codec, counts, revision=morning, seconds=time.perf_counter() - start)
        _work(store, show)
        changes = list(store.changes(since=morning))
        subject = changes[0].key
        show.tree(path)
        show.document(subject, store[subject.collection][subject.id], codec)
        show.changes(morning, changes)
    show.closing(path, subject)


def _new_folder(path: str | None) -> str:
    """Make the folder that the store goes into."""
    if path is not None:
        os.makedirs(path, mode=0o700, exist_ok=True)
        if os.listdir(path):
            raise Refused(f"{path} is not empty: name a folder that is new or empty")
        return path
    for number in count(1):
        name = FOLDER if number == 1 else f"{FOLDER}-{number}"
        try:
            os.mkdir(name, mode=0o700)
        except FileExistsError:
            continue
        return name
    raise AssertionError("counting ended")


def _work(store: Store, show: Stage) -> None:
    before, start = store.revision, time.perf_counter()
    for number, step in enumerate(day(store), start=2):
        seconds = time.perf_counter() - start
        after = store.revision
        show.step(number, step, revision=after if after != before else None, seconds=seconds)
        before, start = after, time.perf_counter()
