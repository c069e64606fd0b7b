"""A find in a transaction sees what that has written, and does not look at all of it."""

from __future__ import annotations

import random
from typing import Any

import pytest

import filestore
from filestore import drafts

NAMES = ["a", "b", None, 1, 1.0, True, ["a"], {"a": 1}]


def by_hand(documents: dict[str, dict[str, Any]], wanted: dict[str, Any]) -> list[str]:
    same = lambda one, other: type(one) is type(other) and one == other
    return sorted(
        id
        for id, document in documents.items()
        if all(name in document and same(document[name], value) for name, value in wanted.items())
    )


class TakenBackError(Exception):
    """What ends a nested block."""


@pytest.mark.parametrize("seed", range(20))
def test_finds_are_those_of_a_plain_dict(seed: int) -> None:
    chance = random.Random(seed)
    with filestore.open("memory:") as store:
        store.define("volumes", "large", lambda each: each.get("size", 0) > 1, version="1")
        volumes = store["volumes"]
        model: dict[str, dict[str, Any]] = {}

        def change() -> None:
            for _ in range(chance.randrange(6)):
                id = f"v{chance.randrange(8)}"
                if chance.random() < 0.25:
                    volumes.pop(id, None)
                    model.pop(id, None)
                else:
                    model[id] = {"name": chance.choice(NAMES), "size": chance.randrange(4)}
                    volumes[id] = model[id]
                store["others"][id] = {"name": "a"}

        def look() -> None:
            for wanted in ({"name": chance.choice(NAMES)}, {"size": 1, "name": "a"}, {}):
                found = [record.key.id for record in volumes.find(**wanted)]
                assert found == by_hand(model, wanted)
            found = [record.key.id for record in volumes.find(large=True)]
            assert found == sorted(id for id, each in model.items() if each["size"] > 1)

        change()
        for _ in range(3):
            with store.transaction():
                for _ in range(4):
                    change()
                    look()
                    before = dict(model)
                    try:
                        with store.transaction():
                            change()
                            look()
                            if chance.random() < 0.5:
                                raise TakenBackError
                    except TakenBackError:
                        model.clear()
                        model.update(before)
                    look()
            look()


def test_a_field_is_looked_up_in_each_document_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    decode = drafts.decode

    def counted(data: bytes) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        return decode(data)

    monkeypatch.setattr(drafts, "decode", counted)
    with filestore.open("memory:") as store, store.transaction():
        for number in range(100):
            assert store["volumes"].find(name=f"n{number}") == []
            store["volumes"][f"v{number}"] = {"name": f"n{number}"}
        (record,) = store["volumes"].find(name="n7")
        assert record.key.id == "v7"
    assert looks == 100


def test_a_computed_field_that_raises_is_told_and_takes_nothing_back() -> None:
    with filestore.open("memory:") as store:
        store.define("volumes", "half", lambda each: each["size"] // 2, version="1")
        with store.transaction():
            store["volumes"]["a"] = {"size": 4}
            assert [each.key.id for each in store["volumes"].find(half=2)] == ["a"]
            store["volumes"]["b"] = {}
            with pytest.raises(KeyError):
                store["volumes"].find(half=2)
            store["volumes"]["b"] = {"size": 5}
            assert [each.key.id for each in store["volumes"].find(half=2)] == ["a", "b"]
        assert len(store["volumes"]) == 2
