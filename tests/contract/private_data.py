"""What every storage of driver private data keeps: subclass :class:`PrivateDataContract`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from filestore.private_data import EntityStorage

HOST = "node1@alpha"
OTHER_HOST = "node1@beta"
ENTITY = "4fcf2247-7812-48cf-a1e2-ab09e0045d9d"
OTHER = "0b0a5b7e-5f0e-4a52-8d3e-5a7a3c1de0a1"

SPELLINGS = [
    ENTITY,
    ENTITY.upper(),
    ENTITY.replace("-", ""),
    f"{{{ENTITY}}}",
    f"urn:uuid:{ENTITY}",
    f"uuid:{ENTITY}",
    f"{{urn:uuid:{ENTITY.upper()}}}",
    "4fcf22477812-48cf-a1e2-ab09e0045d9d",
]


class PrivateDataContract:
    """Today's form of a storage driver; ``storage`` makes one."""

    def storage(self, backend_host: str) -> EntityStorage:
        """The storage of a backend, in the one place of this test."""
        raise NotImplementedError

    @pytest.fixture
    def data(self) -> EntityStorage:
        return self.storage(HOST)

    # --- get

    def test_nothing_is_there_at_first(self, data: EntityStorage) -> None:
        assert data.get(ENTITY, None, None) == {}
        assert data.get(ENTITY, [], None) == {}
        assert data.get(ENTITY, ["a"], None) == {}
        assert data.get(ENTITY, "a", None) is None

    def test_the_default_stands_for_one_missing_key_and_for_no_dictionary(
        self, data: EntityStorage
    ) -> None:
        default = object()
        for _ in range(2):
            assert data.get(ENTITY, "missing", default) is default
            assert data.get(ENTITY, "", default) is default
            assert data.get(ENTITY, ["missing"], default) == {}
            assert data.get(OTHER, None, default) == {}
            data.update(ENTITY, {"there": "1"}, False)

    def test_none_gets_all_a_list_some_and_a_string_one(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2", "c": "3"}, False)
        assert data.get(ENTITY, None, None) == {"a": "1", "b": "2", "c": "3"}
        assert data.get(ENTITY, ["c", "a", "nope", "a"], None) == {"a": "1", "c": "3"}
        assert data.get(ENTITY, [], None) == {}
        assert data.get(ENTITY, "b", None) == "2"

    def test_the_empty_key_is_a_key(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"": "empty", "a": "1"}, False)
        assert data.get(ENTITY, "", None) == "empty"
        assert data.get(ENTITY, [""], None) == {"": "empty"}
        data.delete(ENTITY, "")
        assert data.get(ENTITY, None, None) == {"a": "1"}

    def test_what_is_got_is_the_callers_own(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1"}, False)
        data.get(ENTITY, None, None)["a"] = "changed"
        assert data.get(ENTITY, None, None) == {"a": "1"}

    # --- update

    def test_an_update_returns_the_details_as_they_were_passed(self, data: EntityStorage) -> None:
        details = {"a": 1, "b": ["x"]}
        assert data.update(ENTITY, details, False) is details
        assert details == {"a": 1, "b": ["x"]}

    @pytest.mark.parametrize(
        "value", [0, 1.5, True, None, ["x"], {"y": 1}, b"bytes", "", "text", uuid.UUID(ENTITY)]
    )
    def test_values_are_kept_as_their_text(self, data: EntityStorage, value: Any) -> None:
        data.update(ENTITY, {"k": value}, False)
        assert data.get(ENTITY, "k", None) == str(value)
        assert type(data.get(ENTITY, "k", None)) is str

    def test_an_update_keeps_other_keys(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2"}, False)
        data.update(ENTITY, {"b": "3", "c": "4"}, False)
        assert data.get(ENTITY, None, None) == {"a": "1", "b": "3", "c": "4"}

    def test_an_update_may_drop_all_other_keys(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2"}, False)
        data.update(ENTITY, {"b": "3", "c": "4"}, True)
        assert data.get(ENTITY, None, None) == {"b": "3", "c": "4"}
        data.update(ENTITY, {}, True)
        assert data.get(ENTITY, None, None) == {}

    def test_updating_twice_is_updating_once(self, data: EntityStorage) -> None:
        for _ in range(2):
            data.update(ENTITY, {"a": "1"}, False)
        assert data.get(ENTITY, None, None) == {"a": "1"}

    def test_an_update_with_nothing_makes_nothing(self, data: EntityStorage) -> None:
        assert data.update(ENTITY, {}, False) == {}
        assert data.get(ENTITY, None, None) == {}

    def test_the_longest_key_and_value_are_kept(self, data: EntityStorage) -> None:
        key, value = "é" * 255, "日" * 1023
        data.update(ENTITY, {key: value}, False)
        assert data.get(ENTITY, None, None) == {key: value}

    # --- delete

    def test_a_delete_of_a_key_leaves_the_others(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2", "c": "3"}, False)
        data.delete(ENTITY, "b")
        assert data.get(ENTITY, None, None) == {"a": "1", "c": "3"}

    def test_a_delete_of_a_list_leaves_the_others(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2", "c": "3"}, False)
        data.delete(ENTITY, ["a", "c", "nope"])
        assert data.get(ENTITY, None, None) == {"b": "2"}

    def test_a_delete_of_no_keys_deletes_nothing(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1"}, False)
        data.delete(ENTITY, [])
        assert data.get(ENTITY, None, None) == {"a": "1"}

    def test_a_delete_without_key_deletes_all_of_the_entity(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "": "2"}, False)
        data.update(OTHER, {"a": "1"}, False)
        data.delete(ENTITY, None)
        assert data.get(ENTITY, None, None) == {}
        assert data.get(OTHER, None, None) == {"a": "1"}

    def test_deleting_what_is_not_there_is_no_error(self, data: EntityStorage) -> None:
        data.delete(ENTITY, None)
        data.delete(ENTITY, "a")
        data.delete(ENTITY, ["a"])
        data.update(ENTITY, {"b": "1"}, False)
        data.delete(ENTITY, "a")
        assert data.get(ENTITY, None, None) == {"b": "1"}

    def test_what_was_deleted_can_be_set_again(self, data: EntityStorage) -> None:
        data.update(ENTITY, {"a": "1", "b": "2"}, False)
        data.delete(ENTITY, None)
        data.update(ENTITY, {"a": "3"}, False)
        assert data.get(ENTITY, None, None) == {"a": "3"}

    # --- entities

    def test_each_spelling_of_a_uuid_is_an_entity_of_its_own(self, data: EntityStorage) -> None:
        for n, entity in enumerate(SPELLINGS):
            data.update(entity, {"n": n}, False)
        assert [data.get(entity, "n", None) for entity in SPELLINGS] == [
            str(n) for n in range(len(SPELLINGS))
        ]
