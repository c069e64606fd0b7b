"""A backup driver that keeps backups in a folder.

A backup is a folder of its own below the driver's, named by its id; what is in it is told in
:mod:`filestore.backup.bundle`.  It is written under another name, ``.<name>.<random>.partial``, put
on the disk, and renamed: so a backup that has its name is whole, whatever was killed, and one that
has not is none.  Whoever writes a folder holds a lock on it; the next backup removes those that
nobody holds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from filestore.backup import bundle
from filestore.backup.driver import BackupDriver
from filestore.backup.metadata import MetadataDatabase, parsed
from filestore.backup.volume_file import VolumeFile
from filestore.engine.names import encode_id
from filestore.errors import (
    Conflict,
    FilestoreError,
    InvalidBackup,
    InvalidKey,
    NotFound,
    StorageError,
)
from filestore.model import Key
from filestore.resources.documents import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from filestore.backup.rows import Row

PARTIAL: Final = ".partial"


class DirectoryBackupDriver(BackupDriver):
    """Keeps backups in the folder ``path``, which is made when it is first needed.

    ``chunk_size``: bytes that are read, looked at and written at a time, at most 64 MiB.  The
    other arguments are every driver's.

    Safe for threads and processes.  What a backup that has returned wrote survives the loss of
    power.  Files are for their owner alone: they hold what the volume holds.

    Methods raise StorageError when the system refuses something, NotFound for a backup that is
    not there, InvalidBackup for one that is damaged, and InvalidKey for an id that can name no
    folder.
    """

    def __init__(
        self,
        context: Any,
        db: MetadataDatabase,
        path: str | os.PathLike[str],
        *,
        chunk_size: int = 1 << 20,
        version: int = 2,
    ) -> None:
        super().__init__(context, db, version=version)
        if not 0 < chunk_size <= bundle.MAX_CHUNK:
            raise ValueError(f"chunk_size must be from 1 to {bundle.MAX_CHUNK}, not {chunk_size}")
        self.path = os.path.abspath(path)
        self.chunk_size = chunk_size

    def backup(
        self,
        backup: Row | Mapping[str, Any],
        volume_file: BinaryIO,
        backup_metadata: bool = False,
    ) -> None:
        """Keep what ``volume_file`` holds, and with ``backup_metadata`` the volume's metadata.

        Whole when it returns, and not there when it raises.  At last the backup's record, if
        the database has one, is made ``available``; when that alone fails, the backup is there.
        Raises Conflict when there is such a backup.
        """
        id, volume_id = backup["id"], backup["volume_id"]
        target = self._folder(id)
        if os.path.lexists(target):
            raise _taken(id)
        metadata = self.get_metadata(volume_id) if backup_metadata else None
        volume = VolumeFile(volume_file)
        with _refusals(self.path), self._partial(os.path.basename(target)) as folder:
            header = bundle.write(
                folder,
                volume.chunks(self.chunk_size),
                id=id,
                volume_id=volume_id,
                created_at=timestamp(datetime.now(UTC)),
                size=volume.size,
                chunk_size=self.chunk_size,
                metadata=metadata,
            )
            try:
                os.rename(folder, target)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise _taken(id) from error
                raise
            try:
                bundle.sync_folder(self.path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.rename(target, folder)
                raise
        self._note(
            id,
            {
                "status": "available",
                "container": os.path.basename(target),
                "object_count": header.pieces,
                "service": f"{type(self).__module__}.{type(self).__qualname__}",
            },
        )

    def restore(
        self,
        backup: Row | Mapping[str, Any],
        volume_id: str,
        volume_file: BinaryIO,
        volume_is_new: bool = False,
    ) -> None:
        """Write a backup to ``volume_file``, and its metadata, if any, to the volume.

        The whole backup is looked at first: one that is damaged leaves the volume as it is.  A
        volume that is larger keeps what it has behind the backup's end.  On the disk on return.
        When it raises after that, which the system alone makes it do, the volume is half
        restored: restore it again.
        """
        with _refusals(self.path):
            folder, header, metadata = self._whole(backup["id"])
            volume = VolumeFile(volume_file)
            volume.require_room(header.size)
            volume.write(bundle.read_chunks(folder, header), header.size, blank=volume_is_new)
        if metadata is not None:
            self.put_metadata(volume_id, metadata)

    def delete(self, backup: Row | Mapping[str, Any]) -> None:
        """Delete a backup, if it is there; its record is its caller's to delete."""
        folder = self._folder(backup["id"])
        with _refusals(self.path):
            doomed = f"{self.path}/.{os.path.basename(folder)}.{uuid.uuid4().hex}{PARTIAL}"
            try:
                # At once: there is no time at which half of it looks like the whole.
                os.rename(folder, doomed)
            except FileNotFoundError:
                return
            bundle.sync_folder(self.path)
            # What cannot be removed is no backup any more; the next one tries again.
            if stat.S_ISDIR(os.lstat(doomed).st_mode):
                shutil.rmtree(doomed, ignore_errors=True)
            else:  # a link, or a file: never a backup
                os.unlink(doomed)

    def verify(self, backup: Row | Mapping[str, Any] | str) -> None:
        """Read all of a backup, given by its record or its id, and compare every checksum."""
        id = backup if isinstance(backup, str) else backup["id"]
        with _refusals(self.path):
            self._whole(id)

    def check_for_setup_error(self) -> None:
        """Make the folder, and raise StorageError when no backup can be kept there."""
        with _refusals(self.path), self._partial("check"):
            pass

    def _whole(self, id: str) -> tuple[str, bundle.Header, str | None]:
        """Where a backup is, its header and metadata; all of its data were looked at."""
        folder = self._folder(id)
        if not os.path.lexists(folder):
            raise NotFound(f"there is no backup {id} in {self.path}", key=Key("backups", id))
        try:
            header = bundle.read_header(folder)
            if header.id != id:
                raise InvalidBackup(f"it is the backup {header.id}")
            for _ in bundle.read_chunks(folder, header):
                pass
            metadata = bundle.read_metadata(folder, header)
            if metadata is not None:
                parsed(metadata)
        except (InvalidBackup, FileNotFoundError, NotADirectoryError) as error:
            told = error if isinstance(error, InvalidBackup) else "a file of it is missing"
            raise InvalidBackup(
                f"the backup {id} cannot be restored: {told}", path=folder, key=Key("backups", id)
            ) from error
        return folder, header, metadata

    def _folder(self, id: str) -> str:
        components = encode_id(id)
        if len(components) > 1:
            raise InvalidKey(f"the id {id[:40]!r}… is too long for a folder's name")
        return f"{self.path}/{components[0]}"

    @contextlib.contextmanager
    def _partial(self, name: str) -> Iterator[str]:
        """A folder to write to, removed at the end unless it was renamed; clears up first."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        folder = f"{self.path}/.{name}.{uuid.uuid4().hex}{PARTIAL}"
        with _locked(self.path):  # nobody clears up between the making and the locking
            self._clear_up()
            os.mkdir(folder, 0o700)
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield folder
        finally:
            os.close(held)
            shutil.rmtree(folder, ignore_errors=True)

    def _clear_up(self) -> None:
        """Remove what is left of backups that were killed."""
        for name in os.listdir(self.path):
            if name.startswith(".") and name.endswith(PARTIAL):
                folder = f"{self.path}/{name}"
                with contextlib.suppress(OSError), _locked(folder, wait=False):
                    shutil.rmtree(folder, ignore_errors=True)

    def _note(self, id: str, values: dict[str, Any]) -> None:
        """Note in a backup's record what has become of it."""
        update = getattr(self.db, "backup_update", None)
        if update is not None:
            with contextlib.suppress(NotFound):  # a backup of which the database has no record
                update(self.context, id, values)


@contextlib.contextmanager
def _locked(folder: str, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a folder.  Raises OSError when it is held and not to be waited for."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _refusals(path: str) -> Iterator[None]:
    """Turn what the system refuses into StorageError."""
    try:
        yield
    except FilestoreError:
        raise
    except OSError as error:
        where = error.filename or path
        raise StorageError(
            f"{where}: {error.strerror or error}", errno=error.errno, path=str(where)
        ) from error


def _taken(id: str) -> Conflict:
    return Conflict(
        f"there is a backup {id} already: delete it first, or give the new one another id",
        key=Key("backups", id),
    )
