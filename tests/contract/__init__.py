"""Suites that every backend subclasses: what is promised is tested once and run on each."""

import pytest

pytest.register_assert_rewrite(
    "tests.contract.backend", "tests.contract.private_data", "tests.contract.store"
)
