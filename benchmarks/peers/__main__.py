"""Measures tagstream beside what others would run, and writes docs/performance.md.

    python -m benchmarks.peers [--quick] [--part saturation|small|open-loop|roofline|growth|start] [--rounds 5] [--seconds 10] [--arms tagstream,aiokafka]

With TAGSTREAM_DATA the texts are Made With ML's, else the authored corpus. The model of the other arms is made once, into build/peers.
Each part is written when it ends, so that an interruption costs the part that it falls into. Every arm's outcomes are counted and its
labels compared with its own model's: if an arm lost events or wrote other labels, that part of the page stays as it is and the exit code is 1. Absolute figures mean something on a machine that does nothing else; what other programs had stands on the page.
"""

import argparse
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.peers import growth, open_loop, page, roofline, running, saturation, small, texts
from benchmarks.peers.running import Bench
from benchmarks.peers.saturation import BAD, BASELINE, KINDS, References, Trial
from benchmarks.peers.texts import Material
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.stream.broker import broker

PARTS = ("saturation", "small", "start", "open-loop", "roofline", "growth")
OURS = ("onnxruntime", "aiokafka", "faust-streaming")
THEIRS = ("faststream", "transformers", "torch")
MODELS = page.ROOT / "build" / "peers"
# Above this share of other programs a warning is printed; the share stands on the page in any case.
QUIET = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured; `quick` shows that all parts work, and its figures are rough."""

    rounds: int
    seconds: float
    rates: Sequence[float]
    shares: Sequence[float]
    rate_rounds: int
    rate_seconds: float
    partitions: Sequence[int]
    backlogs: Sequence[int]
    growth_events: int
    growth_rounds: int
    starts: int
    small_rounds: int
    small_seconds: float


FULL = Size(
    rounds=5,
    seconds=10,
    rates=open_loop.RATES,
    shares=open_loop.SHARES,
    rate_rounds=5,
    rate_seconds=8,
    partitions=(4, 40, 400),
    backlogs=(10_000, 100_000, 1_000_000),
    growth_events=6000,
    growth_rounds=2,
    starts=5,
    small_rounds=3,
    small_seconds=15,
)
QUICK = Size(
    rounds=1,
    seconds=2,
    rates=(100.0,),
    shares=(0.5,),
    rate_rounds=1,
    rate_seconds=5,
    partitions=(4, 40),
    backlogs=(2000, 20_000),
    growth_events=1500,
    growth_rounds=1,
    starts=1,
    small_rounds=1,
    small_seconds=5,
)


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """
    The line above each block of the page.

    Attributes:
        name: Of the run.
        material: The texts.
        tokens: Of a text in the mean: over the events of the arm with the least, and of the one with the most.
        others: The share of the processor, 0 to 1, that other programs had before the run began.
    """

    name: str
    material: Material
    tokens: tuple[float, float]
    others: float

    def line(self, *libraries: str) -> str:
        """A sentence on machine, texts and the versions of these libraries."""
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        versions = ", ".join(f"{library} {version(library)}" for library in libraries)
        means = " to ".join(dict.fromkeys(f"{mean:.1f}" for mean in self.tokens))
        return (
            f"{self.name} of {datetime.now(UTC):%Y-%m-%d}: {roofline.processor(info)}, {os.cpu_count()} cores, of which other programs "
            f"had {self.others:.0%} before the run; Python {platform.python_version()}, {versions}; {self.material.name}, "
            f"{means} tokens in the mean."
        )


def tokens(material: Material, counts: Collection[int]) -> tuple[float, float]:
    """The least and the most mean number of tokens of the first so many events, special ones included, cut where the bundle cuts."""
    bundle = read(DEFAULT_BUNDLE)
    tokenizer = Tokenizer.from_buffer(bundle.tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(bundle.manifest.max_length)
    drawn = [event.title for event, _ in texts.events(material, max(counts))]
    lengths = [len(found.ids) for found in tokenizer.encode_batch(drawn)]
    means = [statistics.fmean(lengths[:count]) for count in counts]
    return min(means), max(means)


class Comparison:
    """The parts in their order; each gives its block, and reasons why figures are void."""

    def __init__(
        self, *, bench: Bench, surroundings: Surroundings, size: Size, arms: Sequence[str], saturated: float | None
    ) -> None:
        """`saturated`: events a second that the shares of the open loop are of; measured unless given."""
        self._about, self._size, self._arms, self._saturated = surroundings, size, arms, saturated
        self._trial = Trial(bench=bench, material=surroundings.material, references=References(bench.model), say=say)
        self.blocks: dict[str, str] = {}
        self.faults: list[str] = []
        self.points: list[open_loop.Point] = []

    def saturation(self) -> None:
        """Every arm, and the million that follows from ours."""
        runs = saturation.run(self._trial, arms=self._arms, rounds=self._size.rounds, seconds=self._size.seconds)
        if self._void(saturation.faults(runs)):
            return
        medians = saturation.medians(runs)
        ours = medians[BASELINE]
        for arm, one in medians.items():
            say(
                f"{arm}: {one.per_second:.0f} events/s, {one.cpu_us:.0f} us CPU an event; "
                f"tagstream's over it: {ours.per_second / one.per_second:.2f} and {saturation.cpu_ratio(runs, arm):.2f}"
            )
        self._saturated = self._saturated or ours.per_second
        libraries = OURS if set(self._arms) <= {*open_loop.ARMS, *BAD} else (*OURS, *THEIRS)
        self.blocks["saturation"] = page.saturation_block(medians, runs, self._about.line(*libraries))
        self.blocks["million"] = page.million_block(
            ours, self._about.line(*OURS), texts.event_bytes(self._about.material, ours.events)
        )

    def small(self) -> None:
        """The worker and its baseline at rates at which batches are small."""
        runs = small.run(self._trial, rates=small.RATES, rounds=self._size.small_rounds, seconds=self._size.small_seconds)
        if not self._void(small.faults(runs)):
            self.blocks["small"] = page.small_block(runs, self._about.line(*OURS))

    def start(self) -> None:
        """The worker's start."""
        found, faults = growth.start(self._trial, events=500, rounds=self._size.starts)
        if not self._void(faults):
            self.blocks["start"] = page.start_block(found, self._about.line(*OURS))

    def open_loop(self) -> None:
        """The worker and its baseline at some rates, and at shares of the worker's saturation."""
        if self._saturated is None and self._size.shares:
            runs = saturation.run(self._trial, arms=[BASELINE], rounds=1, seconds=self._size.seconds, name="open-full")
            if self._void(saturation.faults(runs)):
                return
            self._saturated = saturation.medians(runs)[BASELINE].per_second
        rates = sorted({*self._size.rates, *(round(share * (self._saturated or 0)) for share in self._size.shares)})
        points = open_loop.run(self._trial, rates=rates, rounds=self._size.rate_rounds, seconds=self._size.rate_seconds)
        if not self._void(open_loop.faults(points)):
            self.points = points
            self.blocks["open-loop"] = page.open_loop_block(points, self._about.line(*OURS))

    def roofline(self) -> None:
        """The session beside the processor's peak."""
        found = roofline.run(rounds=10 * self._size.rounds)
        say(f"{found.kind}: {found.share:.2f} of {found.peak / 1e9:.0f} G multiplications/s")
        self.blocks["roofline"] = page.roofline_block(found, self._about.line("onnxruntime"))

    def growth(self) -> None:
        """Partitions, backlogs, two workers."""
        found = growth.run(
            self._trial,
            partitions=self._size.partitions,
            backlogs=self._size.backlogs,
            events=self._size.growth_events,
            rounds=self._size.growth_rounds,
        )
        if not self._void(found.faults):
            self.blocks["growth"] = page.growth_block(found, self._about.line(*OURS))

    def _void(self, faults: Sequence[str]) -> bool:
        """Keep the reasons why the figures of a part are void; whether there are any."""
        self.faults += faults
        return bool(faults)


