"""Simulated months in which people answer and the thresholds are earned anew every night.

`python -m benchmarks.earned` prints the tables of docs/error-rates.md; `--picture FILE` draws its picture. Events are drawn from
the shipped bundle's decisions on the corpus test, whose labels are known and chose no threshold. Of the published events a
share is drawn for an audit, all others are answered, and every night `model_export/calibrate/earned_thresholds.py`, the very code of
`tagstream model calibrate --reviewed`, gives the thresholds of the next day. The answers of all days are kept.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.bundle.manifest import LabelThreshold
from tagstream.model_export.bundle.model import OnnxClassifier, limits_in
from tagstream.model_export.calibrate.certificate import GRID
from tagstream.model_export.calibrate.earned_thresholds import Evidence, reached
from tagstream.model_export.data.splits import load

TARGET = 0.95
# A month succeeds if it ends with so many times the share that the shipped bundle publishes.
ASKED = 1.5
BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """
    The kinds of events, as cells; the arrays have one length.

    Attributes:
        evidence: Label, confidence, rightness of each cell's decisions; `count` is the number of texts behind it.
        present: The thresholds with which the month begins.
    """

    evidence: Evidence
    present: Mapping[str, LabelThreshold]

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """The probability of each cell, shape (cells,)."""
        found: npt.NDArray[np.float64] = self.evidence.count / self.evidence.count.sum()
        return found

    def published(self, thresholds: Mapping[str, float]) -> npt.NDArray[np.bool_]:
        """Which cells these thresholds publish, shape (cells,)."""
        below = np.array([thresholds[label] for label in self.evidence.said.tolist()])
        return self.evidence.publishable & (self.evidence.confidence >= below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """
    How a month goes.

    Attributes:
        per_day: Events a day.
        days: Days of the month.
        audit_rate: The share of published events that are audited.
        slips: The probability that a person gives a wrong label.
        second_opinion: An answer counts against the model only if a second person contradicts it too.
    """

    per_day: int
    days: int = 30
    audit_rate: float = 0.02
    slips: float = 0.0
    second_opinion: bool = True


@dataclass(slots=True)
class Month:
    """The course of one month: by day, the share that is published after the night, and how much of it is truly right."""

    share: list[float] = field(default_factory=list)
    precision: list[float] = field(default_factory=list)
    published: int = 0
    right: int = 0
    asked: int = 0
    short_labels: int = 0

    @property
    def kept(self) -> bool:
        """The promise held every day, and for all that was published."""
        return min(self.precision) >= TARGET and self.right >= TARGET * self.published


Rule = Callable[[Evidence, Mapping[str, LabelThreshold]], dict[str, float]]


def by_proof(evidence: Evidence, present: Mapping[str, LabelThreshold]) -> dict[str, float]:
    """The thresholds that are proved."""
    start = {label: found.confidence for label, found in present.items()}
    return reached(evidence, present=present, start=start, target_precision=TARGET)


def by_sight(evidence: Evidence, present: Mapping[str, LabelThreshold]) -> dict[str, float]:
    """Known-bad: the lowest confidence at which the weighted share right was seen to reach the target, whatever chance gave."""
    chosen = {}
    for label, found in present.items():
        of_label = (evidence.said == label) & evidence.publishable
        mass = evidence.weight * evidence.count * of_label
        seen = [
            confidence
            for confidence in GRID
            if (kept := mass * (evidence.confidence >= confidence)).sum() and kept @ evidence.right >= TARGET * kept.sum()
        ]
        chosen[label] = min(seen, default=found.confidence)
    return chosen


def world_of(bundle: Path) -> World:
    """The bundle's decisions on the corpus test; a text that is out of distribution goes to a person at any confidence."""
    shipped = read(bundle)
    classifier, limits = OnnxClassifier(shipped), limits_in(shipped.manifest.reference)
    rows = load(None).corpus_test
    texts = [row.text for row in rows]
    found = [one for start in range(0, len(texts), BATCH) for one in classifier.classify(texts[start : start + BATCH])]
    grid = np.array([*GRID, 0.0])
    cells = [
        (one.label, float(grid[(one.confidence >= grid).argmax()]), one.label == row.tag, not limits.is_strange(one))
        for one, row in zip(found, rows, strict=True)
    ]
    return world(cells, shipped.manifest.thresholds)


def world(decisions: Sequence[tuple[str, float, bool, bool]], present: Mapping[str, LabelThreshold]) -> World:
    """A world of decisions that are equally probable: label, confidence, right, publishable."""
    cells = sorted(set(decisions))
    counts = [decisions.count(cell) for cell in cells]
    said, confidence, right, publishable = zip(*cells, strict=True)
    evidence = Evidence(
        said=np.array(said),
        confidence=np.array(confidence),
        right=np.array(right),
        weight=np.ones(len(cells)),
        publishable=np.array(publishable),
        count=np.array(counts),
    )
    return World(evidence=evidence, present=present)


