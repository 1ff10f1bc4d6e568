"""A Schema Registry on loopback for each test."""

from collections.abc import Iterator

import pytest

from tests.registry.server import Registry, serving


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry that holds no schema yet."""
    with serving(Registry()) as found:
        yield found
