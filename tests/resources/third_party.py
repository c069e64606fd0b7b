"""A plugin as somebody else writes one from the documentation: JSON texts by ids."""

from __future__ import annotations

import json
from typing import Any

import filestore as cl
from filestore.persistence import DB, PersistenceDriverBase


class JsonPersistence(PersistenceDriverBase):
    """Keeps each resource as the text of ``to_jsons``."""

    def __init__(self, location: str, separator: str = "@") -> None:
        self.location = location
        self.separator = separator
        self.kept: dict[str, dict[str, str]] = {"Volume": {}, "Snapshot": {}, "Connection": {}}
        self.key_values: dict[str, str] = {}
        self._db = DB(self)
        super().__init__()

    @property
    def db(self) -> DB:
        return self._db

    def _find(self, kind: Any, id: str | None, **wanted: str | None) -> list[Any]:
        kept = self.kept[kind.__name__]
        texts = list(kept.values()) if not id else [kept[id]] if id in kept else []
        loaded = [kind.load(text) for text in texts]
        return [
            each
            for each in loaded
            if all(not value or getattr(each, name) == value for name, value in wanted.items())
        ]

    def get_volumes(self, volume_id=None, volume_name=None, backend_name=None):
        return [
            volume
            for volume in self._find(cl.Volume, volume_id, display_name=volume_name)
            if not backend_name
            or volume.host.split(self.separator)[-1].split("#")[0] == backend_name
        ]

    def get_snapshots(self, snapshot_id=None, snapshot_name=None, volume_id=None):
        return self._find(cl.Snapshot, snapshot_id, display_name=snapshot_name, volume_id=volume_id)

    def get_connections(self, connection_id=None, volume_id=None):
        return self._find(cl.Connection, connection_id, volume_id=volume_id)

    def get_key_values(self, key=None):
        return [
            cl.KeyValue(each, json.loads(text))
            for each, text in self.key_values.items()
            if not key or each == key
        ]

    def _set(self, resource: Any) -> None:
        resource._ovo.deleted = False
        resource._ovo.deleted_at = None
        self.kept[type(resource).__name__][resource.id] = resource.to_jsons()

    def set_volume(self, volume):
        self._set(volume)
        super().set_volume(volume)

    def set_snapshot(self, snapshot):
        self._set(snapshot)
        super().set_snapshot(snapshot)

    def set_connection(self, connection):
        self._set(connection)
        super().set_connection(connection)

    def set_key_value(self, key_value):
        self.key_values[key_value.key] = json.dumps(key_value.value)

    def delete_volume(self, volume):
        self.kept["Volume"].pop(volume.id, None)
        super().delete_volume(volume)

    def delete_snapshot(self, snapshot):
        self.kept["Snapshot"].pop(snapshot.id, None)
        super().delete_snapshot(snapshot)

    def delete_connection(self, connection):
        self.kept["Connection"].pop(connection.id, None)
        super().delete_connection(connection)

    def delete_key_value(self, key):
        self.key_values.pop(key.key, None)
