"""
`tagstream rollout shadow`: a follower in a group of its own that decides drawn events of the stream with two bundles and writes what they say.

It takes no partition of the workers' group and writes no decision, so a challenger that is slow, raises or eats memory costs the
stream nothing. The champion is the model that decides each event's place in the log, as a worker finds it. Its decision here must be the one
that was published, to the byte (`tagstream.stream.shadow.published_check`).

People are asked about disagreements: a drawn one is copied to `audit`, as workers copy what they draw, so that a person answers who sees neither
tag. The hash that draws is the workers' own, at a greater rate. So of an event's copies the greater probability is that of being asked at all.

Records are written before the offsets are committed: after a kill some are written again, with the same event and bundles.
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

# After so long without an event the brokers are asked whether they are up.
QUIET_SECONDS = 30.0
# A challenger is waited for in steps, so that the end of the process does not wait for it.
STEP_SECONDS = 0.2
# At the end, decisions that workers are about to publish are waited for.
LAST_SECONDS = 3.0

log = logger("tagstream.shadow")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowOrder:
    """
    What is followed.

    Attributes:
        sample: The share of the events that is compared, above 0, to 1.
        ask: The share of the disagreements about which people are asked, 0 to 1; of a canary at least what its plan counts on.
        most: End after so many events were drawn; None: never.
        from_beginning: Where the group has no commit, begin with the oldest event; else behind the newest.
    """

    sample: float
    ask: float = 0.0
    most: int | None = None
    from_beginning: bool = False


@dataclass(slots=True, kw_only=True)
class ShadowTally:
    """
    What a follower has seen.

    Attributes:
        counts: The two bundles compared; the champion is the older end. Events on which the challenger failed as a whole are not compared.
        failures: Drawn events on which the challenger failed, by kind.
        equal: Decisions of the champion that were published to the byte so.
        different: Those that were published otherwise.
        unchecked: Those that were not found among what is published.
        asked: Disagreements about which people are asked.
    """

    counts: Comparison = field(default_factory=Comparison)
    failures: dict[str, int] = field(default_factory=dict)
    equal: int = 0
    different: int = 0
    unchecked: int = 0
    asked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """How a challenger failed on an event, or on a whole batch; `why` is the class of its exception, or the code of a dead letter."""

    kind: ShadowFailure
    why: str


class Challenger:
    """The other bundle, whose failures are values. One batch at a time, in a thread of its own."""

    def __init__(self, settings: Settings, decider: Decider) -> None:
        """Decide under these settings."""
        self._pipeline = pipeline_of(settings, decider=decider, unframe=unframing_of(settings))
        self._seconds = settings.inference_timeout_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="challenger")
        self._under_way: asyncio.Future[Batch] | None = None
        self.digest = decider.model.digest

    @property
    def hangs(self) -> bool:
        """Is a batch still in the model, beyond its bound?"""
        return self._under_way is not None and not self._under_way.done()

    async def decide(self, records: Sequence[Record], stop: threading.Event) -> Batch | Failed | None:
        """
        What it would publish, or how it failed on all of them; None where `stop` was set meanwhile.

        Raises:
            Exception: What is no fault of the model: an error that says its own next step, as of a Schema Registry.
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
        # The class alone: the message may quote the text of an event.
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
            order: See there.
            draw: As workers draw their audits.
            challenger: The other bundle.
            champion: The stream's.
            metrics: Are told of each event.
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
        Follow until `stop` is set, or the order is done.

        Args:
            member: Reads the events.
            sender: To the topic `shadow`.
            beside: What workers publish.
            stop: Ends it; what was written is committed.

        Raises:
            BrokerUnreachableError: The brokers are gone.
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
        """Compare a poll, and write it; False where `stop` was set before the challenger had decided."""
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
        # Whoever reads a comparison can see whether people are asked about it.
        await asyncio.to_thread(_deliver, sender, copies)
        written = [Record(topic=topic, key=one.event_id.encode(), value=write_shadowed(one)) for one in found]
        await asyncio.to_thread(_deliver, sender, written)
        self.tally.asked += len(copies)
        self._metrics.asked(len(copies))
        return True

    def _question(self, ours: Publication, found: Shadowed) -> Record | None:
        """The copy for `audit` of a disagreement that is drawn."""
        champion, challenger = found.champion, found.challenger
        # People are asked about what is published: not while decisions here are other ones.
        if champion is None or challenger is None or champion.tag == challenger.tag or self.tally.different:
            return None
        share = max(self._order.ask, self._champion.asked_at_least(champion.model, challenger.model.digest))
        copy = self._draw.at_least(share).with_copy(ours).audit if share else None
        topic = self._settings.topics.audit
        return None if copy is None else Record(topic=topic, key=ours.key, value=copy, headers=ours.headers)

    def _refused(self, record: Record, ours: Refusal, theirs: Outcome | Failed, now: str) -> Shadowed | None:
        """An event that the champion refuses: a comparison only where its model failed on it and the challenger's did not."""
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
        # An event of the challenger's own arm says nothing of how the two differ.
        if _side(ours).model.digest == _side(theirs).model.digest and ours.decision.model.arm == Arm.CHALLENGER:
            return msgspec.structs.replace(found, challenger=_side(theirs))
        add(self.tally.counts, ours.event, old, new)
        self._metrics.compared((old.tag, new.tag), (old.destination, new.destination))
        return msgspec.structs.replace(found, challenger=_side(theirs))

    async def _check(self, beside: PublishedCheck) -> None:
        """Compare what has been published meanwhile."""
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
        order: See there.
        challenger: The other bundle.
        stop: Ends it.
        serve: Serves the metrics meanwhile.

    Returns:
        The follower, with its tally.

    Raises:
        DecisionSourceError: The bundles have other labels.
        UnknownLabelError: `audit_rates` names a label that they do not have.
        TopicsMissingError: A topic does not exist.
        NotAuthorizedError: This user lacks a right.
        BrokerUnreachableError: No broker answered, or the brokers are gone.
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
        # A record that a retry writes twice is the same comparison: no right to an idempotent producer is needed.
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
    """Put the times of a batch into its first record of two bundles."""
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
