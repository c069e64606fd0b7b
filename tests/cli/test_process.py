from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys

import pytest

import filestore
from filestore.cli.exits import MEANING, Exit, exit_of
from filestore.cli.program import COMMANDS
from filestore.engine.fs import FileSystem

COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-7][;m]")


def ended(process):
    out, err = process.communicate(timeout=60)
    assert b"Traceback" not in err, err
    return process.returncode, out, err


def on_terminal(shell, *words, **env):
    """What the command line writes on a terminal of 80 columns."""
    parent, child = pty.openpty()
    process = shell(*words, stdout=child, env={"TERM": "xterm-256color", "COLUMNS": "80", **env})
    os.close(child)
    written = b""
    try:
        while piece := os.read(parent, 65536):
            written += piece
    except OSError:  # EIO, which is how Linux tells that the other end is closed
        pass
    os.close(parent)
    assert ended(process)[0] == 0
    return written


def test_output_is_whole(shell):
    code, out, err = ended(shell("get", "volumes/v1"))
    assert (code, json.loads(out)["size"], err) == (0, 1, b"")


def test_an_error_is_one_line(shell):
    code, out, err = ended(shell("get", "volumes/nope"))
    assert (code, out, err.count(b"\n")) == (1, b"", 1)


@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["ls", "volumes", "--json"],
        ["get", "volumes/v1"],
        ["check"],
        ["stats"],
        ["demo", "d"],
    ],
)
def test_a_reader_that_goes_away_is_no_news(shell, words):
    reader, writer = os.pipe()
    os.close(reader)
    code, _, err = ended(shell(*words, stdout=writer))
    os.close(writer)
    assert (code, err) == (Exit.PIPE, b"")


@pytest.mark.parametrize("words", [["ls"], ["get", "volumes/v1"], ["check"], ["demo", "d"]])
def test_output_that_cannot_be_written_is_an_error(shell, words):
    with open("/dev/full", "wb") as full:
        code, _, err = ended(shell(*words, stdout=full))
    assert code == Exit.STORAGE
    assert err.count(b"\n") == 1
    assert os.strerror(errno.ENOSPC).encode() in err


def test_closed_standard_streams(shell, state):
    for streams in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        words = "from filestore.cli import main; main()"
        code = subprocess.call(
            ["sh", "-c", f'exec "$0" -c "$1" ls {streams}', sys.executable, words],
            cwd=state,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.DEVNULL,
        )
        assert code == 0


