"""What a share driver sees of its private data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from filestore.private_data.details import is_uuid_like, require_dict

if TYPE_CHECKING:
    from filestore.private_data.storage import StorageDriver

D = TypeVar("D", bound="dict[Any, Any]")


class EntityStorage(Protocol):
    """Today's form of a storage driver, which knows no namespaces."""

    def get(self, entity_id: str, key: str | list[str] | None, default: Any) -> Any: ...

    def update(self, entity_id: str, details: D, delete_existing: bool) -> D: ...

    def delete(self, entity_id: str, key: str | list[str] | None) -> None: ...


class DriverPrivateData:
    """What a share driver sees of its private data: today's interface.

    ``storage``: whatever has :class:`EntityStorage`'s methods, such as a
    :class:`StoreStorageDriver`.  Every method raises ValueError for an ``entity_id`` that is
    not like a UUID; see :func:`is_uuid_like`.
    """

    def __init__(self, storage: EntityStorage) -> None:
        self._storage = storage

    def get(self, entity_id: str, key: str | list[str] | None = None, default: Any = None) -> Any:
        """A dictionary of all details or of those in a list, or the value of one key."""
        self._validate_entity_id(entity_id)
        return self._storage.get(entity_id, key, default)

    def update(self, entity_id: str, details: D, delete_existing: bool = False) -> D:
        """Set details, and with ``delete_existing`` drop all others; returns ``details``.

        Raises ValueError when ``details`` is no dictionary.
        """
        self._validate_entity_id(entity_id)
        require_dict(details)
        return self._storage.update(entity_id, details, delete_existing)

    def delete(self, entity_id: str, key: str | list[str] | None = None) -> None:
        """Delete all details or some; those that are not there are no error."""
        self._validate_entity_id(entity_id)
        return self._storage.delete(entity_id, key)

    @staticmethod
    def _validate_entity_id(entity_id: object) -> None:
        if not is_uuid_like(entity_id):
            raise ValueError(f"the entity id {entity_id!r} is no UUID")


class PrivateDriverData(DriverPrivateData):
    """What a share driver sees of its private data, in the interface with namespaces.

    ``context``: the namespace, when it is text (``share``, ``snapshot``…); anything else, a
    request's context or None, stands for no namespace.  ``storage``: the backend's.
    """

    def __init__(self, context: object, storage: StorageDriver) -> None:
        super().__init__(_InNamespace(storage, context if isinstance(context, str) else None))
        self.context = context


class _InNamespace:
    """A storage driver's details of one namespace, as today's form."""

    def __init__(self, storage: StorageDriver, namespace: str | None) -> None:
        self._storage = storage
        self._namespace = namespace

    def get(self, entity_id: str, key: str | list[str] | None, default: Any) -> Any:
        return self._storage.details_get(self._namespace, entity_id, key, default)

    def update(self, entity_id: str, details: D, delete_existing: bool) -> D:
        return self._storage.details_update(self._namespace, entity_id, details, delete_existing)

    def delete(self, entity_id: str, key: str | list[str] | None) -> None:
        return self._storage.details_delete(self._namespace, entity_id, key)
