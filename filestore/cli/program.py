"""The group of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import math
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from filestore import __version__
from filestore.cli.comparing import apply, diff
from filestore.cli.conflicts import conflicts, resolve
from filestore.cli.demo import demo
from filestore.cli.editing import edit
from filestore.cli.exits import Exit, exit_of, table
from filestore.cli.git import git
from filestore.cli.history import blame, log, show
from filestore.cli.mending import check, repair, reshard
from filestore.cli.migrating import migrate
from filestore.cli.reading import get, ls, stats
from filestore.cli.screen import complain
from filestore.cli.target import General, place
from filestore.cli.undoing import restore, undo
from filestore.cli.writing import init, put, rm
from filestore.errors import FilestoreError

if TYPE_CHECKING:
    from click import Context


class Program(click.Group):
    """The group; whatever a command raises ends in one line and an exit code."""

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """The commands in the order of a first acquaintance."""
        return list(self.commands)

    def invoke(self, ctx: Context) -> Any:
        """Run the command; output is flushed here, where a failure can still be told."""
        try:
            result = super().invoke(ctx)
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(Exit.INTERRUPTED)
        except FilestoreError as error:
            complain(_sentence(error))
            ctx.exit(exit_of(error))
        except BrokenPipeError:
            _forget_output()
            ctx.exit(Exit.PIPE)
        except OSError as error:
            self._refused(ctx, error)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except MemoryError:
            complain("there is not enough memory for this")
            ctx.exit(Exit.STORAGE)
        except Exception as error:
            if os.environ.get("FILESTORE_TRACEBACK"):
                raise
            complain(
                f"a fault in filestore: {type(error).__name__}: {error}; please report it with"
                " what FILESTORE_TRACEBACK=1 shows"
            )
            ctx.exit(Exit.BUG)
        return result

    def _refused(self, ctx: Context, error: OSError) -> NoReturn:
        place = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        _forget_output()
        complain(f"{place}{error.strerror or error}")
        ctx.exit(Exit.STORAGE)


def _sentence(error: FilestoreError) -> str:
    message = error.message
    if error.path and error.path not in message:
        message = f"{message} ({error.path})"
    return message


def _forget_output() -> None:
    """Let the interpreter's last flush find something that takes it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (lives until the process ends)


EPILOG = f"""\b
Documents are named COLLECTION/ID, such as volumes/3f2a.  The store is --store,
else $FILESTORE, else the nearest folder at or above this one that has a
filestore.yaml.

\b
Exit codes:
{table()}
"""


_LONGEST = 1e9  # seconds; the system cannot wait for ever


def _seconds(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    if not 0 <= value < math.inf:
        raise click.BadParameter(f"{value:g} is no number of seconds to wait")
    return min(value, _LONGEST)


@click.group(
    cls=Program,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@click.option(
    "-s",
    "--store",
    metavar="PATH",
    callback=place,
    envvar="FILESTORE",
    show_envvar=True,
    help="The store's folder, or the URL of a database.",
)
@click.option(
    "--lock-timeout",
    metavar="SECONDS",
    type=float,
    default=10.0,
    show_default=True,
    callback=_seconds,
    help="How long to wait for another writer.",
)
@click.version_option(__version__)
@click.pass_context
def program(ctx: Context, store: str | None, lock_timeout: float) -> None:
    """Look into a filestore and change it.

    A store is a folder of readable JSON or YAML files that programs use as a
    database.  To see one at work, run: filestore demo
    """
    ctx.obj = General(store, lock_timeout)


for command in (
    demo,
    init,
    ls,
    get,
    put,
    edit,
    rm,
    log,
    show,
    blame,
    diff,
    undo,
    restore,
    apply,
    check,
    repair,
    stats,
    reshard,
    migrate,
    git,
    conflicts,
    resolve,
):
    program.add_command(command)
