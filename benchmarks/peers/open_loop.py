"""The open loop: events are sent at Poisson times that no arm can slow down, and each delay counts from the intended time."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer

from benchmarks.peers import figures, running, saturation, texts
from benchmarks.peers.figures import Work
from benchmarks.peers.saturation import Backlog, Trial
from benchmarks.peers.texts import Event
from tagstream.stream.contract.event import Record
from tagstream.stream.settings.settings import Settings

SHARES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1)
# The intended time of an event, in Unix microseconds; every arm passes headers on.
HEADER = "intended-us"
# The first seconds at a rate are left out: batches settle.
SETTLE_SECONDS = 2.0
LEAD_SECONDS = 0.5
WAKE_EVENTS = 64
# At most so many times the length of a rate, for a lag to go.
DRAIN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """
    One rate.

    Attributes:
        share: Of the saturated rate.
        rate: Events a second that were intended.
        p50_ms: Of the delays from the intended time to the moment at which the broker appended the outcome.
        p99_ms: The same.
        half_lag: Events outstanding when half of the time was over.
        end_lag: The same at the end.
        late_ms: The p99 of how late the sender itself was.
    """

    share: float
    rate: float
    p50_ms: float
    p99_ms: float
    half_lag: int
    end_lag: int
    late_ms: float
    work: Work


def times(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """
    Seconds after the start of a Poisson process' events, in order.

    >>> 400 < len(list(times(100, 5, 1))) < 600
    True
    """
    chance = random.Random(seed)  # noqa: S311 - reproducible
    moment = chance.expovariate(rate)
    while moment < seconds:
        yield moment
        moment += chance.expovariate(rate)


async def send(settings: Settings, events: Sequence[Event], after: Sequence[float]) -> list[float]:
    """
    Send each event at its time, or as soon after it as the sender can; the intended time goes with it in a header.

    Returns:
        For each event how many milliseconds after its time the sender came to it.
    """
    late: list[float] = []
    async with AIOKafkaProducer(bootstrap_servers=settings.broker_list, acks="all", enable_idempotence=True) as producer:
        began = time.time() + LEAD_SECONDS
        sent = []
        for event, moment in zip(events, after, strict=True):
            intended = began + moment
            if (wait := intended - time.time()) > 0:
                await asyncio.sleep(wait)
            late.append(1000 * (time.time() - intended))
            header = [(HEADER, str(round(1e6 * intended)).encode())]
            value, key = texts.value_of(event), event.id.encode()
            sent.append(await producer.send(settings.topics.content, value, key=key, headers=header))
        await asyncio.gather(*sent)
    return late


def intended_of(record: Record) -> float | None:
    """The intended time in a record's header, Unix milliseconds; None where there is none."""
    found = dict(record.headers).get(HEADER)
    return None if found is None else int(found) / 1000


def point(records: Sequence[Record], *, share: float, rate: float, late: Sequence[float], work: Work) -> Point:
    """
    The figures of one rate, from the outcomes alone.

    Raises:
        ValueError: No outcome has its intended time, or none was intended after the first seconds.
    """
    stamped = [(at, record.timestamp_ms) for record in records if (at := intended_of(record)) is not None]
    if not stamped:
        msg = f"none of {len(records)} outcomes has the header {HEADER}. Next: see that the arm passes headers on."
        raise ValueError(msg)
    intended, written = sorted(at for at, _ in stamped), sorted(stamp for _, stamp in stamped)
    delays = figures.delays_ms(stamped, intended[0] + 1000 * SETTLE_SECONDS)
    return Point(
        share=share,
        rate=rate,
        p50_ms=figures.percentile(delays, 0.5),
        p99_ms=figures.percentile(delays, 0.99),
        half_lag=figures.lag(intended, written, (intended[0] + intended[-1]) / 2),
        end_lag=figures.lag(intended, written, intended[-1]),
        late_ms=figures.percentile(late, 0.99),
        work=work,
    )


def run(trial: Trial, *, arm: str, saturated: float, shares: Sequence[float], seconds: float) -> list[Point]:
    """
    One arm at rising rates, each with a process and a topic of its own.

    Args:
        trial: Broker, texts and labels.
        arm: A name in `KINDS`.
        saturated: Events a second of a backlog, which the shares are of.
        shares: Of it.
        seconds: How long each rate lasts.
    """
    kind = saturation.KINDS[arm]
    found: list[Point] = []
    for number, share in enumerate(shares):
        rate = share * saturated
        after = list(times(rate, seconds, seed=number))
        topic = f"open-{number}"
        settings = trial.bench.settings(topic, topic)
        whole = Backlog.of(trial.material, len(after) + WAKE_EVENTS, topic)
        events = list(whole.events())
        expected = whole.expected(trial.references, kind.model)
        with trial.bench.running(arm, topic, topic) as started:
            # The arm has joined its group and warmed up before the first intended time.
            running.fill(settings, events[:WAKE_EVENTS])
            running.written([started], WAKE_EVENTS, seconds=running.QUIET_SECONDS)
            late = asyncio.run(send(settings, events[WAKE_EVENTS:], after))
            records = running.written([started], len(events), seconds=DRAIN * seconds + running.QUIET_SECONDS)
        work = saturation.work_of(records, whole, expected)
        one = point(records, share=share, rate=rate, late=late, work=work)
        found.append(one)
        trial.say(
            f"{share:.0%} of saturation, {rate:.0f} events/s: p50 {one.p50_ms:.0f} ms, p99 {one.p99_ms:.0f} ms, lag {one.end_lag} at the end"
        )
    return found


def faults(points: Sequence[Point], arm: str) -> list[str]:
    """As `saturation.faults`."""
    least = saturation.KINDS[arm].least_agreement
    return [f"{arm} at {point.share:.0%}: {reason}" for point in points for reason in point.work.faults(least)]
