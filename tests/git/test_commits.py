"""`store.git.commit`: what changed, all of it, and nothing else; and `store.at(git=…)`."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import filestore
from filestore.integrations.git import commits, staging, tree
from filestore.integrations.git.objects import TREE, Objects, TreeEntry, entries, patched, places
from filestore.integrations.git.run import Git, GitError
from tests.git.work import Work, make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filestore import Store


@contextmanager
def opened(work: Work, **options: Any) -> Iterator[Store]:
    with filestore.open(work.path, watch=False, **options) as store:
        yield store


def in_commit(work: Work, commit: str = "HEAD") -> list[str]:
    """The files that a commit changed."""
    return work.git("show", "--no-renames", "--name-status", "--format=", commit).out.splitlines()


def clean(work: Work) -> None:
    assert work.git("status", "--porcelain").out == ""
    work.git("fsck", "--strict", "--no-dangling")


@pytest.mark.parametrize("folder", ["", "deep/er/state"])
@pytest.mark.parametrize("codec", ["json", "yaml"])
def test_one_git_commit_has_all_that_changed(folder: str, codec: str, tmp_path: Path) -> None:
    work = make(tmp_path / "work", codec, folder=folder)
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        store["volumes"]["b"] = {"size": 1}
        store["driver_data/lvm"]["a/b"] = {"x": 1}
        first = store.git.commit("first")
        assert first == work.git("rev-parse", "HEAD").out.strip()
        clean(work)
        store["volumes"]["a"] = {"size": 2}
        del store["volumes"]["b"]
        store["volumes"]["c"] = {"size": 3}
        store.git.commit("second")
    clean(work)
    names = [line.replace(f"{folder}/" if folder else "", "") for line in in_commit(work)]
    assert names == [
        f"M\tvolumes/a.{codec}",
        f"D\tvolumes/b.{codec}",
        f"A\tvolumes/c.{codec}",
    ]
    assert work.git("log", "-1", "--format=%s %an").out == "second Tester\n"


def test_nothing_is_committed_when_nothing_changed(work: Work) -> None:
    with opened(work) as store:
        assert store.git.commit() is None
        store["volumes"]["a"] = {"size": 1}
        assert store.git.commit() is not None
        assert store.git.commit() is None
        store["volumes"]["a"] = {"size": 2}
        store["volumes"]["a"] = {"size": 1}
        assert store.git.commit() is None
    assert work.git("rev-list", "--count", "HEAD").out == "2\n"


def test_without_a_message_it_tells_what_changed_and_why(work: Work) -> None:
    with opened(work, actor="ann") as store:
        assert store.git.commit() is None
        with store.transaction(message="new disks"):
            store["volumes"]["a"] = {"size": 1}
            store["volumes"]["b"] = {"size": 1}
        store.git.commit()
        assert work.git("log", "-1", "--format=%B").out.strip() == (
            "Add volumes/a, volumes/b\n\n- new disks (ann)"
        )
        del store["volumes"]["a"]
        store["volumes"]["b"] = {"size": 2}
        store.git.commit()
        assert work.git("log", "-1", "--format=%s").out == ("Change volumes/b, delete volumes/a\n")
        for number in range(5):
            store["volumes"][f"v{number}"] = {}
        store.git.commit()
    assert work.git("log", "-1", "--format=%s").out == "Add 5 of volumes\n"


def test_what_somebody_staged_stays_staged_and_uncommitted(work: Work) -> None:
    (work.path / "README").write_text("mine\n")
    (work.path / "unstaged").write_text("mine\n")
    work.git("add", "README")
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        store.git.commit("only a")
    assert in_commit(work) == ["A\tvolumes/a.json"]
    assert work.git("status", "--porcelain").out == "A  README\n?? unstaged\n"


def test_only_documents_that_the_journal_names_are_looked_at(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody is to record the edit meanwhile, however slow the machine is.
    monkeypatch.setattr("filestore.engine.lookout.START_SECONDS", 3600)
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        store.git.commit()
        work.write("volumes/other", {"by": "hand"})
        store["volumes"]["a"] = {"size": 2}
        store.git.commit()
        assert in_commit(work) == ["M\tvolumes/a.json"]
        store.git.commit(full=True)
    assert in_commit(work) == ["A\tvolumes/other.json"]


def test_the_first_commit_of_all_has_the_store_s_own_files(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.git("init", "-q")
    work.filestore("init", ".")
    (tmp_path / "notes.txt").write_text("mine")
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        store.git.commit("begin")
    assert sorted(in_commit(work)) == [
        "A\t.gitattributes",
        "A\t.gitignore",
        "A\tfilestore.yaml",
        "A\tvolumes/a.json",
    ]


def test_a_commit_that_somebody_made_is_not_made_again(work: Work) -> None:
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        store.git.commit()
        store["volumes"]["b"] = {"size": 1}
        work.git("add", "-A")
        work.git("commit", "-q", "-m", "by hand")
        assert store.git.commit() is None
    assert work.git("rev-list", "--count", "HEAD").out == "3\n"


def test_after_head_went_elsewhere_every_file_is_looked_at(work: Work) -> None:
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        store.git.commit()
        work.git("reset", "-q", "--soft", "HEAD~1")
        assert store.git.commit("again") is not None
    assert in_commit(work) == ["A\tvolumes/a.json"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"revision": "x", "commit": 1}'])
def test_a_damaged_position_is_as_good_as_none(work: Work, damage: bytes) -> None:
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        store.git.commit()
        (work.path / ".filestore" / "git").write_bytes(damage)
        store["volumes"]["b"] = {"size": 1}
        store.git.commit()
    assert in_commit(work) == ["A\tvolumes/b.json"]


def test_a_trimmed_history_is_as_good_as_none(work: Work) -> None:
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        store.git.commit()
        store["volumes"]["b"] = {"size": 1}
    import shutil

    shutil.rmtree(work.path / ".filestore")
    with opened(work) as store:
        assert store.git.commit() is not None
    assert in_commit(work) == ["A\tvolumes/b.json"]


@pytest.mark.parametrize("durability", ["full", "normal", "off"])
def test_what_is_committed_is_what_the_store_has(work: Work, durability: str) -> None:
    with opened(work, durability=durability) as store:
        for number in range(20):
            store["volumes"]["a"] = {"size": number}
            store.git.commit(f"number {number}")
            with store.at(git="HEAD") as past:
                assert past["volumes"]["a"] == {"size": number}
    clean(work)


def test_a_merge_under_way_is_left_to_git(work: Work) -> None:
    work.both({"v": {"a": 0}}, {"v": {"a": 1}}, {"v": {"a": 2}})
    work.git("merge", "-q", "-m", "merge", "other", code=1)
    head = work.git("rev-parse", "HEAD").out
    with opened(work) as store:
        store["volumes"]["w"] = {}
        with pytest.raises(filestore.Conflict, match="a merge is under way"):
            store.git.commit()
    assert work.git("rev-parse", "HEAD").out == head
    assert work.filestore("git", "commit", code=3).err.startswith("Error: a merge is under way")


def test_a_file_that_is_no_document_is_not_committed(work: Work) -> None:
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        store.git.commit()
        store["volumes"]["a"] = {"size": 2}
        work.file("volumes/a").write_text("{ half")
        head = work.git("rev-parse", "HEAD").out
        with pytest.raises(filestore.Corrupt, match="volumes/a"):
            store.git.commit()
    assert work.git("rev-parse", "HEAD").out == head


def test_without_a_name_for_the_committer_it_says_so(
    work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.write_text("[user]\n useConfigOnly = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(empty))
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        with pytest.raises(GitError, match="commit-tree"):
            store.git.commit()


@pytest.mark.parametrize(
    "where",
    [*range(5), "index before", "index after", "tree", "remember", "slow index", "slow trees"],
)
def test_a_crash_anywhere_repeats_no_commit_and_loses_none(
    work: Work, where: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if str(where).startswith("slow"):
        work.git("config", "core.fsync", "loose-object")  # left to git
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        store.git.commit("before")
        store["volumes"]["a"] = {"size": 2}
        store["volumes"]["b"] = {"size": 1}
        left = where if isinstance(where, int) else 99
        call, exchange = Git.call, staging.exchange

        def dying(self: Git, *words: str, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return call(self, *words, **options)

        def die(*_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

        def exchange_and_die(*args: Any) -> Any:
            assert exchange(*args)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Git, "call", dying)
            if where == "index before":
                patch.setattr("filestore.integrations.git.index.os.replace", die)
            elif where == "index after":
                patch.setattr(staging, "exchange", exchange_and_die)
            elif where == "tree":
                patch.setattr("filestore.integrations.git.loose.os.rename", die)
            elif where == "remember":  # HEAD has moved, nobody knows
                patch.setattr(commits, "write_file", die)
            elif where == "slow index":
                patch.setattr(staging.Staging, "there", die)
            elif where == "slow trees":
                patch.setattr(commits._Committing, "_write_trees", die)
            with pytest.raises(KeyboardInterrupt):
                store.git.commit("after")
        store.git.commit("after")
    clean(work)
    assert work.git("rev-list", "--count", "HEAD").out == "3\n"
    assert in_commit(work) == ["M\tvolumes/a.json", "A\tvolumes/b.json"]


@pytest.mark.parametrize("fsync", ["none", "loose-object"])
def test_where_the_system_gives_no_threads_all_is_done_in_turn(
    work: Work, fsync: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.git("config", "core.fsync", fsync)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            store.git.commit()
            store["volumes"]["a"] = {"size": 2}
            store["volumes"]["b"] = {"size": 2}
            store.git.commit()
    clean(work)
    assert in_commit(work) == ["M\tvolumes/a.json", "A\tvolumes/b.json"]


def test_a_commit_is_signed_where_commits_are(work: Work, tmp_path: Path) -> None:
    program = tmp_path / "sign"
    program.write_text(
        "#!/bin/sh\ncat > /dev/null\necho '[GNUPG:] SIG_CREATED ' >&2\n"
        "printf -- '-----BEGIN PGP SIGNATURE-----\\n\\nmine\\n-----END PGP SIGNATURE-----\\n'\n"
    )
    program.chmod(0o755)
    work.git("config", "gpg.program", program)
    with opened(work) as store:
        for setting, signed in (("true", True), ("off", False), ("yes", True)):
            work.git("config", "commit.gpgSign", setting)
            store["volumes"]["a"] = {"by": setting}
            store.git.commit()
            assert ("gpgsig" in work.git("cat-file", "commit", "HEAD").out) == signed
        program.write_text("#!/bin/sh\nexit 1\n")
        head = work.git("rev-parse", "HEAD").out
        store["volumes"]["a"] = {"by": "nobody"}
        with pytest.raises(GitError, match="commit-tree"):
            store.git.commit()
        assert work.git("rev-parse", "HEAD").out == head


def test_documents_go_through_git_s_filters(work: Work) -> None:
    with (work.path / ".gitattributes").open("a") as file:
        file.write("volumes/*.json filter=mask\n")
    work.git("config", "filter.mask.clean", "sed -e s/secret/masked/")
    work.git("commit", "-q", "-a", "-m", "a filter")
    with opened(work) as store:
        store["volumes"]["a"] = {"password": "secret"}
        store.git.commit()
        assert work.git("show", "HEAD:volumes/a.json").out == '{\n  "password": "masked"\n}\n'
        clean(work)
        assert store.git.commit(full=True) is None


def test_of_two_that_commit_at_once_none_is_lost(work: Work) -> None:
    with opened(work) as one, opened(work) as other:
        one["volumes"]["a"] = {"by": "one"}
        one.git.commit()
        other["volumes"]["b"] = {"by": "other"}
        other.git.commit()
        one["volumes"]["c"] = {"by": "one"}
        one.git.commit()
    clean(work)
    assert work.git("rev-list", "--count", "HEAD").out == "4\n"


def test_a_batch_commits_on_close(work: Work) -> None:
    with opened(work) as store:
        store.git.batch(message="the day's work")
        store["volumes"]["a"] = {"size": 1}
        store["volumes"]["b"] = {"size": 1}
        assert work.git("rev-list", "--count", "HEAD").out == "1\n"
    assert work.git("log", "-1", "--format=%s").out == "the day's work\n"
    clean(work)


def test_a_batch_commits_in_time(work: Work) -> None:
    with opened(work) as store, store.git.batch(every=0.02, on_close=False):
        store["volumes"]["a"] = {"size": 1}
        while work.git("rev-list", "--count", "HEAD").out == "1\n":
            pass
    clean(work)


def test_nothing_is_done_in_git_that_nobody_asked_for(work: Work) -> None:
    with opened(work) as store:
        store["volumes"]["a"] = {"size": 1}
        store.git.past("HEAD").close()
    assert work.git("status", "--porcelain").out == "?? volumes/\n"


def test_the_command_commits(work: Work) -> None:
    work.filestore("put", "volumes/a", "size=1", "-m", "a disk")
    ran = work.filestore("git", "commit")
    assert ran.out == work.git("rev-parse", "HEAD").out
    assert work.git("log", "-1", "--format=%s").out == "Add volumes/a\n"
    assert work.filestore("git", "commit").out.startswith("Nothing")
    assert work.filestore("git", "commit", "--json").out == '{"commit":null}\n'


def test_random_commits_leave_nothing_to_commit(tmp_path: Path) -> None:
    chance = random.Random(3)
    work = make(tmp_path / "work")
    expected: dict[str, Any] = {}
    names = ["a", "a/b", "a-b", "a.b", "ab", "Ab", "b", "x" * 300]
    with opened(work, durability="off") as store:
        for number in range(40):
            for _ in range(chance.randint(0, 4)):
                key = (chance.choice(["v", "v/w", "v-w"]), chance.choice(names))
                if chance.random() < 0.4:
                    store[key[0]].pop(key[1], None)
                    expected.pop(str(key), None)
                else:
                    store[key[0]][key[1]] = expected[str(key)] = {"n": number}
            store.git.commit()
            assert work.git("status", "--porcelain").out == ""
        with store.at(git="HEAD") as past:
            found = {
                str((name, id)): past[name][id] for name in past.collections() for id in past[name]
            }
    assert found == expected
    clean(work)


class TestKindsOfRepositories:
    @pytest.mark.parametrize("form", ["sha1", "sha256"])
    def test_object_formats(self, form: str, tmp_path: Path) -> None:
        work = Work(tmp_path / "work")
        work.path.mkdir()
        work.git("init", "-q", f"--object-format={form}")
        work.filestore("init", ".")
        with opened(work) as store:
            store["volumes"]["a"] = {"size": 1}
            store.git.commit("one")
            store["volumes"]["a"] = {"size": 2}
            store.git.commit("two")
            with store.at(git="HEAD~1") as past:
                assert past["volumes"]["a"] == {"size": 1}
        clean(work)

    def test_a_detached_head(self, work: Work) -> None:
        work.git("checkout", "-q", "--detach")
        with opened(work) as store:
            store["volumes"]["a"] = {"size": 1}
            made = store.git.commit()
        assert work.git("rev-parse", "HEAD").out.strip() == made
        assert work.git("rev-parse", "main").out.strip() != made

    def test_a_worktree(self, work: Work, tmp_path: Path) -> None:
        work.git("worktree", "add", "-q", "-b", "third", tmp_path / "tree")
        there = Work(tmp_path / "tree")
        with opened(there) as store:
            store["volumes"]["a"] = {"size": 1}
            store.git.commit()
        clean(there)
        assert work.git("rev-parse", "third").out != work.git("rev-parse", "main").out

    def test_a_submodule(self, work: Work, tmp_path: Path) -> None:
        above = Work(tmp_path / "above")
        above.path.mkdir()
        above.git("init", "-q")
        above.git("submodule", "add", "-q", work.path, "state")
        inside = Work(above.path / "state")
        inside.filestore("git", "setup")
        with opened(inside) as store:
            store["volumes"]["a"] = {"size": 1}
            store.git.commit()
        clean(inside)
        assert inside.filestore("git", "doctor").out == "No problems\n"

    def test_a_shallow_clone(self, work: Work, tmp_path: Path) -> None:
        with opened(work) as store:
            for size in range(3):
                store["volumes"]["a"] = {"size": size}
                store.git.commit()
        work.git("clone", "-q", "--depth", "1", f"file://{work.path}", tmp_path / "clone")
        clone = Work(tmp_path / "clone")
        with opened(clone) as store:
            with pytest.raises(filestore.NotFound, match="HEAD~1"):
                store.at(git="HEAD~1")
            store["volumes"]["a"] = {"size": 9}
            store.git.commit()
        clean(clone)

    def test_a_bare_clone_is_read(self, work: Work, tmp_path: Path) -> None:
        with opened(work) as store:
            store["volumes"]["a"] = {"size": 1}
            store.git.commit()
        work.git("tag", "v1.2")
        work.git("clone", "-q", "--bare", ".", tmp_path / "bare.git")
        with tree.at(tmp_path / "bare.git", "v1.2") as past:
            assert past["volumes"]["a"] == {"size": 1}
            assert past.collections() == ["volumes"]

    def test_no_repository(self, tmp_path: Path) -> None:
        with filestore.open(tmp_path / "state", watch=False) as store:
            with pytest.raises(GitError, match="git init"):
                store.git.commit()
            with pytest.raises(GitError, match="git init"):
                store.at(git="HEAD")

    def test_a_git_that_ends_with_a_question_unread_is_told_and_let_go(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake = tmp_path / "bin" / "git"
        fake.parent.mkdir()
        fake.write_text(
            "#!/bin/sh\nexec 0<&-\n: > deaf\nwhile [ ! -e asked ]; do sleep 0.01; done\n"
        )
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
        objects = Objects(Git(str(tmp_path)))
        objects._running()
        while not (tmp_path / "deaf").exists():
            time.sleep(0.01)
        with pytest.raises(GitError, match="ended"):
            objects.find("HEAD")
        (tmp_path / "asked").touch()
        objects.close()

    def test_no_folder(self) -> None:
        with filestore.open("memory:") as store, pytest.raises(filestore.FilestoreError):
            store.git.commit()


class TestAt:
    @pytest.fixture
    def store(self, work: Work) -> Iterator[Store]:
        with opened(work) as store:
            store["volumes"].update({"a": {"size": 1, "name": "x"}, "b": {"size": 2}})
            store["driver_data/lvm"]["a/b"] = {"x": 1}
            store.git.commit()
            work.git("tag", "v1")
            store["volumes"]["a"] = {"size": 9}
            del store["volumes"]["b"]
            yield store

    def test_it_reads_like_a_store(self, store: Store) -> None:
        with store.at(git="v1") as past:
            assert past.collections() == ["driver_data/lvm", "volumes"]
            assert dict(past["volumes"]) == {"a": {"size": 1, "name": "x"}, "b": {"size": 2}}
            assert past["driver_data/lvm"]["a/b"] == {"x": 1}
            assert [record.key.id for record in past["volumes"].find(size=2)] == ["b"]
            assert past["volumes"].get("c") is None
            assert past["nothing"].get("c") is None
            assert len(past["volumes"]) == 2

    def test_finds_are_right_with_an_index_and_without(self, work: Work) -> None:
        documents = {f"v{n}": {"size": n % 7, "name": f"n{n}"} for n in range(900)}
        with opened(work) as store:
            store["volumes"].update(documents)
            store.git.commit()
            work.file("volumes/v9").write_text("{ broken\n")
            work.git("commit", "-q", "-a", "-m", "broken")
            store["volumes"]["v1"] = {"size": 100}
            with store.at(git="HEAD") as past:
                for _ in range(3):
                    for fields in ({"size": 3}, {"name": "n8"}, {"size": 1, "name": "n1"}, {}):
                        broken: list[Any] = []
                        found = past["volumes"].find(broken.append, **fields)
                        assert {record.key.id: record.document for record in found} == {
                            id: document
                            for id, document in documents.items()
                            if id != "v9" and fields.items() <= document.items()
                        }
                        assert [error.key for error in broken] == [("volumes", "v9")]

    def test_no_file_of_the_work_tree_is_touched(self, store: Store, work: Work) -> None:
        before = work.git("status", "--porcelain").out
        with store.at(git="v1") as past:
            dict(past["volumes"])
        assert work.git("status", "--porcelain").out == before

    @pytest.mark.parametrize(
        "name", ["", "nope", "--all", "HEAD~99", "a b", "v1\n", "v1:volumes", "v1\0", "\ud800"]
    )
    def test_what_git_does_not_know_is_not_found(self, store: Store, name: str) -> None:
        with pytest.raises(filestore.NotFound):
            store.at(git=name)

    def test_a_commit_without_a_store_is_not_found(self, store: Store, work: Work) -> None:
        work.git("checkout", "-q", "--orphan", "empty")
        work.git("rm", "-rfq", "--cached", ".")
        work.git("commit", "-q", "--allow-empty", "-m", "empty")
        with pytest.raises(filestore.NotFound, match="no store"):
            store.at(git="empty")

    def test_a_document_that_cannot_be_read_is_corrupt(self, store: Store, work: Work) -> None:
        work.file("volumes/a").write_text("{ half")
        work.git("commit", "-q", "-a", "-m", "half")
        with store.at(git="HEAD") as past:
            with pytest.raises(filestore.Corrupt, match="volumes/a"):
                past["volumes"]["a"]
            assert past["driver_data/lvm"]["a/b"] == {"x": 1}

    def test_a_link_is_no_document(self, store: Store, work: Work) -> None:
        work.file("volumes/link").symlink_to("/etc/passwd")
        work.git("add", "-A")
        work.git("commit", "-q", "-m", "link")
        with store.at(git="HEAD") as past:
            assert past["volumes"].get("link") is None
            assert "link" not in past["volumes"]

    def test_after_closing_it_reads_no_more(self, store: Store) -> None:
        past = store.at(git="v1")
        past.close()
        with pytest.raises(filestore.Closed):
            past["volumes"]

    def test_a_past_is_closed_with_its_store(self, work: Work) -> None:
        with opened(work) as store:
            past = store.at(git="HEAD")
        with pytest.raises(filestore.Closed):
            past.collections()

    def test_either_a_revision_or_git_is_asked_for(self, store: Store) -> None:
        with pytest.raises(TypeError):
            store.at(git="v1", revision=1)


short = st.text("ab-.0", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
long = short.map(lambda name: f"{name}-and-a-long-end")
names = short | long | long.map(lambda name: f"x100644 {name}")
kinds = st.sampled_from(["100644", TREE])


@given(
    before=st.dictionaries(names, kinds, max_size=6),
    changes=st.dictionaries(names, st.none() | kinds, max_size=4),
)
@settings(max_examples=40)
def test_patched_trees_are_what_git_makes(
    before: dict[str, str], changes: dict[str, str | None], tmp_path: Path
) -> None:
    if not (tmp_path / ".git").exists():
        subprocess.run(["git", "init", "-q", tmp_path], check=True)

    def made(content: dict[str, str]) -> bytes:
        lines = "".join(
            f"{mode.zfill(6)} {'tree' if mode == TREE else 'blob'} {'1' * 40}\t{name}\n"
            for name, mode in content.items()
        )
        run = {"cwd": tmp_path, "check": True, "capture_output": True}
        id = subprocess.run(["git", "mktree", "--missing"], input=lines.encode(), **run).stdout  # type: ignore[call-overload]
        return bytes(
            subprocess.run(["git", "cat-file", "tree", id.decode().strip()], **run).stdout  # type: ignore[call-overload]
        )

    edits = {
        name: None if mode is None else TreeEntry(mode, b"\x11" * 20)
        for name, mode in changes.items()
    }
    merged: dict[str, str | None] = {**before, **changes}
    after = {name: mode for name, mode in merged.items() if mode is not None}
    raw = made(before)
    result = patched(raw, edits, places(raw, edits, 20), 20)
    assert result == made(after)
    assert {name: entry.mode for name, entry in entries(result, 20).items()} == after
