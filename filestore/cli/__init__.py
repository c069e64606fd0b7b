"""The command line: ``filestore``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit."""
    try:
        if sys.argv[1:2] == ["git"] and sys.argv[2:3] in (["merge-driver"], ["textconv"]):
            # Git runs these once a file, so they do without the rest, which takes as long again.
            from filestore.integrations.git.driver import COMMANDS

            sys.exit(COMMANDS[sys.argv[2]](sys.argv[3:]))
        from filestore.cli.program import program
    except KeyboardInterrupt:  # the imports take long enough for a Ctrl-C
        sys.exit(130)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    program(prog_name="filestore")
