"""What this host tells a storage about itself."""

from __future__ import annotations

import platform
import socket
import sys
from typing import Any


def get_connector_properties(
    root_helper: str = "sudo",  # noqa: ARG001  # nothing here needs it
    my_ip: str | None = None,
    multipath: bool = False,
    enforce_multipath: bool = False,  # noqa: ARG001  # there is no daemon to ask
    host: str | None = None,
) -> dict[str, Any]:
    """What this host tells a storage about itself, as os-brick names it.

    Only what holds for every protocol: initiators' names and the like are for those who
    attach volumes, and come from os-brick.  ``root_helper`` and ``enforce_multipath`` are
    accepted and have no meaning.
    """
    return {
        "platform": platform.machine(),
        "os_type": sys.platform,
        "ip": my_ip,
        "host": host or socket.gethostname(),
        "multipath": multipath,
    }
