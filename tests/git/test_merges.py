"""Git merges documents field by field, whatever git command does the merging."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from filestore import conflict_text
from filestore.codec import decode
from tests.git.work import Work, make

if TYPE_CHECKING:
    from pathlib import Path

BASE: dict[str, Any] = {"id": "v", "name": "db", "size": 1, "status": "available"}
OURS = BASE | {"size": 2}
THEIRS = BASE | {"status": "in-use"}
BOTH = OURS | THEIRS | {"size": 2}
VOLUME: dict[str, Any] = {
    "attach_status": "detached",
    "bootable": False,
    "host": "node1@lvm#fast",
    "metadata": {"team": "billing"},
    "multiattach": False,
    "project_id": "cinderlib",
    "size": 1,
    "status": "available",
    "use_quota": True,
    "user_id": "cinderlib",
}


@pytest.mark.parametrize("codec", ["json", "yaml"])
@pytest.mark.parametrize("folder", ["", "a folder/state"])
def test_a_merge_of_different_fields_is_clean(codec: str, folder: str, tmp_path: Path) -> None:
    work = make(tmp_path / "work", codec, folder=folder)
    work.both({"v": BASE}, {"v": OURS}, {"v": THEIRS})
    work.git("merge", "-q", "-m", "merge", "other")
    assert work.read("volumes/v") == BOTH
    assert work.git("status", "--porcelain").out == ""


def test_lines_that_touch_are_no_conflict(work: Work) -> None:
    work.both({"v": {"a": 1, "b": 1}}, {"v": {"a": 2, "b": 1}}, {"v": {"a": 1, "b": 2, "c": 3}})
    work.git("merge", "-q", "-m", "merge", "other")
    assert work.read("volumes/v") == {"a": 2, "b": 2, "c": 3}


def test_a_rebase_merges(work: Work) -> None:
    work.both({"v": BASE}, {"v": OURS}, {"v": THEIRS})
    work.git("rebase", "-q", "other")
    assert work.read("volumes/v") == BOTH


def test_a_cherry_pick_merges(work: Work) -> None:
    work.both({"v": BASE}, {"v": OURS}, {"v": THEIRS})
    work.git("cherry-pick", "other")
    assert work.read("volumes/v") == BOTH


def test_a_revert_merges(work: Work) -> None:
    work.commit(v=BASE)
    work.commit("size", v=OURS)
    work.commit("status", v=BOTH)
    work.git("revert", "--no-edit", "HEAD~1")
    assert work.read("volumes/v") == THEIRS


def test_a_stash_merges(work: Work) -> None:
    work.commit(v=BASE)
    work.write("volumes/v", THEIRS)
    work.git("stash", "-q")
    work.commit(v=OURS)
    work.git("stash", "pop", "-q")
    assert work.read("volumes/v") == BOTH


def test_a_worktree_has_the_drivers_too(work: Work, tmp_path: Path) -> None:
    work.both({"v": BASE}, {"v": OURS}, {"v": THEIRS})
    work.git("worktree", "add", "-q", "-b", "third", tmp_path / "tree", "main")
    tree = Work(tmp_path / "tree")
    tree.git("merge", "-q", "-m", "merge", "other")
    assert tree.read("volumes/v") == BOTH


def test_one_document_added_on_both_sides_merges(work: Work) -> None:
    work.both({}, {"v": {"a": 1, "same": 1}}, {"v": {"b": 1, "same": 1}})
    work.git("merge", "-q", "-m", "merge", "other")
    assert work.read("volumes/v") == {"a": 1, "b": 1, "same": 1}


def test_a_conflict_is_around_its_field_and_the_rest_is_merged(work: Work) -> None:
    work.both(
        {"v": BASE}, {"v": BASE | {"size": 2, "a": 1}}, {"v": BASE | {"size": 3, "status": "x"}}
    )
    ran = work.git("merge", "-m", "merge", "other", code=1)
    assert "CONFLICT (content)" in ran.out
    text = work.file("volumes/v").read_bytes()
    held = conflict_text.read(text)
    assert held is not None
    hunk = text.split(b"<<<<<<<")[1].split(b">>>>>>>")[0].decode().splitlines()
    assert [line for line in hunk[1:] if not line.startswith(("|", "="))] == [
        '  "size": 2,',
        '  "size": 1,',
        '  "size": 3,',
    ]
    assert b'"a": 1' in text
    assert b'"status": "x"' in text


def test_a_rename_that_is_none_carries_no_change_to_another_document(work: Work) -> None:
    # To git, a volume that was deleted and one that was added look like one that was renamed.
    base = VOLUME | {"id": "aaaa"}
    work.both(
        {"aaaa": base},
        {"aaaa": None, "bbbb": VOLUME | {"id": "bbbb"}},
        {"aaaa": base | {"size": 9}},
    )
    ran = work.git("merge", "-m", "merge", "other", code=1)
    if "volumes/bbbb.json" not in ran.err:
        # This git keeps to merge.renames; older ones guess all the same, and the driver is asked.
        assert work.read("volumes/bbbb") == VOLUME | {"id": "bbbb"}
        assert work.git("status", "--porcelain").out == "DU volumes/aaaa.json\n"
        return
    held = conflict_text.read(work.file("volumes/bbbb").read_bytes())
    assert held is not None
    assert decode(held.ours) == VOLUME | {"id": "bbbb"}
    assert decode(held.theirs) == base | {"size": 9}


def test_branches_with_several_bases_merge(work: Work) -> None:
    work.both({"v": {"a": 0, "b": 0}}, {"v": {"a": 1, "b": 0}}, {"v": {"a": 0, "b": 1}})
    work.git("branch", "ours-before")
    work.git("merge", "-q", "-m", "merge", "other")
    work.commit(v={"a": 1, "b": 1, "c": 1})
    work.git("checkout", "-q", "other")
    work.git("merge", "-q", "-m", "merge", "ours-before")
    work.commit(v={"a": 1, "b": 1, "d": 1})
    work.git("merge", "-q", "-m", "merge", "main")
    assert work.read("volumes/v") == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_a_conflict_among_the_bases_is_no_guess(work: Work) -> None:
    work.both({"v": {"a": 0}}, {"v": {"a": 1}}, {"v": {"a": 2}})
    work.git("branch", "ours-before")
    work.git("merge", "-q", "-m", "merge", "other", code=1)
    work.commit("ours settled", v={"a": 0})
    work.git("checkout", "-q", "other")
    work.git("merge", "-q", "-m", "merge", "ours-before", code=1)
    work.commit("theirs settled", v={"a": 2})
    # Had the older base been asked, 0 would look untouched, and be lost.
    work.git("merge", "-q", "-m", "merge", "main", code=1)
    held = conflict_text.read(work.file("volumes/v").read_bytes())
    assert held is not None
    assert (held.ours, held.theirs) == (b'{\n  "a": 2\n}\n', b'{\n  "a": 0\n}\n')


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"[]\n",
        b'{"a": 1, "a": 2}\n',
        b'{"a": NaN}\n',
        b"<<<<<<< a\n{}\n=======\n{}\n>>>>>>> b\n",
        b"\xff\xfe{\n",
        b"{}\x00\n",
        b'{"a": ' + b"[" * 5000 + b"\n",
        b'{"\xed\xa0\x80": 1}\n',
    ],
)
def test_a_file_that_is_no_document_is_merged_by_git_and_told_to_be_in_conflict(
    broken: bytes, work: Work
) -> None:
    work.commit(v=BASE)
    work.git("checkout", "-q", "-b", "other")
    work.file("volumes/v").write_bytes(broken)
    work.git("commit", "-q", "-a", "-m", "broken")
    work.git("checkout", "-q", "main")
    work.commit(v=OURS)
    ran = work.git("merge", "-m", "merge", "other", code=1)
    assert "CONFLICT" in ran.out
    assert "filestore: volumes/v.json: theirs" in ran.err
    assert work.git("diff", "--name-only", "--diff-filter=U").out == "volumes/v.json\n"


def test_a_broken_base_is_no_reason_to_guess(work: Work) -> None:
    work.write("volumes/v", BASE)
    work.file("volumes/v").write_bytes(b"{")
    work.git("add", "-A")
    work.git("commit", "-q", "-m", "broken")
    work.git("checkout", "-q", "-b", "other")
    work.commit(v=THEIRS)
    work.git("checkout", "-q", "main")
    work.commit(v=OURS)
    work.git("merge", "-q", "-m", "merge", "other", code=1)
    assert b"<<<<<<<" in work.file("volumes/v").read_bytes()


def test_a_driver_that_is_gone_leaves_git_s_own_merge(work: Work) -> None:
    work.filestore("git", "setup", "--command", "/nowhere/filestore")
    work.both(
        {"v": BASE, "w": {str(n): 0 for n in range(9)}},
        {"v": OURS, "w": {str(n): int(n == 0) for n in range(9)}},
        {"v": BASE | {"size": 3}, "w": {str(n): int(n == 8) for n in range(9)}},
    )
    assert "size" in work.git("diff", "HEAD~1").out
    work.git("merge", "-q", "-m", "merge", "other", code=1)
    assert work.git("diff", "--name-only", "--diff-filter=U").out == "volumes/v.json\n"
    text = work.file("volumes/v").read_text()
    assert text.count("<<<<<<< ours") == text.count(">>>>>>> theirs") == 1
    assert work.read("volumes/w") == {str(n): int(n in (0, 8)) for n in range(9)}


def test_a_driver_that_is_not_registered_leaves_git_s_own_merge(tmp_path: Path) -> None:
    work = make(tmp_path / "work", drivers=False)
    work.both({"v": BASE}, {"v": OURS}, {"v": BASE | {"size": 3}})
    work.git("merge", "-q", "-m", "merge", "other", code=1)
    assert "<<<<<<< HEAD" in work.file("volumes/v").read_text()


def test_a_repository_can_bring_no_code_of_its_own(work: Work) -> None:
    (work.path / "orjson.py").write_text("open('/tmp/never', 'w')\nraise SystemExit(0)\n")
    shutil.copytree(work.path, work.path / "filestore", ignore=shutil.ignore_patterns("*"))
    (work.path / "filestore" / "__init__.py").write_text("raise SystemExit(0)\n")
    work.both({"v": BASE}, {"v": OURS}, {"v": THEIRS})
    work.git("merge", "-q", "-m", "merge", "other")
    assert work.read("volumes/v") == BOTH


@pytest.mark.parametrize("id", ["a b", "it's", "$(touch x)", "-n", "ü", "a/b", "100%", "%O"])
def test_odd_ids_merge(id: str, work: Work) -> None:
    import filestore

    def put(document: dict[str, Any]) -> None:
        with filestore.open(work.path, watch=False) as store:
            store["volumes"][id] = document
        work.git("add", "-A")
        work.git("commit", "-q", "-m", "put")

    put(BASE)
    work.git("checkout", "-q", "-b", "other")
    put(THEIRS)
    work.git("checkout", "-q", "main")
    put(OURS)
    work.git("merge", "-q", "-m", "merge", "other")
    with filestore.open(work.path, watch=False) as store:
        assert store["volumes"][id] == BOTH


def test_git_diff_shows_the_whole_path_of_a_field(work: Work) -> None:
    before = {"m": {"team": "a"}, "ports": [{"id": "p1", "mac": "x"}], "tags": ["b"]}
    after = {"m": {"team": "b"}, "ports": [{"id": "p1", "mac": "y"}], "tags": ["a", "b"]}
    work.commit(v=before)
    work.write("volumes/v", after)
    changed = [
        line
        for line in work.git("diff", "-U0").out.splitlines()
        if line[0] in "+-" and not line.startswith(("+++", "---"))
    ]
    assert sorted(changed) == [
        '+m.team: "b"',
        '+ports[id="p1"].mac: "y"',
        '+tags[]: "a"',
        '-m.team: "a"',
        '-ports[id="p1"].mac: "x"',
    ]
    assert "m.team" in work.git("log", "-p", "-1").out


def test_git_diff_shows_a_file_that_is_no_document_as_it_is(work: Work) -> None:
    work.commit(v=BASE)
    work.file("volumes/v").write_text("{ broken\n")
    assert "+{ broken" in work.git("diff").out


def test_git_diff_sends_nothing_to_a_terminal_that_it_would_obey(work: Work) -> None:
    work.commit(v={"a": "\x1b[2J\x9b2J\u202e"})
    shown = work.git("show").out
    assert '"\\u001b[2J\\u009b2J\\u202e"' in shown


class TestClones:
    """Two that exchange a hundred commits end with the same documents."""

    def test_they_converge(self, tmp_path: Path) -> None:
        chance = random.Random(5)
        one = make(tmp_path / "one")
        names = [f"v{number}" for number in range(4)]
        one.commit(**{name: {"one": {}, "two": {}, "shared": []} for name in names})
        one.git("clone", "-q", ".", tmp_path / "two")
        two = Work(tmp_path / "two")
        two.filestore("git", "setup")
        one.git("remote", "add", "peer", two.path)
        two.git("remote", "add", "peer", one.path)
        expected: dict[str, dict[str, Any]] = {name: {"one": {}, "two": {}} for name in names}
        shared: dict[str, set[str]] = {name: set() for name in names}
        for number in range(100):
            clone, side = chance.choice([(one, "one"), (two, "two")])
            name = chance.choice(names)
            document = clone.read(f"volumes/{name}")
            field = chance.choice("abcdef")
            if chance.random() < 0.3:
                document[side].pop(field, None)
                expected[name][side].pop(field, None)
            else:
                document[side][field] = expected[name][side][field] = number
            if chance.random() < 0.3:
                document["shared"].append({"id": f"{number:03}", "by": side})
                shared[name].add(f"{number:03}")
            clone.write(f"volumes/{name}", document)
            clone.git("commit", "-q", "--allow-empty", "-a", "-m", f"commit {number}")
            if chance.random() < 0.1:
                clone.git("pull", "-q", "--no-rebase", "--no-edit", "peer", "main")
        one.git("pull", "-q", "--no-rebase", "--no-edit", "peer", "main")
        two.git("pull", "-q", "--no-rebase", "--no-edit", "peer", "main")
        for name in names:
            document = one.read(f"volumes/{name}")
            assert (
                one.file(f"volumes/{name}").read_bytes() == two.file(f"volumes/{name}").read_bytes()
            )
            assert {entry["id"] for entry in document.pop("shared")} == shared[name]
            assert document == expected[name]
