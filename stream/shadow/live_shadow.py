"""
`tagstream rollout shadow`: a follower that decides drawn events of the stream with two bundles and writes both decisions.

The follower has a consumer group of its own and writes no decision to the stream. So a challenger that is slow, raises or uses much memory
does not affect the stream. The champion is the model that decides at each event's place in the log, as in a worker. The champion's
decision must equal the published decision to the byte (`tagstream.stream.shadow.published_check`).

People are asked about disagreements: a drawn disagreement is copied to `audit`, as workers copy their audits, so a person sees neither tag.
The draw uses the workers' hash at a greater rate. So the greatest probability among an event's copies is the probability that people are
asked about the event.

Records are written before the offsets are committed. After a kill some records are written again, with the same event and bundles.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import msgspec

from tagstream.model_export.compare.comparison import Comparison
from tagstream.monitoring.metrics.shadow import ShadowMetrics
from tagstream.monitoring.vocabulary import Arm, ShadowFailure, Stage
from tagstream.stream.contract.event import ContentEvent, Record
from tagstream.stream.contract.outcome import NeedsReview, Outcome, Publication, Tagged, timestamp
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.shadow_records import BatchTimes, Shadowed, ShadowSide, shadow_side, slice_name, write_shadowed
from tagstream.stream.decide.from_settings import draw_of, pipeline_of
from tagstream.stream.decide.pipeline import Decider, Draw
from tagstream.stream.kafka import admin, sizes
from tagstream.stream.kafka.producer import VerbatimSender, verbatim_sender
from tagstream.stream.kafka.reading.content import ContentMember, content_member
from tagstream.stream.kafka.rights import Operation, shadow_group
from tagstream.stream.logs import logger
from tagstream.stream.registry.unframing import unframing_of
from tagstream.stream.settings.settings import Settings
from tagstream.stream.shadow.champion import Batch, Champion, ShadowError, timed
from tagstream.stream.shadow.comparison import add, decided_of, slices_of
from tagstream.stream.shadow.decision_sources import Sample, as_workers_decide, require_same_labels
from tagstream.stream.shadow.published_check import PublishedCheck

# After this time without an event, the follower checks that the brokers are up.
QUIET_SECONDS = 30.0
# The wait for a challenger has steps of this length, so that a stop need not wait for the challenger.
STEP_SECONDS = 0.2
# The longest wait at the end for decisions that workers are about to publish.
LAST_SECONDS = 3.0

log = logger("tagstream.shadow")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowOrder:
    """
    The options of a follower.

    Attributes:
        sample: The share of the events that is compared, above 0, to 1.
        ask: The share of the disagreements that people are asked about, 0 to 1. For a canary, `asked_at_least` in its plan is the minimum.
        most: The number of drawn events after which the follower ends; None for no end.
        from_beginning: A group without a commit begins with the oldest event if True, and after the newest event if False.
    """

    sample: float
    ask: float = 0.0
    most: int | None = None
    from_beginning: bool = False


@dataclass(slots=True, kw_only=True)
class ShadowTally:
    """
    The counts of a follower.

    Attributes:
        counts: The comparison of the two bundles. The champion is the older end. Events of a batch on which the challenger failed as a
            whole are not compared.
        failures: The number of drawn events on which the challenger failed, by kind.
        equal: The number of the champion's decisions that equal the published decisions to the byte.
        different: The number of the champion's decisions that differ from the published decisions.
        unchecked: The number of the champion's decisions that were not found among the published decisions.
        asked: The number of disagreements that people are asked about.
    """

    counts: Comparison = field(default_factory=Comparison)
    failures: dict[str, int] = field(default_factory=dict)
    equal: int = 0
    different: int = 0
    unchecked: int = 0
    asked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A challenger's failure on an event or on a whole batch. `why` is the class of an exception, or the code of a dead letter."""

    kind: ShadowFailure
    why: str


