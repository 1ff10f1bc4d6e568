"""The ledger of a run knows which records are events, and how far workers can read them."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults.inputs import Input, Planted, Transaction
from tests.faults.journal import Journal
from tests.faults.upstream import ledger
from tests.faults.upstream.ledger import Ledger
from tests.faults.verdict.good_run import SETTINGS


def sent(partition: int, offset: int, transaction: Transaction | None = None) -> Input:
    """A record at a place."""
    planted = Planted(event_id=f"{partition}-{offset}", key=None, value=b"{}", transaction=transaction)
    return Input(planted=planted, partition=partition, offset=offset)


def test_events_behind_an_open_transaction_count_when_it_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker can read beyond it, so that what lies behind is no work for a fault; markers and dropped records are never waited for."""
    fenced: list[object] = []
    monkeypatch.setattr(ledger, "end_hung", fenced.append)
    records = [
        sent(0, 0),
        sent(1, 0, Transaction.ABORTED),
        sent(1, 2, Transaction.COMMITTED),
        sent(0, 1, Transaction.HUNG),
        sent(0, 2, Transaction.HUNG),
        sent(0, 3),
    ]
    observer = SimpleNamespace(ends=lambda: {0: 4, 1: 4, 2: 0})

    found = Ledger(SETTINGS, records, observer=observer, journal=Journal(tmp_path), seed="s")  # type: ignore[arg-type]

    assert [one.offset for one in found.inputs] == [0, 2, 3]
    assert (found.is_hung, found.ends) == (True, {0: 1, 1: 3, 2: 0})
    found.end_hung()
    assert (found.is_hung, found.ends) == (False, {0: 4, 1: 3, 2: 0})
    assert fenced == [SETTINGS]
