"""A producer that sends while a run goes on knows what an earlier process has sent."""

from tagstream.stream.contract.event import Record
from tests.faults.inputs import plant
from tests.faults.upstream.steady import AT_ONCE, FIRST, block, recalled


def test_events_of_an_earlier_process_are_known_by_what_lies_on_content() -> None:
    """Those of its own, with their places, whatever their order; the next ones have ids that were never sent."""
    sent = [*plant(3, malformed=0, seed="others"), *block("seed", 0), *block("seed", AT_ONCE)[:7]]
    content = [Record(topic="content", partition=2, offset=at, key=one.key, value=one.value) for at, one in enumerate(sent)]
    found, first = recalled("seed", content)
    assert [one.planted for one in found] == sent[3:]
    assert [(one.partition, one.offset) for one in found] == [(2, at) for at in range(3, len(sent))]
    assert first == 2 * AT_ONCE
    assert f"event-{FIRST + first}" not in {one.event_id for one in sent}
    assert recalled("seed", ()) == ([], 0)
