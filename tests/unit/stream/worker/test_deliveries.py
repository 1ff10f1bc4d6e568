"""Two deliveries of one worker, as the consumer and the position see them."""

import asyncio

import pytest

from tagstream.stream.deliver.delivery import Deliveries
from tagstream.stream.deliver.fatal import DeliveryError
from tests.fakes import Died, FakeEvent, FakeMessage, FakeStream, Gate
from tests.unit.stream.deliver.delivering import decided, drive, quiet, rig, until


class Answers(FakeStream):
    """A stream of the other topic, whose partitions and offsets are the same numbers."""

    def feed(self, *offsets: int) -> None:
        """Deliver answers with these offsets."""
        for offset in offsets:
            self.coming.put_nowait(FakeEvent(FakeMessage(offset, topic="reviewed")))


def test_partitions_are_given_up_when_both_topics_have_finished() -> None:
    """A batch of either topic that has begun is finished first; and no record is taken until partitions are assigned again."""

    async def scenario() -> None:
        gate = Gate(decided, 0)
        async with rig(decide=gate, feed=[0]) as events, rig(stream=Answers(), feed=[0, 1]) as answers:
            both = Deliveries(events.delivery, answers.delivery)
            await until(lambda: len(answers.stream.acknowledged) == 2 and bool(gate.batches))
            assert (both.inflight, both.holds()) == (1, {("content", 0)})
            assert both.acknowledged == {("reviewed", 0): 2}
            giving_up = asyncio.create_task(both.hand_back())
            await quiet()
            assert not giving_up.done()
            gate.open()
            await giving_up
            assert both.acknowledged == {("content", 0): 1, ("reviewed", 0): 2}

            for it in (events, answers):
                it.stream.feed(2)
            await quiet()
            assert (events.stream.acknowledged, answers.stream.acknowledged) == ([0], [0, 1])
            both.take_again()
            for it in (events, answers):
                it.stream.feed(3)
            await until(lambda: events.stream.acknowledged == [0, 3] and answers.stream.acknowledged == [0, 1, 3])

    drive(scenario)


def test_a_broken_client_ends_the_process_whichever_topic_it_read() -> None:
    """The error goes through the delivery of the events, whose guard then blames none of them."""

    async def scenario() -> None:
        async with rig() as events, rig(stream=Answers()) as answers:
            with pytest.raises(Died):
                Deliveries(events.delivery, answers.delivery).broken(DeliveryError("gone"))
            assert [str(cause) for cause in events.death.causes] == ["gone"]

    drive(scenario)


def test_the_bound_is_that_of_the_slower_topic() -> None:
    """Both finish at the same time, so their bounds do not add up."""

    async def scenario() -> None:
        async with rig(inference_threads=4) as events, rig(stream=Answers(), inference_threads=1) as answers:
            both = Deliveries(events.delivery, answers.delivery)
            assert both.bound_seconds == events.delivery.bound_seconds > answers.delivery.bound_seconds
            assert Deliveries(events.delivery).bound_seconds == events.delivery.bound_seconds

    drive(scenario)