def keep(comparison: Comparison, path: Path, picture: Path) -> None:
    """Write what is whole and was not written yet. The page links to the picture, which goes first."""
    if comparison.points:
        page.draw(comparison.points, picture)
        comparison.points = []
    if comparison.blocks:
        page.write(comparison.blocks, path)
        say(f"{path} has what was measured: {', '.join(comparison.blocks)}")
        comparison.blocks = {}


def finish(comparison: Comparison) -> int:
    """Say why parts are void. The exit code."""
    for fault in comparison.faults:
        say(f"void: {fault}")
    if comparison.faults:
        say(
            "parts with such a line were not written. Next: run the part again alone (--part), or an arm beside the worker (--arms)"
        )
    return int(bool(comparison.faults))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts that were asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few events: to see that everything works")
    parser.add_argument("--part", action="append", choices=PARTS, help="this part alone; may be given again")
    parser.add_argument("--rounds", type=int, help="rounds of the table of saturation that count, and of the open loop")
    parser.add_argument(
        "--seconds",
        type=float,
        help="about how long an arm decides in one round of that table, and each rate of the open loop lasts",
    )
    parser.add_argument(
        "--arms", default=",".join(KINDS), help=f"of the table of saturation: some of {', '.join({**KINDS, **BAD})}"
    )
    parser.add_argument(
        "--saturated", type=float, help="events a second that the open loop's shares are of; measured by default"
    )
    parser.add_argument(
        "--rates", type=_rates, help="events a second of the open loop, in place of its own and of the shares: 100,400"
    )
    parser.add_argument("--page", type=Path, default=page.PAGE, help="the page to write")
    parser.add_argument("--picture", type=Path, default=page.PICTURE, help="the picture to write")
    chosen = parser.parse_args(arguments)
    # Filling a backlog keeps kafka-python's thread busy for tenths of a second, of which it would warn a hundred times.
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
    arms = chosen.arms.split(",")
    if not set(arms) <= {*KINDS, *BAD} or BASELINE not in arms:
        parser.error(f"--arms takes some of {', '.join({**KINDS, **BAD})}, {BASELINE} among them")
    if chosen.seconds is not None and chosen.seconds <= open_loop.SETTLE_SECONDS:
        parser.error(f"--seconds takes more than {open_loop.SETTLE_SECONDS:g}: the open loop leaves out so many of each rate")
    size = QUICK if chosen.quick else FULL
    size = size if chosen.rounds is None else replace(size, rounds=chosen.rounds, rate_rounds=chosen.rounds)
    size = size if chosen.seconds is None else replace(size, seconds=chosen.seconds, rate_seconds=chosen.seconds)
    size = size if chosen.rates is None else replace(size, rates=chosen.rates, shares=())
    return measure(chosen.part or PARTS, size=size, arms=arms, chosen=chosen)


