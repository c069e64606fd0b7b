"""The group of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import math
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from filestore import __version__
from filestore.cli.exits import Exit, exit_of, table
from filestore.cli.screen import complain
from filestore.cli.target import General, place
from filestore.errors import FilestoreError

if TYPE_CHECKING:
    from click import Command, Context


COMMANDS: Final = {
    "demo": "demo",
    "init": "writing",
    "ls": "reading",
    "get": "reading",
    "put": "writing",
    "edit": "editing",
    "rm": "writing",
    "log": "history",
    "show": "history",
    "blame": "history",
    "diff": "comparing",
    "undo": "undoing",
    "restore": "undoing",
    "apply": "comparing",
    "check": "mending",
    "repair": "mending",
    "stats": "reading",
    "reshard": "mending",
    "migrate": "migrating",
    "git": "git",
    "conflicts": "conflicts",
    "resolve": "conflicts",
}
"""The commands in the order of a first acquaintance, and the modules they are in."""


class Program(click.Group):
    """The group; whatever a command raises ends in one line and an exit code."""

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """Their names."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002  (as above)
        """The command; its module is imported now, for a process runs but one of them."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: Command = getattr(import_module(f"filestore.cli.{module}"), cmd_name)
        return command

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