class Challenger:
    """The challenging bundle. It decides one batch at a time in a thread of its own, and returns its failures as values."""

    def __init__(self, settings: Settings, decider: Decider) -> None:
        """Decide under these settings."""
        self._pipeline = pipeline_of(settings, decider=decider, unframe=unframing_of(settings))
        self._seconds = settings.inference_timeout_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="challenger")
        self._under_way: asyncio.Future[Batch] | None = None
        self.digest = decider.model.digest

    @property
    def hangs(self) -> bool:
        """True if a batch is still in the model, after the time for it."""
        return self._under_way is not None and not self._under_way.done()

    async def decide(self, records: Sequence[Record], stop: threading.Event) -> Batch | Failed | None:
        """
        Return the challenger's publications, or its failure on the whole batch; None if `stop` was set meanwhile.

        Raises:
            Exception: An error that is not the model's fault and has a next step, such as an error of the Schema Registry.
        """
        if self.hangs:
            return Failed(kind=ShadowFailure.TIMED_OUT, why="TimeoutError")
        self._under_way = asyncio.get_running_loop().run_in_executor(self._thread, timed, self._pipeline, records)
        until = time.monotonic() + self._seconds
        while not self._under_way.done():
            if stop.is_set():
                return None
            if time.monotonic() > until:
                return Failed(kind=ShadowFailure.TIMED_OUT, why="TimeoutError")
            await asyncio.wait({self._under_way}, timeout=STEP_SECONDS)
        error = self._under_way.exception()
        if error is None:
            return self._under_way.result()
        if not isinstance(error, Exception) or hasattr(error, "exit_code"):
            raise error
        # Only the class is kept, because the message may quote the text of an event.
        return Failed(kind=ShadowFailure.RAISED, why=type(error).__name__)


