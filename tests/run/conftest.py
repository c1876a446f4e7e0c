"""What holds for all tests of this floor."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="module")
def _charts_in_words(charts_in_words):
    """Charts are drawn and looked at in tests/use; here they would take more than half of the time."""
    with charts_in_words():
        yield