def simulate(world: World, setting: Setting, *, seed: int, rule: Rule = by_proof) -> Month:
    """One month; the same seed gives the same events."""
    generator = np.random.default_rng(seed)
    found, month = world.evidence, Month()
    thresholds = {label: each.confidence for label, each in world.present.items()}
    # Answers by cell, by whether the person agreed, and by the door: asked about all, or audited.
    answers = np.zeros((len(found.said), 2, 2), dtype=np.int64)
    for _ in range(setting.days):
        published = world.published(thresholds)
        events = generator.multinomial(setting.per_day, world.shares)
        asked = np.where(published, generator.binomial(events, setting.audit_rate), events)
        agreed = generator.binomial(asked, _agreement(found.right, setting))
        door = published.astype(np.int64)
        cells = np.arange(len(door))
        answers[cells, 1, door] += agreed
        answers[cells, 0, door] += asked - agreed
        month.published += int(events[published].sum())
        month.right += int(events[published & found.right].sum())
        month.asked += int(asked.sum())
        thresholds = rule(_evidence(found, answers, setting.audit_rate), world.present)
        kept = world.published(thresholds)
        month.share.append(float(world.shares[kept].sum()))
        month.precision.append(float(world.shares[kept & found.right].sum() / world.shares[kept].sum()))
    month.short_labels = sum(_is_short(world, thresholds, label) for label in world.present)
    return month


def _agreement(right: npt.NDArray[np.bool_], setting: Setting) -> npt.NDArray[np.float64]:
    """The probability that the person agrees with the model, by cell; a slip gives each other label alike."""
    agrees: npt.NDArray[np.float64] = np.where(right, 1.0 - setting.slips, setting.slips / 3)
    return 1.0 - (1.0 - agrees) ** 2 if setting.second_opinion else agrees


def _evidence(found: Evidence, answers: npt.NDArray[np.int64], audit_rate: float) -> Evidence:
    cells, agreed, door = np.nonzero(answers)
    return Evidence(
        said=found.said[cells],
        confidence=found.confidence[cells],
        right=agreed.astype(np.bool_),
        weight=np.where(door == 1, 1 / audit_rate, 1.0),
        publishable=found.publishable[cells],
        count=answers[cells, agreed, door],
    )


def _is_short(world: World, thresholds: Mapping[str, float], label: str) -> bool:
    kept = world.published(thresholds) & (world.evidence.said == label)
    return bool(world.shares[kept & world.evidence.right].sum() < TARGET * world.shares[kept].sum())


def row(world: World, setting: Setting, months: Sequence[Month]) -> str:
    """One line of the table."""
    base = world.shares[world.published({label: found.confidence for label, found in world.present.items()})].sum()
    times = np.array([month.share[-1] for month in months]) / base
    people = np.array([month.asked for month in months]) / (setting.per_day * setting.days)
    both = sum(bool(each >= ASKED) and month.kept for each, month in zip(times, months, strict=True))
    return (
        f"{np.median(times):.2f} | {int((times >= ASKED).sum())} | {sum(month.kept for month in months)} | {both} | "
        f"{min(min(month.precision) for month in months):.4f} | {sum(month.short_labels > 0 for month in months)} | "
        f"{np.median(people):.1%}"
    )


def draw(months: Mapping[str, Sequence[Month]], path: Path) -> None:
    """The published share and its precision by day: the median, and the middle 90 of 100 months, for each line of the table."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name, found in months.items():
        days = np.arange(1, len(found[0].share) + 1)
        for axis, values in ((left, [one.share for one in found]), (right, [one.precision for one in found])):
            low, middle, high = np.percentile(values, (5, 50, 95), axis=0)
            (line,) = axis.plot(days, middle, label=name)
            axis.fill_between(days, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
    right.axhline(TARGET, color="black", linewidth=0.8, linestyle="--")
    right.text(1, TARGET + 0.0008, "the promise", fontsize=8)
    left.set(title="Published without asking", xlabel="day", ylabel="share of all events", ylim=(0, 1))
    right.set(title="Right, of what is published", xlabel="day", ylabel="true precision", ylim=(0.94, 1))
    left.legend(frameon=False, fontsize=8, loc="lower right")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Print the tables, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="the bundle with which the months begin")
    parser.add_argument("--months", type=int, default=100, help="simulated months a line")
    parser.add_argument("--per-day", type=int, nargs="+", default=[2_000, 5_000, 10_000, 20_000, 50_000])
    parser.add_argument("--picture", type=Path, help="draw the months in this file")
    given = parser.parse_args()
    started, shipped = time.monotonic(), world_of(given.bundle)
    head = f"times the share | at least {ASKED} | promise kept | both | lowest precision of a day | a label short | asked of people"
    print(f"| months of {given.months} | {head} |")
    print("|---|---|---|---|---|---|---|---|")
    settings = {f"{number:,} events a day": (Setting(per_day=number), by_proof) for number in given.per_day}
    middle = 20_000
    settings |= {
        "20,000, people err in 5 % of answers": (Setting(per_day=middle, slips=0.05), by_proof),
        "20,000, the same, no second opinion": (Setting(per_day=middle, slips=0.05, second_opinion=False), by_proof),
        "20,000, thresholds by sight": (Setting(per_day=middle), by_sight),
    }
    drawn = {}
    for name, (setting, rule) in settings.items():
        months = [simulate(shipped, setting, seed=seed, rule=rule) for seed in range(given.months)]
        print(f"| {name} | {row(shipped, setting, months)} |", flush=True)
        if setting == Setting(per_day=setting.per_day) and rule is by_proof:
            drawn[name] = months
    if given.picture is not None:
        draw(drawn, given.picture)
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
