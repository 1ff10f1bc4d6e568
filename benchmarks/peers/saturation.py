"""The table of saturation: every arm reads the first events of one sequence as fast as it can, in interleaved rounds."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from benchmarks.peers import figures, running, texts
from benchmarks.peers.figures import Work
from benchmarks.peers.rival import WEIGHTS, Rival
from benchmarks.peers.running import Arm, Bench
from benchmarks.peers.texts import Event, Material
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.stream.contract.event import Record, weight

Say = Callable[[str], None]
Texts = Sequence[str]

BASELINE = "tagstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """
    An arm as the tables name it.

    Attributes:
        title: In words.
        model: `bundle`, `int8` (the rivals' file) or `float` (the same network in torch).
        seconds: Per event, roughly: how many events it is given follows from it.
        aim: The least ratio of tagstream to it; None where there is no aim.
    """

    title: str
    model: str
    seconds: float
    aim: float | None = None

    @property
    def least_agreement(self) -> float:
        """Labels in dynamic int8 depend on the batch; the others are the model's own, but for a tie in the last digit of a float."""
        return {"bundle": 1.0, "int8": 0.95, "float": 0.99}[self.model]


KINDS = {
    "tagstream": Kind(title="tagstream, one worker", model="bundle", seconds=1 / 1000),
    "aiokafka": Kind(title="aiokafka alone, the same bundle, two threads", model="bundle", seconds=1 / 1000, aim=0.92),
    "faststream": Kind(title="FastStream, batches of 64, six layers dynamic int8", model="int8", seconds=1 / 250, aim=6),
    "faust-take": Kind(title="Faust `take(64)`, the same file in a thread", model="int8", seconds=1 / 250, aim=7),
    "faust-pipeline": Kind(title="Faust and transformers' pipeline, one by one", model="float", seconds=1 / 50, aim=25),
}
# Known-bad forms, to see that they are refused.
BAD = {name: Kind(title=name, model="bundle", seconds=1 / 1000) for name in ("dropping", "mislabelling")}


class References:
    """The labels that the arms' models give to texts, asked once for each text and outside of any measurement."""

    def __init__(self, model: Path | None) -> None:
        """Models are loaded when an arm needs them; `model` is the folder of the rivals' model."""
        self._model = model
        self._known: dict[tuple[str, str], str] = {}

    def labels(self, kind: str, found: Texts) -> list[str]:
        """A label for each text, by the model of this kind."""
        missing = sorted({text for text in found if (kind, text) not in self._known}, key=len)
        for start in range(0, len(missing), 64):
            part = missing[start : start + 64]
            self._known |= zip([(kind, text) for text in part], self._ask(kind, part), strict=True)
        return [self._known[kind, text] for text in found]

    def _ask(self, kind: str, part: Texts) -> list[str]:
        match kind:
            case "bundle":
                return [found.label for found in self._bundle.classify(part)]
            case "int8":
                return self._rival.tags(part)
        return self._float(part)

    @cached_property
    def _bundle(self) -> OnnxClassifier:
        return OnnxClassifier(read(DEFAULT_BUNDLE))

    @cached_property
    def _rival(self) -> Rival:
        return Rival(self._folder)

    @property
    def _folder(self) -> Path:
        if self._model is None:
            msg = "the rivals' model was not made, and an arm needs it"
            raise ValueError(msg)
        return self._model

    @cached_property
    def _float(self) -> Callable[[Texts], list[str]]:
        from benchmarks.peers.rival import TOKENIZER
        from tagstream.model_export.train import batches, checkpoint

        network, trained = checkpoint.load(self._folder / WEIGHTS)
        tokenizer = batches.load_tokenizer((self._folder / TOKENIZER).read_bytes())

        def ask(part: Texts) -> list[str]:
            logits = batches.logits(network, batches.encode(tokenizer, part))
            return [trained.labels[place] for place in logits.argmax(dim=1).tolist()]

        return ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The things that every part needs: broker and processes, the texts, the labels that are expected, and where a line for each run goes."""

    bench: Bench
    material: Material
    references: References
    say: Say


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """
    One arm in one round.

    Attributes:
        per_second: Outcomes a second, without the first tenth.
        cpu_us: Processor microseconds an outcome in the same span, of all threads.
        first_seconds: From the start of the process to the first outcome's timestamp.
        peak_mib: The most resident memory.
        record_bytes: Of an outcome, in the mean.
    """

    arm: str
    counted: bool
    events: int
    per_second: float
    cpu_us: float
    first_seconds: float
    peak_mib: float
    record_bytes: float
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The events of a topic: id to text, and the right labels of the gold ones."""

    topic: str
    texts: Mapping[str, str]
    gold: Mapping[str, str]

    @classmethod
    def of(cls, material: Material, count: int, topic: str) -> Self:
        """The first so many events."""
        drawn = list(texts.events(material, count))
        return cls(
            topic=topic,
            texts={event.id: event.title for event, _ in drawn},
            gold={event.id: row.tag for event, row in drawn if texts.is_gold(event.id)},
        )

    def events(self) -> Iterator[Event]:
        """Them, in their order."""
        return (Event(id=name, title=text) for name, text in self.texts.items())

    def expected(self, references: References, kind: str) -> dict[str, str]:
        """The label of every event by the model of this kind."""
        return dict(zip(self.texts, references.labels(kind, list(self.texts.values())), strict=True))


def backlog(trial: Trial, count: int, topic: str, *, partitions: int = 4) -> Backlog:
    """Write the first so many events of the sequence to a topic of their own."""
    found = Backlog.of(trial.material, count, topic)
    running.fill(trial.bench.topic(topic, partitions), found.events())
    return found


def work_of(records: Sequence[Record], found: Backlog, expected: Mapping[str, str], *, whole: bool = True) -> Work:
    """Judge what an arm wrote."""
    outcomes = [texts.outcome_of(record) for record in records]
    return figures.work_of(
        [(one.id, one.tag) if one else None for one in outcomes], expected=expected, gold=found.gold, whole=whole
    )


def measured(arm: Arm, records: Sequence[Record], work: Work, *, counted: bool) -> Run:
    """The figures of an arm that runs still."""
    arm.look()
    stamps = [record.timestamp_ms for record in records]
    span = figures.span_of(stamps)
    return Run(
        arm=arm.name,
        counted=counted,
        events=len(records),
        per_second=span.per_second,
        cpu_us=1e6 * figures.cpu_within(arm.readings, span.first_ms, span.last_ms) / span.events,
        first_seconds=(min(stamps) - arm.started_ms) / 1000,
        peak_mib=arm.peak_mib,
        record_bytes=statistics.fmean(weight(record.key, record.value, record.headers) for record in records),
        work=work,
    )


def counts(material: Material, arms: Sequence[str], seconds: float) -> dict[str, int]:
    """How many events each arm decides in one round: about what it can in `seconds`, and never fewer than all gold rows."""
    kinds = KINDS | BAD
    return {arm: max(texts.enough(material), round(seconds / kinds[arm].seconds)) for arm in arms}


def run(trial: Trial, *, arms: Sequence[str], rounds: int, seconds: float, name: str = "full") -> list[Run]:
    """
    All rounds, every second one in the other order, after one that is not counted.

    Args:
        trial: Broker, texts and labels.
        arms: Names in `KINDS` or `BAD`.
        rounds: How many count.
        seconds: About how long one arm decides in one round.
        name: Begins the names of all topics.
    """
    sizes = counts(trial.material, arms, seconds)
    backlogs = {count: backlog(trial, count, f"{name}-{count}") for count in set(sizes.values())}
    expected = {arm: backlogs[count].expected(trial.references, (KINDS | BAD)[arm].model) for arm, count in sizes.items()}
    found: list[Run] = []
    for number in range(rounds + 1):
        for arm in list(arms) if number % 2 == 0 else list(arms)[::-1]:
            events = backlogs[sizes[arm]]
            with trial.bench.running(arm, events.topic, f"{name}-{arm}-{number}") as started:
                records = running.written([started], sizes[arm], seconds=20 * seconds + running.QUIET_SECONDS)
                one = measured(started, records, work_of(records, events, expected[arm]), counted=number > 0)
            found.append(one)
            label = f"round {number}{' (warm-up)' if number == 0 else ''}"
            trial.say(f"{label}  {arm:<15} {one.per_second:7.0f} events/s  {one.cpu_us:7.0f} us CPU an event")
    return found


def cpu_ratio(runs: Sequence[Run], arm: str) -> float:
    """The worker's processor time for an event over that of an arm in the same round, in the median of the rounds that count."""
    ours, theirs = ([run.cpu_us for run in runs if run.counted and run.arm == one] for one in (BASELINE, arm))
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def faults(runs: Sequence[Run]) -> list[str]:
    """The arms whose figures are void, with the reasons; empty where all did their work."""
    kinds = KINDS | BAD
    return list(
        dict.fromkeys(f"{run.arm}: {reason}" for run in runs for reason in run.work.faults(kinds[run.arm].least_agreement))
    )


def medians(runs: Sequence[Run]) -> dict[str, Run]:
    """For each arm, in the table's order, the median of every figure over its counted rounds, and the work of the worst of them."""
    names = ("per_second", "cpu_us", "first_seconds", "peak_mib", "record_bytes")
    by_arm = {arm: [one for one in runs if one.counted and one.arm == arm] for arm in KINDS | BAD}
    return {
        arm: replace(
            min(found, key=lambda one: one.work.agreement),
            **{name: statistics.median(getattr(one, name) for one in found) for name in names},
        )
        for arm, found in by_arm.items()
        if found
    }
