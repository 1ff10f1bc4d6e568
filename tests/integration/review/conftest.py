"""A fixture for all tests of the console on a broker."""

import pytest


@pytest.fixture(autouse=True)
def _count_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine counts slowly; the figures of a test are still those of its moment."""
    monkeypatch.setattr("tagstream.stream.review.store.queue.LONG_SECONDS", float("inf"))
