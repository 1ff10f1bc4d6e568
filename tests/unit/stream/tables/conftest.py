"""Tables of predictions on the two kinds of database; every test of the contract runs on both."""

from collections.abc import Callable, Iterator

import pytest

from tagstream.stream.tables.predictions import Predictions, open_predictions

Open = Callable[..., Predictions]
"""Opens the test's table, again and again if asked; arguments as of `open_predictions`."""


@pytest.fixture
def opened(url: str) -> Iterator[Open]:
    """Opens the table; each opening stands for one process."""
    made: list[Predictions] = []

    def open_one(**given: object) -> Predictions:
        made.append(open_predictions(url, **given))  # type: ignore[arg-type]
        return made[-1]

    yield open_one
    for predictions in made:
        predictions.close()


@pytest.fixture
def predictions(opened: Open) -> Predictions:
    """One table that follows topics."""
    return opened(followed=True)
