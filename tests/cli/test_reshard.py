from __future__ import annotations

import json
import os
import pty
import subprocess

import filestore


def places(state):
    return sorted(str(path.relative_to(state)) for path in state.glob("volumes/**/*.json"))


def test_reshard_moves_the_store_of_this_folder(cli, state):
    ran = cli("reshard", "1")
    assert (ran.code, ran.out) == (0, "3 files moved, fan-out 0 to 1\n")
    assert all("/@" in path for path in places(state))
    assert cli("reshard", "0").code == 0
    assert all("/@" not in path for path in places(state))
    assert cli("check").code == 0


def test_reshard_takes_the_store_as_its_first_word_or_as_an_option(cli, state, monkeypatch):
    monkeypatch.chdir(state.parent)
    assert cli("reshard", "state", "1").code == 0
    assert cli("reshard", "2", "--store", "state").code == 0
    assert cli("-s", "state", "reshard", "0", "--quiet").out == ""
    assert places(state) == [f"volumes/{id}.json" for id in ("a%2fb", "v1", "v2")]


def test_reshard_to_the_same_fan_out_says_that_all_is_well(cli):
    assert cli("reshard", "0").out == "Every document is at its place at fan-out 0\n"


def test_reshard_speaks_json(cli):
    told = json.loads(cli("reshard", "1", "--json").out)
    assert told == {"before": 0, "after": 1, "moved": 3}


def test_reshard_refuses_what_means_nothing(cli, tmp_path):
    cli("reshard", "3").fails(2)
    cli("reshard").fails(2)
    cli("reshard", "", "1").fails(2, "empty")
    cli("reshard", "one", "two", "1").fails(2, "one store")
    cli("reshard", tmp_path / "nowhere", "1").fails(1, "no store", "nowhere")


def test_reshard_tells_of_two_files_of_one_document(cli, state):
    cli("reshard", "1")
    (state / "volumes/v1.json").write_text("{}")
    cli("reshard", "2").fails(3, "volumes/v1.json", "remove one")


def test_reshard_waits_for_another_writer_no_longer_than_told(cli, state):
    with filestore.open(state) as store, store.transaction():
        cli("--lock-timeout", "0", "reshard", "1").fails(5, "held the store")
    assert places(state)[1] == "volumes/v1.json"


def test_reshard_shows_a_bar_on_a_terminal_only(shell, state):
    main, side = pty.openpty()
    process = shell("reshard", "1", stderr=side, env={"TERM": "xterm"})
    os.close(side)
    shown = b""
    try:
        while part := os.read(main, 4096):
            shown += part
    except OSError:  # how a terminal tells its end
        pass
    os.close(main)
    out, _ = process.communicate()
    assert (process.returncode, out) == (0, b"3 files moved, fan-out 0 to 1\n")
    assert b"fan-out 1" in shown
    process = shell("reshard", "0", stderr=subprocess.PIPE)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
