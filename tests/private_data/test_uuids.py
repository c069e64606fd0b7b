"""What is like a UUID, as oslo.utils decides it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestore.private_data import is_uuid_like
from tests.contract.private_data import ENTITY, SPELLINGS


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_is_one(text: str) -> None:
    assert is_uuid_like(text)


@pytest.mark.parametrize(
    "value",
    [
        *("", "111", ENTITY[:-1], ENTITY + "0", ENTITY.replace("4", "g"), f" {ENTITY}"),
        *(f"{ENTITY}\n", f"URN:UUID:{ENTITY}", f"[{ENTITY}]", "-" * 36),
        *("1_345678123456781234567812345678", "+2345678123456781234567812345678", "０" * 32),
        *(None, 5, 5.5, b"x", ["fake"], uuid.UUID(ENTITY), ENTITY.encode()),
    ],
    ids=ascii,
)
def test_nothing_else_is(value: Any) -> None:
    assert not is_uuid_like(value)


PIECES = st.sampled_from(
    ["urn:", "uuid:", "{", "}", "-", "4fcf2247", "7812", "48CF", "a1e2", "ab09e0045d9d", "_", "٣"]
)


@given(st.lists(PIECES, max_size=14).map("".join))
def test_it_says_what_the_uuid_module_and_the_text_agree_on(text: str) -> None:
    try:
        value = uuid.UUID(text).hex
    except ValueError:
        value = ""
    bare = text.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "").lower()
    assert is_uuid_like(text) == (value != "" and value == bare)
