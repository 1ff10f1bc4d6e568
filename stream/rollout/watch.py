"""Watches the challenger of a running stream, and acts on the verdict: promotes the challenger, or rolls it back."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from tagstream.model_export.bundle.bundle import BundleError
from tagstream.model_export.bundle.depot import DepotError
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.rollout_records import Guards, Plan, Verdict
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.rollout.abandoned_close import AbandonedClose
from tagstream.stream.rollout.audience import ArmLine
from tagstream.stream.rollout.change import finish
from tagstream.stream.rollout.control import Begun, controlling, name_here
from tagstream.stream.rollout.controller import AbandonedCloseError, ControllerError
from tagstream.stream.rollout.deciders import depot_of
from tagstream.stream.rollout.epochs import Models
from tagstream.stream.rollout.errors import RolloutError
from tagstream.stream.rollout.evidence import Evidence
from tagstream.stream.rollout.evidence_reader import EvidenceReader
from tagstream.stream.rollout.history import history
from tagstream.stream.rollout.verdict import ENDING, ChallengerVerdict, RolloutStep, judge, tries_of
from tagstream.stream.settings.secret_files import answer_keys
from tagstream.stream.settings.settings import Settings

DAY_MS = 86_400_000.0
MOST_PAUSE_SECONDS = 3_600.0
HELD_PAUSE_SECONDS = 1.0


class NothingWatchedError(RolloutError):
    """There is no challenger now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """
    A challenger and the present verdict on it.

    Attributes:
        models: The models of the newest epoch.
        verdict: The present verdict.
        last: The newest verdict of this epoch in the topic; None before the first verdict.
        unread: The number of records that do not follow the contract of their topic.
        why_unread: Why the last of them was not read.
        unknown: The number of records of `outcomes` whose event the models of this epoch have not decided.
        beyond: The number of records of `outcomes` that are more than a verdict keeps.
        unseen: Topics that do not exist, or that this user may not see. They count as empty.
        lines: What people, readers and viewers said about each arm of the epoch. It is no part of the verdict.
    """

    models: Models
    verdict: ChallengerVerdict
    last: Verdict | None
    unread: int
    why_unread: str = ""
    unknown: int = 0
    beyond: int = 0
    unseen: tuple[str, ...]
    lines: tuple[ArmLine, ...]


