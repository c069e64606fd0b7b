from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

import filestore
from filestore.cli.program import program

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
VOLUMES = {
    "v1": {"display_name": "db", "size": 1, "status": "available"},
    "v2": {"display_name": "web", "size": 2, "status": "in-use"},
    "a/b": {"display_name": "7", "size": 2, "status": "available"},
}


@dataclass
class Ran:
    code: int
    out: str
    err: str

    def fails(self, code: int, *words: str) -> None:
        """It failed with that code, told in one line, and printed nothing."""
        assert (self.code, self.out) == (code, ""), self
        last = self.err.splitlines()[-1]
        assert last.startswith("Error: "), self
        assert "Traceback" not in self.err, self
        for word in words:
            assert word in last, self


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A store with three volumes."""
    path = tmp_path / "state"
    with filestore.open(path, watch=False) as store:
        store["volumes"].update(VOLUMES)
    return path


@pytest.fixture
def cli(state: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run the command line in this process, in the store's folder."""
    monkeypatch.chdir(state)
    for name in ("FILESTORE", "VISUAL", "EDITOR", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    # Click 8.2 always keeps the two streams apart, and has no option for it.
    known = inspect.signature(CliRunner).parameters
    runner = CliRunner(**({"mix_stderr": False} if "mix_stderr" in known else {}))

    def run(*words: str | Path, input: str | bytes | None = None) -> Ran:  # noqa: A002  (click's)
        result = runner.invoke(program, [str(word) for word in words], input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def shell(state: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Start the command line as a process of its own, in the store's folder."""

    def start(*words: str | Path, env: dict[str, str] | None = None, **options: Any) -> Any:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in {"FILESTORE", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
        }
        return subprocess.Popen(
            [sys.executable, "-c", "from filestore.cli import main; main()", *map(str, words)],
            cwd=options.pop("cwd", state),
            env={**inherited, "PYTHONPATH": str(ROOT), **(env or {})},
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                # What runs in the background of a script ignores it, and so would its children.
                "preexec_fn": partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
                **options,
            },
        )

    return start
