"""The command line: ``filestore``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit."""
    try:
        from filestore.cli.program import program
    except KeyboardInterrupt:  # the imports take long enough for a Ctrl-C
        sys.exit(130)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    program(prog_name="filestore")