def _rates(text: str) -> list[float]:
    return [float(rate) for rate in text.split(",")]


def measure(parts: Sequence[str], *, size: Size, arms: Sequence[str], chosen: argparse.Namespace) -> int:
    """Start what the parts need, and run them."""
    began = time.monotonic()
    data = os.environ.get("TAGSTREAM_DATA")
    material = texts.load(Path(data) if data else None)
    name = "Quick run" if chosen.quick else "Run"
    counts = saturation.counts(material, arms, size.seconds)
    about = Surroundings(
        name=name, material=material, tokens=tokens(material, counts.values()), others=roofline.share_of_others()
    )
    if about.others > QUIET:
        say(f"other programs have {about.others:.0%} of the processor: only ratios will mean something, and these little")
    with ExitStack() as stack:
        model = (
            _model(material) if "saturation" in parts and any((KINDS | BAD)[arm].model != "bundle" for arm in arms) else None
        )
        kafka = stack.enter_context(broker(prefer="kafka"))
        bench = stack.enter_context(running.bench(kafka.bootstrap, model))
        comparison = Comparison(bench=bench, surroundings=about, size=size, arms=arms, saturated=chosen.saturated)
        steps = {
            "saturation": comparison.saturation,
            "small": comparison.small,
            "start": comparison.start,
            "open-loop": comparison.open_loop,
            "roofline": comparison.roofline,
            "growth": comparison.growth,
        }
        for part in parts:
            say(f"part {part}, {time.monotonic() - began:.0f} s after the start")
            try:
                steps[part]()
            # A ValueError: what an arm wrote gives no figures.
            except (running.ArmError, ValueError) as error:
                comparison.faults.append(f"part {part}: {error}")
            keep(comparison, chosen.page, chosen.picture)
    return finish(comparison)


def _model(material: Material) -> Path:
    """The folder of the rivals' model. Torch is imported for it alone."""
    from benchmarks.peers import make_rival

    say(f"the other arms' model is in {MODELS}, made there unless it exists (a minute)")
    return make_rival.made(MODELS, material.parts)


if __name__ == "__main__":
    sys.exit(main())
