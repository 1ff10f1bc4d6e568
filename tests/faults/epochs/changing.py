"""What a fault run has beside its faults when the model is changed meanwhile: controllers, and events that keep coming."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagstream.stream.broker.processes import Processes
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.rollout.presence import rollout_topic
from tests.faults.epochs.promoter import Promoter
from tests.faults.inputs import Input
from tests.faults.observer import TopicObserver
from tests.faults.plan import Plan
from tests.faults.upstream.steady import SteadyProducer
from tests.integration.rollout.judge import Judged, begins, judge
from tests.waiting import answered

TINY_BUNDLE = Path(__file__).parents[2] / "data" / "tiny_bundle"


def with_bundles(folder: Path) -> dict[str, str]:
    """TAGSTREAM_* of a run that changes the model: a bundle of a few kilobytes, and a place for others."""
    return {"TAGSTREAM_BUNDLE": str(TINY_BUNDLE), "TAGSTREAM_ROLLOUT__BUNDLES": str(folder.resolve() / "bundles")}


@dataclass(slots=True, kw_only=True)
class Changing:
    """
    Changes of the model.

    Attributes:
        promoter: Makes them.
        steady: Sends events until it is stopped.
        epochs: How many changes must have ended well.
    """

    promoter: Promoter
    steady: SteadyProducer
    epochs: int

    @property
    def is_over(self) -> bool:
        """Whether no more events come, and no more epochs begin."""
        return not self.steady.is_running

    def end(self) -> list[Input]:
        """Stop, and give the last events."""
        self.promoter.stop()
        self.steady.stop()
        return self.steady.take()


def changing_of(
    plan: Plan, environ: Mapping[str, str], *, observer: TopicObserver, processes: Processes, folder: Path
) -> Changing | None:
    """The changes of a plan, which go on where those of an earlier process ended; None where it has none. The events begin at once."""
    if not plan.epochs:
        return None
    settings = observer.settings
    promoter = Promoter(processes=processes, environ=environ, folder=folder, module=plan.controller)
    if answered(lambda: rollout_topic(settings), settings.brokers) is not None:
        promoter.begun = max(begins(observer.records(settings.rollout.topic)).plans, default=0)
    steady = SteadyProducer(
        settings,
        partitions=len(observer.ends()),
        per_second=plan.per_second,
        seed=f"{plan.seed}:steady",
        earlier=observer.records(settings.topics.content),
    )
    return Changing(promoter=promoter, steady=steady, epochs=plan.epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """
    The changes of a run that is over.

    Attributes:
        judged: The word of the judge, who has only the bytes of the topics.
        begun: How many epochs have begun.
        ended: The exit codes of controllers, of this process alone.
        crashed: The logs of controllers that ended with a traceback.
        wanted: How many epochs the plan asked for.
        took_endless: A controller took a bundle that does not end to load.
    """

    judged: Judged
    begun: int
    ended: tuple[int, ...]
    crashed: tuple[str, ...]
    wanted: int
    took_endless: bool = False

    @property
    def is_right(self) -> bool:
        """Each event has the model of its place, enough epochs have begun, and no controller crashed or took a bundle that does not load."""
        return self.judged.is_right and not self.crashed and not self.took_endless and self.begun >= self.wanted

    def __str__(self) -> str:
        codes = {code: self.ended.count(code) for code in sorted(set(self.ended))}
        crashed = "".join(f"\na controller crashed: {log}" for log in self.crashed)
        endless = "\na controller took the bundle that does not end to load" if self.took_endless else ""
        return f"{self.begun} epochs have begun, {self.wanted} were asked for; exit codes of controllers {codes}{crashed}{endless}\n{self.judged}"


def changed(changing: Changing, observer: TopicObserver) -> tuple[Changed, list[ModelRef]]:
    """What became of the changes, and every model that may have decided after the start."""
    topics = observer.settings.topics
    rollout = observer.records(observer.settings.rollout.topic)
    outcomes = [*observer.records(topics.tagged), *observer.records(topics.review)]
    plans = begins(rollout).plans
    found = Changed(
        judged=judge(observer.records(topics.content), rollout, outcomes),
        begun=len(plans) - 1,
        ended=tuple(changing.promoter.ended),
        crashed=tuple(changing.promoter.crashed),
        wanted=changing.epochs,
        took_endless=changing.promoter.took_endless,
    )
    return found, [model for number, plan in plans.items() if number for model in _models_of(number, plan)]


def _models_of(number: int, plan: Any) -> Iterator[ModelRef]:
    challenger = plan.get("challenger")
    bundles = {"champion": plan["champion"]}
    if challenger is not None:
        bundles |= {"challenger": challenger["bundle"], "fallback": plan["champion"]}
    for arm, bundle in bundles.items():
        yield ModelRef(**bundle, epoch=str(number), arm=arm)