class Shadow:
    """One follower. For one event loop."""

    def __init__(
        self,
        settings: Settings,
        order: ShadowOrder,
        *,
        draw: Draw,
        challenger: Decider,
        champion: Champion,
        metrics: ShadowMetrics,
    ) -> None:
        """
        Join the parts.

        Args:
            settings: Brokers, topics and bounds.
            order: The options.
            draw: The draw of the workers' audits.
            challenger: The challenging bundle.
            champion: The stream's model.
            metrics: Count each event.
        """
        self._settings = settings
        self._order = order
        self._draw = draw
        self._champion = champion
        self.challenger = Challenger(settings, challenger)
        self._sample = Sample(settings, order.sample)
        self._metrics = metrics
        self.tally = ShadowTally()

    async def run(self, member: ContentMember, sender: VerbatimSender, beside: PublishedCheck, stop: threading.Event) -> None:
        """
        Follow until `stop` is set, or until `ShadowOrder.most` events were drawn.

        Args:
            member: Reads the events.
            sender: Sends to the topics `shadow` and `audit`.
            beside: Checks the decisions that workers publish.
            stop: Ends the follower. The offsets of the events whose records were written are committed.

        Raises:
            BrokerUnreachableError: The brokers do not answer any more.
            ShadowError: A record was not confirmed, or it is not known which model decides.
        """
        heard = time.monotonic()
        while not stop.is_set() and (self._order.most is None or self.tally.counts.drawn < self._order.most):
            records = await member.next()
            self._metrics.reads(partitions=member.is_assigned)
            if not records and time.monotonic() - heard > QUIET_SECONDS:
                await asyncio.to_thread(admin.partitions, self._settings)
            if records or time.monotonic() - heard > QUIET_SECONDS:
                heard = time.monotonic()
            if records and await self._champion.admit(records, stop) and await self._take(records, sender, beside, stop):
                await member.commit(records)
            await self._check(beside)
        until = time.monotonic() + LAST_SECONDS
        while beside.waits and time.monotonic() < until:
            await self._check(beside)
        self._unchecked(beside.give_up())

    async def _take(
        self, records: Sequence[Record], sender: VerbatimSender, beside: PublishedCheck, stop: threading.Event
    ) -> bool:
        """Compare the records of a poll and write the results. Return False if `stop` was set before the challenger had decided."""
        drawn = await asyncio.to_thread(self._sample.of, records)
        if not drawn:
            self.tally.counts.events += len(records)
            return True
        champion = await asyncio.to_thread(self._champion.decide, drawn)
        challenger = await self.challenger.decide(drawn, stop)
        if challenger is None:
            return False
        self.tally.counts.events += len(records)
        self.tally.counts.drawn += len(drawn)
        now = timestamp(int(time.time() * 1000))
        found: list[Shadowed] = []
        copies: list[Record] = []
        for place, (record, ours) in enumerate(zip(drawn, champion.publications, strict=True)):
            theirs = challenger if isinstance(challenger, Failed) else challenger.publications[place].outcome
            if isinstance(ours.outcome, Refusal):
                if (one := self._refused(record, ours.outcome, theirs, now)) is not None:
                    found.append(one)
                continue
            self._unchecked(beside.decided(ours, record.timestamp_ms))
            one = self._compared(record, ours.outcome, theirs, now)
            found.append(one)
            if (copy := self._question(ours, one)) is not None:
                copies.append(copy)
        if isinstance(challenger, Batch):
            _note_times(found, BatchTimes(champion=champion.seconds, challenger=challenger.seconds))
        topic = self._settings.topics.shadow
        # The copies go first, so that a reader of a comparison can already see whether people are asked about it.
        await asyncio.to_thread(_deliver, sender, copies)
        written = [Record(topic=topic, key=one.event_id.encode(), value=write_shadowed(one)) for one in found]
        await asyncio.to_thread(_deliver, sender, written)
        self.tally.asked += len(copies)
        self._metrics.asked(len(copies))
        return True

    def _question(self, ours: Publication, found: Shadowed) -> Record | None:
        """Return the copy for `audit` if the disagreement is drawn, else None."""
        champion, challenger = found.champion, found.challenger
        # People are asked about published decisions, so nothing is asked once a decision here has differed from the published one.
        if champion is None or challenger is None or champion.tag == challenger.tag or self.tally.different:
            return None
        share = max(self._order.ask, self._champion.asked_at_least(champion.model, challenger.model.digest))
        copy = self._draw.at_least(share).with_copy(ours).audit if share else None
        topic = self._settings.topics.audit
        return None if copy is None else Record(topic=topic, key=ours.key, value=copy, headers=ours.headers)

    def _refused(self, record: Record, ours: Refusal, theirs: Outcome | Failed, now: str) -> Shadowed | None:
        """Return the comparison of an event that the champion refuses. None unless only the champion's model failed on the event."""
        self.tally.counts.refuse(by_old=True, by_new=isinstance(theirs, Refusal))
        self._metrics.dead_letter()
        if ours.stage is not Stage.INFER or isinstance(theirs, Refusal | Failed):
            return None
        event = theirs.event
        found = self._begun(record, event, now)
        return msgspec.structs.replace(
            found, challenger=_side(theirs), failure=ours.reason.value, failed=self._champion.digest_of(event)
        )

    def _begun(self, record: Record, event: ContentEvent, now: str) -> Shadowed:
        return Shadowed(
            event_id=event.id,
            partition=record.partition,
            offset=record.offset,
            slices=tuple(slice_name(group, name) for group, name in slices_of(event)),
            inclusion_probability=self._order.sample,
            compared_at=now,
        )

    def _compared(self, record: Record, ours: Tagged | NeedsReview, theirs: Outcome | Failed, now: str) -> Shadowed:
        found = msgspec.structs.replace(self._begun(record, ours.event, now), champion=_side(ours))
        if isinstance(theirs, Refusal):
            self.tally.counts.refuse(by_old=False, by_new=True)
            theirs = Failed(kind=ShadowFailure.REFUSED, why=theirs.reason.value)
        if isinstance(theirs, Failed):
            kind = theirs.kind
            self.tally.failures[kind.value] = self.tally.failures.get(kind.value, 0) + 1
            self._metrics.failed(kind)
            return msgspec.structs.replace(found, failure=theirs.why, failed=self.challenger.digest)
        old, new = decided_of(ours), decided_of(theirs)
        assert old is not None
        assert new is not None
        # An event of the challenger's own arm shows no difference between the two bundles.
        if _side(ours).model.digest == _side(theirs).model.digest and ours.decision.model.arm == Arm.CHALLENGER:
            return msgspec.structs.replace(found, challenger=_side(theirs))
        add(self.tally.counts, ours.event, old, new)
        self._metrics.compared((old.tag, new.tag), (old.destination, new.destination))
        return msgspec.structs.replace(found, challenger=_side(theirs))

    async def _check(self, beside: PublishedCheck) -> None:
        """Check the decisions that were published meanwhile."""
        if not beside.waits:
            return
        equal, different = await asyncio.to_thread(beside.look)
        self.tally.equal += equal
        self.tally.different += len(different)
        self._metrics.published("equal", equal)
        self._metrics.published("different", len(different))
        for place in different:
            log.error(
                "champion_differs",
                published=place,
                consequence="the stream decides otherwise than this follower's champion: other settings, another processor, or another bundle",
            )

    def _unchecked(self, events: int) -> None:
        self.tally.unchecked += events
        self._metrics.published("unchecked", events)


