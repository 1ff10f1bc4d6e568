"""A receiver, and spans that go there."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tagstream.stream.settings.tracing import Tracing
from tagstream.stream.tracing.spans import Spans
from tests.otlp.receiver import Receiver, receiving

CLOSE_SECONDS = 60.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with receiving() as found:
        yield found


@pytest.fixture
def counts() -> Counter[str]:
    """The number of spans by result."""
    return Counter()


@pytest.fixture
def spans(receiver: Receiver, counts: Counter[str]) -> Iterator[Spans]:
    """Spans of a service `test`, each of which is recorded; `close` sends them."""
    found = Spans(
        Tracing(endpoint=receiver.endpoint), service="test", counted=lambda result, n: counts.update({result.value: n})
    )
    yield found
    found.close(CLOSE_SECONDS)
