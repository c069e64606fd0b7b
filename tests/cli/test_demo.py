from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import filestore
from filestore.masking import MASK, masked

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch, cli):
    """An empty folder, to be in."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def passwords(value):
    if isinstance(value, dict):
        for name, inner in value.items():
            if "passw" in name and isinstance(inner, str):
                yield inner
            yield from passwords(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from passwords(inner)


@pytest.mark.parametrize("codec", ["json", "yaml"])
def test_it_makes_a_sound_store_in_a_new_folder(cli, home, codec):
    ran = cli("demo", "--codec", codec)
    assert (ran.code, ran.err) == (0, "")
    with filestore.open(home / "filestore-demo", create=False, watch=False) as store:
        assert store.check() == []
        assert len(store["volumes"]) == 41
        assert store.stats()["codec"] == codec
    assert str(home / "filestore-demo") in ran.out


def test_it_shows_what_really_happened(cli, home):
    out = cli("demo").out
    with filestore.open(home / "filestore-demo", readonly=True, watch=False) as store:
        changes = list(store.changes(since=1))
        assert re.findall(r"^revision (\d+)", out, re.MULTILINE) == sorted(
            {str(change.revision) for change in changes}
        )
        (volume,) = store["volumes"].find(display_name="billing-db")
        assert (volume.document["size"], volume.document["status"]) == (40, "in-use")
        (snapshot,) = store["snapshots"].find(volume_id=volume.key.id)
        (connection,) = store["connections"].find(volume_id=volume.key.id)
        removed = [change.key.collection for change in changes if change.after is None]
        assert removed == ["snapshots"]
    shown = out.partition("One document")[2].partition("── What changed")[0]
    assert json.loads(shown[shown.index("{") :]) == volume.document
    for told in (
        f"+ snapshots/{snapshot.key.id[:8]}",
        f"+ connections/{connection.key.id[:8]}",
        "size: 20 → 40",
        "status: available → in-use",
        "metadata.idle: yes (new)",
        "✗ Conflict: ",
    ):
        assert told in out


def test_it_tells_no_secret(cli, home):
    out = cli("demo").out
    with filestore.open(home / "filestore-demo", readonly=True, watch=False) as store:
        secrets = {
            each for document in store["connections"].values() for each in passwords(document)
        }
    assert len(secrets) > 1
    assert not [secret for secret in secrets if secret in out]


def test_masking_covers_what_is_under_a_telling_name():
    shown = masked({"auth_password": "a", "provider_auth": {"x": ["b"]}, "size": 1, "token": None})
    assert shown == {
        "auth_password": MASK,
        "provider_auth": {"x": [MASK]},
        "size": 1,
        "token": None,
    }


def test_every_line_fits_80_columns(cli, home):
    cut = [line for line in cli("demo", "d").out.splitlines() if len(line) > 80]
    assert [line for line in cut if str(home) not in line] == []


def test_it_never_touches_a_folder_that_has_something_in_it(cli, home):
    (home / "filestore-demo").mkdir()
    (home / "filestore-demo" / "mine").write_text("precious")
    cli("demo", "filestore-demo").fails(2, "not empty")
    ran = cli("demo")
    assert str(home / "filestore-demo-2") in ran.out
    assert [path.name for path in (home / "filestore-demo").iterdir()] == ["mine"]


def test_it_takes_an_empty_folder_and_makes_those_above(cli, home):
    (home / "empty").mkdir()
    assert cli("demo", "empty").code == 0
    assert cli("demo", "a/b").code == 0
    (home / "file").write_text("precious")
    cli("demo", "file").fails(6, "file")


def test_it_leaves_its_own_data_alone(cli, home):
    lab = ROOT / "fixtures" / "lab"
    before = sorted(lab.rglob("*"))
    cli("demo")
    assert sorted(lab.rglob("*")) == before


def test_what_it_proposes_to_try_works(cli, home, tmp_path):
    out = cli("demo", "a place").out
    proposed = out.partition("Yours to look at")[2].splitlines()[1:]
    lines = [line.strip() for line in proposed if line.strip() and not line.strip().startswith("#")]
    assert len(lines) == 4
    words = "from filestore.cli import main; main()"
    program = tmp_path / "filestore"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{words}' \"$@\"\n")
    program.chmod(0o700)
    ran = subprocess.run(
        ["bash", "-ec", "\n".join(lines)],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "EDITOR": "true",
            "HOME": str(home),
        },
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr.replace("hint:", "").count("Error")) == (0, 0), ran
    assert "billing-db" in ran.stdout
    assert "is unchanged" in ran.stdout
    assert "A  volumes/" in ran.stdout
    assert ".filestore" not in ran.stdout


def test_an_installation_without_its_data_says_so(cli, home, monkeypatch):
    monkeypatch.setattr("filestore.cli.day.files", lambda package: home / "nowhere" / "deep")
    assert cli("demo").code == 1