async def follow(
    settings: Settings,
    order: ShadowOrder,
    challenger: Decider,
    stop: threading.Event,
    *,
    serve: Callable[[ShadowMetrics], contextlib.AbstractContextManager[object]],
) -> Shadow:
    """
    Follow the stream until `stop` is set.

    Args:
        settings: Brokers, topics, group, bundle.
        order: The options.
        challenger: The challenging bundle.
        stop: Ends the follower.
        serve: Serves the metrics meanwhile.

    Returns:
        The follower, with its tally.

    Raises:
        DecisionSourceError: The bundles have different labels.
        UnknownLabelError: `audit_rates` names a label that the bundles do not have.
        TopicsMissingError: A topic does not exist.
        NotAuthorizedError: This user lacks a right.
        BrokerUnreachableError: No broker answered, or the brokers do not answer any more.
        ShadowError: See `Shadow.run`.
    """
    topics = settings.topics
    needed = {name: getattr(topics, name) for name in ("content", "tagged", "review", "audit", "shadow")}
    rights = {name: Operation.WRITE if name in {"audit", "shadow"} else Operation.READ for name in needed}
    await asyncio.to_thread(admin.require, settings, needed, operations=rights)
    settings = await asyncio.to_thread(as_workers_decide, settings)
    most = await asyncio.to_thread(sizes.read, settings, [topics.audit])
    async with contextlib.AsyncExitStack() as opened:
        champion = Champion(settings, opened)
        require_same_labels(challenger, champion.decider)
        metrics = ShadowMetrics.alone(champion.decider.labels)
        opened.enter_context(serve(metrics))
        # A retry may write a record twice, which is the same comparison. So no right to an idempotent producer is needed.
        sender = opened.enter_context(verbatim_sender(settings, idempotent=False))
        beside = opened.enter_context(PublishedCheck.opened(settings, Sample(settings, order.sample)))
        group = shadow_group(settings)
        member = await opened.enter_async_context(content_member(settings, group, from_beginning=order.from_beginning))
        draw = replace(draw_of(settings, challenger.labels), most_bytes=most.get(topics.audit, sizes.KAFKA_DEFAULT_BYTES))
        found = Shadow(settings, order, draw=draw, challenger=challenger, champion=champion, metrics=metrics)
        log.info("shadow_follows", topic=topics.content, group=group, challenger=challenger.model.digest, sample=order.sample)
        await found.run(member, sender, beside, stop)
    return found


def _side(outcome: Tagged | NeedsReview) -> ShadowSide:
    return shadow_side(outcome.decision, "tagged" if isinstance(outcome, Tagged) else "review")


def _note_times(found: list[Shadowed], times: BatchTimes) -> None:
    """Put the times of a batch into its first record with decisions of two different bundles."""
    for place, one in enumerate(found):
        champion, challenger = one.champion, one.challenger
        if champion is not None and challenger is not None and champion.model.digest != challenger.model.digest:
            found[place] = msgspec.structs.replace(one, times=times)
            return


def _deliver(sender: VerbatimSender, records: Sequence[Record]) -> None:
    if not records:
        return
    error = next((error for error in sender.deliver(records) if error is not None), None)
    if error is not None:
        msg = f"{records[0].topic} did not take a record: {error}. Next: `tagstream doctor`, then start this again: it goes on from its last commit."
        raise ShadowError(msg) from error
