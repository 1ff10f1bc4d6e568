"""A record on the terminal."""

import pytest

from stream.cli.show.records import print_record
from stream.contract.dead_letter import Place
from stream.contract.record import Record
from stream.dead_letters.selection import place


def test_the_place_that_tail_prints_is_the_one_that_dlq_show_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """The second word of the line can be pasted behind `tagstream dlq show`."""
    print_record(Record(topic="content.dlq", partition=2, offset=40, key=None, value=b"no json"), as_json=False)
    topic, shown, *_ = capsys.readouterr().out.split()
    assert topic == "content.dlq"
    assert place(shown) == Place(partition=2, offset=40)
