"""`tagstream lookup` on the terminal and as JSON."""

import json

import pytest

from tagstream.stream.cli.show.lookup import print_looked
from tagstream.stream.contract.answers import answer_id
from tagstream.stream.review.lookup import Looked
from tests.answering import answer, reviewed
from tests.unit.stream.review.test_lookup import FIRST, MODEL, RECORDS, dead


def looked(number: int) -> Looked:
    """The state of the event after so many records, and a dead letter of it."""
    found = Looked(event_id="e-2", unread=("tagged",))
    for role, record in RECORDS[:number]:
        found.add(role, record)
    found.add("dlq", dead(b'{"id":"e-2"}', b"k"))
    return found


def test_a_person_reads_what_happened_and_what_holds(capfd: pytest.CaptureFixture[str]) -> None:
    """One line for each record, the decision that holds, and the answer that waits."""
    print_looked(looked(2), as_json=False)
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["dead", "review", "answer", "holds", "pending"]
    assert "asked for low_confidence" in lines[1]
    assert "other  by ann, version 1, asked by review" in lines[2]
    assert lines[3].split()[1] == "mlops"
    assert lines[4].split()[1:3] == ["other:", "answered,"]


def test_a_program_reads_the_same_as_one_object(capfd: pytest.CaptureFixture[str]) -> None:
    """Decisions and answers have the fields of their topics."""
    print_looked(looked(3), as_json=True)
    (line,) = capfd.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["holds"]["decider"] == "reviewer"
    assert found["holds"]["prediction_id"] == found["answers"][0]["answer_id"] == answer_id(FIRST)
    assert [one["door"] for one in found["decisions"]] == ["review", "tagged"]
    assert (found["pending"], found["not_read_whole"]) == (None, ["tagged"])
    assert found["dead_letters"][0]["code"] == "invalid_json"
    print_looked(Looked(event_id="none"), as_json=True)
    assert json.loads(capfd.readouterr().out)["holds"] is None


def test_words_of_people_do_not_reach_the_terminal_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    """A note or a name with terminal escapes is shown, not obeyed."""
    found = Looked(event_id="e-2")
    found.add("reviewed", reviewed(MODEL, answer(MODEL, reviewer="\x1b[31mann", note="\x1b]0;x\x07 \u202e")))
    print_looked(found, as_json=False)
    out = capfd.readouterr().out
    assert "ann" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
