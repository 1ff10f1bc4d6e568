"""Stores on the two kinds of database; every test of the contract runs on both."""

from collections.abc import Callable, Iterator

import pytest

from tagstream.stream.review.store.store import Store, open_store
from tests.unit.stream.review.store.making import NO_SECOND, Clock

Open = Callable[..., Store]
"""Opens the test's database, again and again if asked; `second_opinion_rate` is 0 unless it is given."""


@pytest.fixture
def clock() -> Clock:
    """The time of every store of the test."""
    return Clock()


@pytest.fixture
def opened(url: str, clock: Clock) -> Iterator[Open]:
    """Opens stores on the database; each stands for one process."""
    stores: list[Store] = []

    def open_one(*, second_opinion_rate: float = NO_SECOND) -> Store:
        stores.append(open_store(url, clock=clock, second_opinion_rate=second_opinion_rate))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open) -> Store:
    """One store on the database."""
    return opened()