class Watch:
    """Judges the challenger of the newest epoch repeatedly. One task uses it."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        """
        Read nothing yet.

        Args:
            settings: Brokers, group, topics and depot.
            clock: Returns Unix seconds.
        """
        self._settings = settings
        self._clock = clock
        self._watched: EvidenceReader | None = None
        self._left_closing = AbandonedClose()

    async def finish(self) -> int | None:
        """
        Begin a closing epoch whose controller has ended: its close was first seen here `FINISH_SECONDS` ago.

        Returns:
            The epoch that is still closing; None if no epoch is closing.

        Raises:
            NoRolloutError: There is no rollout.
            ControllerError: Another controller has begun.
            BrokerUnreachableError: No broker answered in time.
        """
        _, epochs = await history(self._settings)
        if self._left_closing.at(epochs.closing, time.monotonic()):
            epochs = await finish(self._settings)
        return epochs.closing

    async def look(self) -> Judged:
        """
        Judge the challenger by the present records of the topics. This changes nothing.

        Raises:
            NothingWatchedError: There is no rollout, or its newest epoch has no challenger.
            DepotError: The challenger's bundle cannot be read.
            BrokerUnreachableError: No broker answered in time.
        """
        entries, epochs = await history(self._settings)
        models = epochs.models(epochs.newest) if epochs.started else None
        if models is None or models.challenger is None:
            self._watched = None
            msg = "no challenger decides anything now. Next: `tagstream rollout canary BUNDLE --share 0.05`."
            raise NothingWatchedError(msg)
        counted = [entry.record for entry in entries if entry.counts]
        verdicts = [one for one in counted if isinstance(one, Verdict)]
        if self._watched is None or self._watched.models != models:
            plans = {one.record.epoch: one.written_ms for one in entries if one.counts and isinstance(one.record, Plan)}
            line = line_of(epochs.begun())
            self._watched = await asyncio.to_thread(
                self._begun,
                models,
                frozenset(str(one.epoch) for one in line),
                plans[line[0].epoch],
                tries_of(epochs.begun(), verdicts, models.challenger.bundle.digest),
            )
        now_ms = int(self._clock() * 1000)
        evidence = await asyncio.to_thread(self._watched.read, now_ms=now_ms)
        verdict = judge(evidence, days=max(0.0, (now_ms - self._watched.since_ms) / DAY_MS))
        last = next((one for one in reversed(verdicts) if one.epoch == models.epoch), None)
        return Judged(
            models=models,
            verdict=verdict,
            last=last,
            unread=self._watched.unread.total(),
            why_unread=self._watched.why_unread,
            unknown=self._watched.unknown,
            beyond=evidence.measured.beyond,
            unseen=self._watched.unseen,
            lines=await asyncio.to_thread(self._watched.lines),
        )

    def _begun(self, models: Models, epochs: frozenset[str], since_ms: int, tries: int) -> EvidenceReader:
        assert models.challenger is not None
        labels = depot_of(self._settings).read(models.challenger.bundle.digest).manifest.labels
        # The share of an audience among all units is not known.
        share = None if models.challenger.sources else models.challenger.share
        return EvidenceReader(
            settings=self._settings,
            models=models,
            epochs=epochs,
            since_ms=since_ms,
            keys=answer_keys(self._settings.security),
            evidence=Evidence(
                guards=models.guards or Guards(), labels=len(labels), share=share, tries=tries, shares=len(epochs)
            ),
        )

    async def act(self, judged: Judged) -> Begun | None:
        """
        Write a new verdict, and promote or roll back by it, unless another controller has changed the epoch meanwhile.

        Returns:
            The epoch that has begun; None if the model stays.

        Raises:
            ControllerError: Another controller has begun, or a worker is not ready. The caller tries again later.
            BrokerUnreachableError: No broker answered in time.
        """
        models, found = judged.models, judged.verdict
        said = RolloutStep.WAIT if judged.last is None else judged.last.decision
        if found.decision == said and found.decision not in ENDING:
            return None
        assert models.challenger is not None
        by = name_here()
        async with controlling(self._settings, by=by) as control:
            epochs = await control.begin()
            # Another controller may have acted between `look` and the fence. After the fence it cannot.
            if epochs.newest != models.epoch:
                return None
            if found.decision != said:
                now = timestamp(int(self._clock() * 1000))
                await control.controller.say(found.record(models.epoch, models.challenger.bundle, at=now, by=by))
            if found.decision not in ENDING:
                return None
            if found.decision is RolloutStep.PROMOTE:
                await control.workers.require_any()
            champion = models.challenger.bundle if found.decision is RolloutStep.PROMOTE else models.champion
            wanted = replace(models, champion=champion, challenger=None, guards=None)
            return await control.change(wanted, found.says)


def line_of(begun: Sequence[Models]) -> list[Models]:
    """
    Return the newest epoch and the epochs right before it with the same two models: a larger share keeps the evidence of the smaller share.

    Args:
        begun: All epochs that have begun, in their order, at least one. The newest epoch has a challenger.
    """
    pair = _pair(begun[-1])
    return list(takewhile(lambda one: _pair(one) == pair, reversed(begun)))[::-1]


def _pair(models: Models) -> tuple[str, str]:
    return models.champion.digest, "" if models.challenger is None else models.challenger.bundle.digest


async def watch(
    settings: Settings,
    *,
    every_seconds: float,
    tell: Callable[[Judged], None],
    began: Callable[[Begun], None],
    failed: Callable[[Exception], None],
) -> None:
    """
    Judge and act until this is cancelled. A temporary failure, such as unreachable brokers or a worker that is not ready, is reported to
    `failed` and tried again.

    Args:
        settings: Brokers, group, topics and depot.
        every_seconds: The pause between two judgements.
        tell: Called with each judgement.
        began: Called with each epoch that this watch has begun.
        failed: Called with the error of a turn.
    """
    watching = Watch(settings)
    pause = every_seconds
    while True:
        try:
            if await watching.finish() is not None:
                # The stream is held until a controller writes the marks.
                await asyncio.sleep(HELD_PAUSE_SECONDS)
                continue
            judged = await watching.look()
            tell(judged)
            if (begun := await watching.act(judged)) is not None:
                began(begun)
            pause = every_seconds
        except AbandonedCloseError as error:
            # The stream is held until a controller writes the marks.
            pause = HELD_PAUSE_SECONDS
            failed(error)
        except ControllerError as error:
            # The pause grows: each change that a worker refuses leaves a plan in the topic.
            pause = min(2 * pause, MOST_PAUSE_SECONDS)
            failed(error)
        except (RolloutError, DepotError, BundleError, BrokerUnreachableError) as error:
            failed(error)
        await asyncio.sleep(pause)
