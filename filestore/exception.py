"""The errors of the cinderlib interface, under the names that cinderlib gives them.

All are :class:`~filestore.errors.FilestoreError`.
"""

from __future__ import annotations

from filestore.errors import FilestoreError, NotFound

__all__ = [
    "BackendNotFound",
    "ConnectionNotFound",
    "DriverError",
    "IncompatibleObjectVersion",
    "InvalidDump",
    "InvalidPersistence",
    "InvalidVolume",
    "NoMatches",
    "NotFound",
    "NotLocal",
    "NotSetUp",
    "SetupError",
    "SnapshotNotFound",
    "UnsupportedObjectError",
    "VolumeAttachmentNotFound",
    "VolumeNotFound",
]


class VolumeNotFound(NotFound):
    """No volume has this id."""

    def __init__(self, volume_id: str) -> None:
        super().__init__(f"Volume {volume_id} could not be found.")
        self.volume_id = volume_id


class SnapshotNotFound(NotFound):
    """No snapshot has this id."""

    def __init__(self, snapshot_id: str) -> None:
        super().__init__(f"Snapshot {snapshot_id} could not be found.")
        self.snapshot_id = snapshot_id


class ConnectionNotFound(NotFound):
    """No connection passes the filter, for example ``id=…``."""

    def __init__(self, filter: str) -> None:  # noqa: A002  # the name is upstream's
        super().__init__(f"Volume attachment could not be found with filter: {filter}.")
        self.filter = filter


VolumeAttachmentNotFound = ConnectionNotFound
"""Cinder's name for it."""


class InvalidVolume(FilestoreError):
    """What was asked for cannot be done with the volume as it is."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Invalid volume: {reason}")
        self.reason = reason


class NotLocal(FilestoreError):
    """The volume is not attached to this host by this program."""

    def __init__(self, volume_id: str) -> None:
        super().__init__(f"Volume {volume_id} doesn't seem to be attached locally.")


class InvalidPersistence(FilestoreError):
    """``storage`` of a ``persistence_config`` is no plugin, or its options are not the plugin's."""

    def __init__(self, storage: object, reason: str | None = None) -> None:
        super().__init__(
            f"Invalid persistence storage: {storage}."
            + (f" {reason}" if reason is not None else "")
        )
        self.storage = storage


class NoMatches(InvalidPersistence):
    """No plugin has this name."""


class SetupError(FilestoreError):
    """The library is set up already, or cannot be set up like this."""


class NotSetUp(SetupError):
    """Nothing says yet where resources are kept: call ``filestore.setup`` first."""

    def __init__(self) -> None:
        super().__init__("nothing is set up: call filestore.setup(), or make a Backend, first")


class BackendNotFound(NotFound):
    """The backend is neither made yet nor described in what is loaded."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Backend {name!r} is not present in the system or the json: make it first with"
            " filestore.Backend, or set up with fail_on_missing_backend=False"
        )
        self.name = name


class DriverError(FilestoreError, ValueError):
    """A driver gave back what can't be stored."""


class InvalidDump(FilestoreError, ValueError):
    """What should be loaded is no whole and consistent dump; nothing of it was loaded."""


class UnsupportedObjectError(InvalidDump):
    """A dump has an object of a class that this version does not know."""


class IncompatibleObjectVersion(InvalidDump):
    """A dump was written by a newer version of Cinder than the one whose objects are known here."""
