"""A Cinder driver whose volumes and snapshots are sparse files in a folder.

It needs no hardware, no root and no other program, so that what cinderlib does
with a driver can be run for real: every operation leaves something on disk to
compare with what the persistence says.  Like other drivers it is idempotent
where a caller that was killed will ask again.
"""

import contextlib
import os
import shutil

from cinder import exception, interface
from cinder.volume import configuration, driver
from oslo_config import cfg
from oslo_utils import units

OPTIONS = [
    cfg.StrOpt("sparse_directory", help="Folder that holds the files; it must exist."),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


@interface.volumedriver
class SparseDriver(driver.VolumeDriver):
    """Keeps each volume in ``<directory>/<name>``; exports are ``<name>.export`` beside it."""

    VERSION = "1.0"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.directory = self.configuration.safe_get("sparse_directory")

    @staticmethod
    def get_driver_options():
        return OPTIONS

    def do_setup(self, context):
        pass

    def check_for_setup_error(self):
        if not os.path.isdir(self.directory):
            raise exception.VolumeBackendAPIException(data=f"{self.directory} is no folder")

    def _update_volume_stats(self):
        usage = shutil.disk_usage(self.directory)
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name"),
            "vendor_name": "filestore",
            "driver_version": self.VERSION,
            "storage_protocol": "local",
            "pools": [
                {
                    "pool_name": "files",
                    "total_capacity_gb": usage.total / units.Gi,
                    "free_capacity_gb": usage.free / units.Gi,
                    "reserved_percentage": 0,
                    "thin_provisioning_support": True,
                }
            ],
        }

    def local_path(self, resource):
        return os.path.join(self.directory, resource.name)

    def create_volume(self, volume):
        self._make(volume, volume.size)
        return {"provider_location": self.local_path(volume)}

    def delete_volume(self, volume):
        self._remove(self.local_path(volume))

    def extend_volume(self, volume, new_size):
        os.truncate(self.local_path(volume), new_size * units.Gi)

    def create_snapshot(self, snapshot):
        self._copy(self.local_path(snapshot.volume), self.local_path(snapshot))
        # As several drivers do, over the backend's name that cinderlib put there.
        return {"provider_location": self.local_path(snapshot), "progress": "100%"}

    def delete_snapshot(self, snapshot):
        self._remove(self.local_path(snapshot))

    def create_volume_from_snapshot(self, volume, snapshot):
        return self._make_from(self.local_path(snapshot), volume)

    def create_cloned_volume(self, volume, src_vref):
        return self._make_from(self.local_path(src_vref), volume)

    def create_export(self, context, volume, connector):
        with open(self.local_path(volume) + ".export", "w", encoding="utf-8") as export:
            export.write(connector["host"])
        return {"provider_auth": "CHAP nobody not-a-secret"}

    def ensure_export(self, context, volume):
        pass

    def remove_export(self, context, volume):
        self._remove(self.local_path(volume) + ".export")

    def initialize_connection(self, volume, connector, **kwargs):
        return {
            "driver_volume_type": "local",
            "data": {"device_path": self.local_path(volume), "volume_id": volume.id},
        }

    def terminate_connection(self, volume, connector, **kwargs):
        pass

    def _make(self, volume, size):
        with open(self.local_path(volume), "wb") as made:
            made.truncate(size * units.Gi)

    def _make_from(self, source, volume):
        self._copy(source, self.local_path(volume))
        os.truncate(self.local_path(volume), volume.size * units.Gi)
        return {"provider_location": self.local_path(volume)}

    @staticmethod
    def _copy(source, target):
        """Copy a sparse file without filling its holes."""
        with open(source, "rb") as read, open(target, "wb") as write:
            size = os.fstat(read.fileno()).st_size
            offset = 0
            while offset < size:
                try:
                    start = os.lseek(read.fileno(), offset, os.SEEK_DATA)
                except OSError:  # no data behind this offset
                    break
                offset = os.lseek(read.fileno(), start, os.SEEK_HOLE)
                os.copy_file_range(read.fileno(), write.fileno(), offset - start, start, start)
            write.truncate(size)

    @staticmethod
    def _remove(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
