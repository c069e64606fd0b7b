"""A merge may be right for each document and wrong for all: `filestore check` tells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.git.work import Work


def test_a_snapshot_of_a_volume_that_the_other_side_deleted_is_found(work: Work) -> None:
    work.commit(v={"display_name": "db"})
    work.git("checkout", "-q", "-b", "other")
    work.write("snapshots/s", {"volume_id": "v"})
    work.commit("a snapshot", w={"display_name": "web"})
    work.git("checkout", "-q", "main")
    work.commit("gone", v=None, x={"display_name": "web"})
    work.git("merge", "-q", "-m", "merge", "other")
    found = [json.loads(line) for line in work.filestore("check", "--json").out.splitlines()]
    assert {(each["kind"], each["collection"], each["id"]) for each in found} == {
        ("volume-gone", "snapshots", "s"),
        ("same-name", "volumes", "x"),
    }
