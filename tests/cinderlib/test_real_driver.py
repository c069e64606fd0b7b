"""A real Cinder driver on a store: killed at every step, everything that had returned is there."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import filestore

ROOT = Path(__file__).parents[2]
STRIDE = 7  # of the steps; a number that divides no loop of them


class Operator:
    """Has days lived in folders of their own, by one process that forks."""

    def __init__(self, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cinderlib.storage_day"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def live(self, name, codec, kill_at=None):
        """One life in the folder ``name``; how it ended."""
        base = self.folder / name
        orders = {"codec": codec, "kill_at": kill_at, "log": str(base / "log")}
        for folder in ("files", "locks"):
            (base / folder).mkdir(parents=True, exist_ok=True)
            orders[folder] = str(base / folder)
        orders["state"] = str(base / "state")
        print(json.dumps(orders), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def steps(self, name):
        """How many steps the last life took that came to its end."""
        return json.loads((self.folder / name / "log").read_text().splitlines()[-1])[2]

    def store(self, name):
        return filestore.open(self.folder / name / "state")


@pytest.fixture
def operator(tmp_path):
    operator = Operator(tmp_path)
    with operator.process:
        yield operator
        operator.process.stdin.close()


def is_evening(operator, name):
    """The store is as the day leaves it, however often it was interrupted."""
    with operator.store(name) as store:
        assert store.check() == []
        assert store.collections() == ["key_values", "volumes"]
        assert store["key_values"]["note"] == {"value": {"day": 1, "done": None}}
        (volume,) = store["volumes"].values()
        kept = ("display_name", "size", "status", "metadata")
        assert [volume[name] for name in kept] == ["db", 2, "available", {"team": "billing"}]
        return volume


def test_a_day_without_interruption(operator, codec):
    assert operator.live("quiet", codec) == 0
    volume = is_evening(operator, "quiet")
    left = [path.name for path in (operator.folder / "quiet" / "files").iterdir()]
    assert left == [f"volume-{volume['id']}"]


@pytest.mark.timeout(900)
def test_nothing_that_had_returned_is_lost_when_killed_at_any_step(operator, codec):
    assert operator.live("quiet", codec) == 0
    killed = 0
    for kill_at in range(1, operator.steps("quiet"), STRIDE):
        name = f"killed-{kill_at}"
        end = operator.live(name, codec, kill_at)
        # A life may take some steps fewer: the store's own thread takes them when it has time.
        assert end in {-signal.SIGKILL, 0}, name
        killed += end != 0
        assert operator.live(name, codec) == 0, name
        is_evening(operator, name)
    assert killed > 20


def test_a_day_of_many_short_lives(operator, codec):
    ends = {-signal.SIGKILL}
    lives = 0
    while ends == {-signal.SIGKILL}:
        # Longer and longer, so that the day gets on at last.
        ends = {operator.live("short", codec, 10 + 3 * lives)}
        lives += 1
    assert ends == {0}
    assert lives > 5
    is_evening(operator, "short")