def test_an_interrupt_ends_with_130(shell, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    process = shell("put", "volumes/n", tmp_path / "fifo")
    with open(tmp_path / "fifo", "wb"):  # opens when the command line reads from it
        process.send_signal(signal.SIGINT)
        code, out, err = ended(process)
    assert (code, out, err) == (Exit.INTERRUPTED, b"", b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_text_that_the_terminal_cannot_say_is_escaped(shell, state, encoding):
    with filestore.open(state, watch=False) as store:
        store["volumes"]["日本"] = {"display_name": "é日"}
    env = {"PYTHONIOENCODING": encoding}
    for words in (
        ["ls", "volumes"],
        ["get", "volumes/日本"],
        ["demo", "d"],
        ["rm", "volumes/日本"],
    ):
        assert ended(shell(*words, env=env))[0] == 0
    code, _, err = ended(shell("get", "volumes/日本", env=env))
    assert code == Exit.NOT_FOUND
    err.decode(encoding)


def test_columns_stand_below_each_other_where_text_is_escaped(shell, state):
    with filestore.open(state, watch=False) as store:
        store["volumes"]["日本"] = {"display_name": "é", "size": 3, "status": "error"}
    out = ended(shell("ls", "volumes", env={"PYTHONIOENCODING": "ascii"}))[1].decode()
    heading, *rows = out.splitlines()
    at = heading.index("STATUS")
    assert {row[at:] for row in rows} == {"available", "error", "in-use"}


def test_machine_output_is_utf_8_whatever_the_locale(shell, state):
    with filestore.open(state, watch=False) as store:
        store["volumes"]["日本"] = {"display_name": "é日"}
    outputs = {
        ended(shell("get", "volumes/日本", "--json", env={"PYTHONIOENCODING": encoding}))[1]
        for encoding in ("ascii", "utf-8")
    }
    (output,) = outputs
    assert json.loads(output.decode("utf-8"))["document"] == {"display_name": "é日"}


def test_a_terminal_gets_colour_and_a_pipe_does_not(shell):
    assert COLOUR.search(on_terminal(shell, "get", "volumes/v1"))
    assert COLOUR.search(on_terminal(shell, "ls", "volumes"))
    for words in (["log", "--patch"], ["show", "1"], ["diff", "0", "1"]):
        assert COLOUR.search(on_terminal(shell, *words)), words
        assert b"\x1b" not in ended(shell(*words))[1]
    for words in (["get", "volumes/v1"], ["ls", "volumes"]):
        assert b"\x1b" not in ended(shell(*words))[1]


def test_no_color_is_honoured(shell):
    for words in (["get", "volumes/v1"], ["ls", "volumes"], ["demo", "d"]):
        assert not COLOUR.search(on_terminal(shell, *words, NO_COLOR="1"))


def test_a_document_cannot_command_the_terminal(shell, state):
    with filestore.open(state, watch=False) as store:
        store["volumes"]["\x1b]0;id\x07"] = {"display_name": "\x1b[2J", "size": "\x9b2J\u202e"}
    for words in (
        ["ls", "volumes"],
        ["ls", "-q", "volumes"],
        ["get", "volumes/\x1b]0;id\x07"],
        ["get", "volumes/\x1b]0;id\x07", "--form", "yaml"],
    ):
        written = on_terminal(shell, *words)
        for command in (b"\x1b]", b"\x1b[2J", "\x9b".encode(), "\u202e".encode()):
            assert command not in written, words


def test_a_name_that_is_no_text_is_refused(shell):
    code, _, err = ended(shell("get", os.fsdecode(b"volumes/\xff")))
    assert code in {Exit.NOT_FOUND, Exit.USAGE}
    assert err.count(b"\n") == 1


class TestWhichStore:
    def test_the_option_comes_first_or_last(self, shell, state, tmp_path):
        for words in (["-s", state, "ls"], ["ls", "-s", state]):
            assert ended(shell(*words, cwd=tmp_path))[0] == 0

    def test_then_the_environment(self, shell, state, tmp_path):
        assert ended(shell("ls", cwd=tmp_path, env={"FILESTORE": str(state)}))[0] == 0
        assert ended(shell("ls", "-s", state, cwd=tmp_path, env={"FILESTORE": "/nope"}))[0] == 0

    def test_then_the_nearest_folder_above(self, shell, state):
        assert ended(shell("ls", cwd=state / "volumes"))[0] == 0

    def test_otherwise_an_error_says_what_to_do(self, shell, tmp_path):
        code, _, err = ended(shell("ls", cwd=tmp_path))
        assert code == Exit.NOT_FOUND
        assert b"filestore init" in err

    def test_no_reading_command_makes_a_store(self, shell, tmp_path):
        for words in (
            ["ls"],
            ["get", "a/b"],
            ["check"],
            ["stats"],
            ["put", "a/b", "c=1"],
            ["repair"],
        ):
            assert ended(shell("-s", tmp_path / "none", *words))[0] == Exit.NOT_FOUND
        assert not (tmp_path / "none").exists()

    def test_a_folder_that_is_gone(self, shell, tmp_path):
        (tmp_path / "gone").mkdir()
        script = f'cd {tmp_path}/gone && rmdir {tmp_path}/gone && exec "$0" -c "$1" ls'
        words = "from filestore.cli import main; main()"
        run = subprocess.run(
            ["sh", "-c", script, sys.executable, words],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert run.returncode == Exit.STORAGE
        assert run.stderr.count(b"\n") == 1
        assert b"current folder was removed" in run.stderr


class TestAStoreThatCannotBeUsed:
    def test_one_that_another_writer_holds(self, cli, state):
        with filestore.open(state, watch=False) as store, store.transaction():
            cli("--lock-timeout", "0", "put", "volumes/n", "a=1").fails(5, str(os.getpid()))
            assert cli("--lock-timeout", "0", "ls").code == 0

    def test_one_of_a_newer_format(self, cli, state):
        text = (state / "filestore.yaml").read_text()
        (state / "filestore.yaml").write_text(text.replace("format: 1", "format: 99"))
        for words in (["ls"], ["put", "volumes/n", "a=1"], ["check"]):
            cli(*words).fails(7, "99")

    @pytest.mark.parametrize("text", ["", "\x00", "codec: [", "codec: toml\nformat: 1\nid: x\n"])
    def test_one_whose_settings_are_damaged(self, cli, state, text):
        (state / "filestore.yaml").write_text(text)
        cli("ls").fails(4, "filestore.yaml")

    def test_one_whose_settings_are_a_folder(self, cli, state):
        (state / "filestore.yaml").unlink()
        (state / "filestore.yaml").mkdir()
        ran = cli("ls")
        ran.fails(ran.code, "filestore.yaml")

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EROFS])
    def test_one_that_the_system_refuses(self, cli, monkeypatch, number):
        def refuse(path, *arguments, **options):
            raise OSError(number, os.strerror(number), path)

        monkeypatch.setattr(FileSystem, "open", staticmethod(refuse))
        for words in (["ls"], ["get", "volumes/v1"], ["put", "volumes/n", "a=1"], ["check"]):
            cli(*words).fails(6)


def test_every_error_has_an_exit_code_and_every_code_is_explained(cli):
    told = cli("--help").out
    for name in filestore.__all__:
        kind = getattr(filestore, name)
        if isinstance(kind, type) and issubclass(kind, filestore.FilestoreError):
            assert exit_of(kind("x")) in MEANING
    for code, meaning in MEANING.items():
        assert re.search(rf"^ *{int(code)}  {re.escape(meaning)}$", told, re.MULTILINE)


def test_every_command_has_help(cli):
    listed = re.findall(r"^  (\w+)  +\S", cli("--help").out.split("Commands:")[1], re.MULTILINE)
    assert listed[:7] == ["demo", "init", "ls", "get", "put", "edit", "rm"]  # as one meets them
    assert listed == list(COMMANDS)
    assert "..." not in cli("--help").out.replace("[ARGS]...", ""), (
        "a command's first sentence fits into the list"
    )
    assert "..." not in cli("git", "--help").out.replace("[ARGS]...", "")
    for name in listed:
        ran = cli(name, "--help")
        assert (ran.code, ran.err) == (0, "")
        assert max(map(len, ran.out.splitlines())) <= 80


def test_a_fault_of_our_own_is_one_line(cli, monkeypatch):
    def break_down(store):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(filestore.Store, "check", break_down)
    cli("check").fails(Exit.BUG, "ZeroDivisionError", "FILESTORE_TRACEBACK")
    monkeypatch.setenv("FILESTORE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        cli("check")
