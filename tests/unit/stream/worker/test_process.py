"""What a worker's process does before it asks the brokers."""

import gc
from unittest.mock import Mock

import pytest

from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker import process


class AskedError(Exception):
    """The worker came to ask the brokers."""


def test_garbage_is_collected_while_a_worker_waits_for_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb switches collections off for the imports; a wait for a broker or an operator may last days."""
    monkeypatch.setattr(process, "exit_on_early_stop", Mock())
    monkeypatch.setattr(process, "look", Mock(side_effect=AskedError))
    gc.disable()
    try:
        with pytest.raises(AskedError):
            process.run(Settings(), pipeline=Mock(), make=Mock(), metrics=Mock(), registry=Mock())
        assert gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
