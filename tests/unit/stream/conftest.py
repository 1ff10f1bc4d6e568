"""Addresses of this machine, with and without a listener."""

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def listening() -> Iterator[str]:
    """An address that takes connections and sends no byte."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    """An address without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"
