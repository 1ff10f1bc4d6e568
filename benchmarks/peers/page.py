"""Writes what was measured into `docs/performance.md`: each part has a block between two marks, and no hand edits it."""

import hashlib
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import arms, open_loop, saturation, small
from benchmarks.peers.growth import Cost, Growth, Start
from benchmarks.peers.open_loop import Point
from benchmarks.peers.roofline import Roofline
from benchmarks.peers.saturation import BAD, BASELINE, KINDS, Run

ROOT = Path(__file__).parents[2]
PAGE, PICTURE = ROOT / "docs" / "performance.md", ROOT / "docs" / "images" / "performance-open-loop.svg"

# The assumptions of a million events a second, written into its block.
MILLION = 1_000_000
BUSY = 0.7
EUROS_A_CORE_HOUR = 0.04
BROKER_BYTES_A_SECOND = 100e6
BROKER_CORES = 8
REPLICAS = 3
WORKER_CORES = 2
PARTITIONS_A_WORKER = 2
# Of a kind of request for an event, to be named.
LEAST_REQUESTS = 0.02


def replaced(page: str, part: str, block: str) -> str:
    r"""
    The page with another block between the marks of a part.

    Raises:
        ValueError: The page lacks the marks.

    >>> replaced("<!-- start -->\nold\n<!-- /start -->", "start", "new")
    '<!-- start -->\nnew\n<!-- /start -->'
    """
    pattern = re.compile(rf"(<!-- {re.escape(part)} -->\n).*?(\n?<!-- /{re.escape(part)} -->)", re.DOTALL)
    if not pattern.search(page):
        msg = f"the page has no marks <!-- {part} --> and <!-- /{part} -->. Next: put them where the block belongs."
        raise ValueError(msg)
    return pattern.sub(lambda found: f"{found[1]}{block.strip()}\n{found[2].lstrip()}", page)


def write(blocks: dict[str, str], path: Path = PAGE) -> None:
    """Replace the blocks of the parts that were measured; the others stay."""
    page = path.read_text(encoding="utf-8")
    for part, block in blocks.items():
        page = replaced(page, part, block)
    with _whole(path) as partial:
        partial.write_text(page, encoding="utf-8")


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside this one that takes its place in one step, so that an interruption leaves the old one or the new one."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def saturation_block(medians: dict[str, Run], runs: Sequence[Run], about: str) -> str:
    """The table of the arms."""
    ours = medians[BASELINE].per_second
    rows = []
    for arm, one in medians.items():
        found = [run.per_second for run in runs if run.counted and run.arm == arm]
        kind = (KINDS | BAD)[arm]
        rows.append(
            [
                kind.title,
                f"{one.per_second:,.0f}",
                f"{min(found):,.0f} to {max(found):,.0f}",
                f"{ours / one.per_second:.2f}",
                "" if kind.aim is None else f">= {kind.aim:g}",
                f"{one.cpu_us:,.0f}",
                f"{saturation.cpu_ratio(runs, arm):.2f}",
                f"{one.first_seconds:.1f}",
                f"{one.peak_mib:,.0f}",
                "" if one.work.f1 is None else f"{one.work.f1:.3f}",
                f"{one.work.agreement:.3f}",
            ]
        )
    heads = (
        "arm",
        "events/s",
        "least to most",
        "tagstream over it",
        "aim",
        "CPU us an event",
        "CPU, tagstream over it",
        "first tag, s",
        "peak MiB",
        "F1",
        "own labels",
    )
    rounds = sum(run.counted and run.arm == BASELINE for run in runs)
    return f"{about} Rounds that count: {rounds}. {rival()}\n\n{table(heads, rows)}"


def small_block(runs: Sequence[small.Spent], about: str) -> str:
    """The cost of an event at each rate, of the worker and of the baseline."""
    rows = []
    for rate in dict.fromkeys(one.rate for one in runs):
        for arm in small.ARMS:
            some = [one for one in runs if (one.rate, one.arm) == (rate, arm)]
            middle = small.median(some)
            requests = ", ".join(f"{name} {count:.2f}" for name, count in middle.requests.items() if count >= LEAST_REQUESTS)
            rows.append(
                [
                    f"{rate:.0f} events/s, {arm}",
                    f"{middle.arm_ms:.2f} ({min(one.arm_ms for one in some):.2f} to {max(one.arm_ms for one in some):.2f})",
                    f"{small.median_ratio(runs, rate):.2f}" if arm == BASELINE else "",
                    f"{middle.arm_ms * MILLION / 3.6e6:.2f}, {middle.arm_ms * MILLION / 3.6e6 * EUROS_A_CORE_HOUR:.3f}",
                    f"{middle.broker_ms:.2f}",
                    f"{sum(middle.requests.values()):.2f}: {requests}",
                    f"{middle.p50_ms:.0f}",
                    f"{middle.p99_ms:.0f}",
                ]
            )
    heads = (
        "rate and arm",
        "CPU ms an event (least to most)",
        "over aiokafka",
        "a million: core hours, euros",
        "broker, ms",
        "requests an event",
        "p50, ms",
        "p99, ms",
    )
    return f"{about} Rounds: {len(runs) // len(rows)}.\n\n{table(heads, rows)}"


def open_loop_block(points: Sequence[Point], about: str) -> str:
    """The delays of worker and baseline at each rate, and the link to the picture."""
    rows = []
    for rate in _rates(points):
        for arm in open_loop.ARMS:
            some = open_loop.of(points, rate, arm)
            ratios = [open_loop.ratio(points, rate, figure) for figure in (_p50, _p99)]
            rows.append(
                [
                    f"{rate:,.0f} events/s, {arm}",
                    _spread([one.p50_ms for one in some]),
                    _spread([one.p99_ms for one in some]),
                    " / ".join(f"{one:.2f}" for one in ratios) if arm == BASELINE else "",
                    f"{statistics.median(one.end_lag for one in some):,.0f}",
                    f"{statistics.median(one.late_ms for one in some):.1f}, {max(one.most_late_ms for one in some):,.0f}",
                ]
            )
    heads = (
        "rate and arm",
        "p50, ms (least to most)",
        "p99, ms (least to most)",
        "over aiokafka: p50 / p99",
        "lag at the end",
        "sender late: median, most, ms",
    )
    rounds = len(points) // len(rows)
    link = f"![Delay by rate: median and p99, in milliseconds](images/{PICTURE.name})"
    return f"{about} Rounds: {rounds}. {rival()}\n\n{table(heads, rows)}\n\n{link}"


def rival() -> str:
    """A sentence that names the baseline's program."""
    digest = hashlib.sha256(Path(arms.__file__).read_bytes()).hexdigest()
    return f"The other programs: `benchmarks/peers/arms.py`, SHA-256 {digest[:16]}."


def _rates(points: Sequence[Point]) -> list[float]:
    return sorted({one.rate for one in points})


def _p50(point: Point) -> float:
    return point.p50_ms


def _p99(point: Point) -> float:
    return point.p99_ms


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def draw(points: Sequence[Point], path: Path = PICTURE) -> None:
    """Median and p99 by rate, on a logarithmic axis of milliseconds."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "tagstream", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        rates = _rates(points)
        for arm, color in zip(open_loop.ARMS, ("#0f766e", "#a84b06"), strict=True):
            for called, one, line in (("p50", _p50, "-"), ("p99", _p99, "--")):
                middle = [statistics.median(map(one, open_loop.of(points, rate, arm))) for rate in rates]
                axes.plot(rates, middle, marker="o", linestyle=line, color=color, label=f"{arm}, {called}")
        axes.set(xlabel="intended events a second", ylabel="delay, ms", yscale="log")
        axes.grid(color="#dfe1e4", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        with _whole(path) as partial:
            figure.savefig(partial, format="svg", metadata={"Date": None})


def roofline_block(found: Roofline, about: str) -> str:
    """The few figures of the processor."""
    rows = [
        ["int8 arithmetic", found.kind],
        ["peak of a product of 1,024, G multiplications/s", f"{found.peak / 1e9:,.0f}"],
        [f"whole-number multiplications of a text of {found.tokens} tokens, M", f"{found.products.integer / 1e6:,.1f}"],
        ["floating ones, M", f"{found.products.floating / 1e6:,.1f}"],
        ["session, us a text (batches of 16, one thread)", f"{found.text_us:,.0f}"],
        ["share of the peak", f"{found.share:.2f}"],
    ]
    return f"{about}\n\n{table(('figure', 'value'), rows)}"


def growth_block(found: Growth, about: str) -> str:
    """Costs by partitions and by backlog, and the two workers."""
    parts = [about, _costs(found.by_partitions), _costs(found.by_backlog)]
    if found.scaling is not None:
        one = found.scaling
        parts.append(
            f"One worker on {one.cores} core(s): {one.one:,.0f} events/s; two workers on {one.cores} each: {one.two:,.0f} "
            f"({one.two / one.one:.2f} times as many). Broker and sender run on the same cores."
        )
    return "\n\n".join(parts)


def _costs(costs: Sequence[Cost]) -> str:
    first = costs[0].cpu_us
    rows = [
        [
            f"{one.partitions} partitions, {one.backlog:,} events",
            f"{one.cpu_us:,.0f}",
            f"{one.cpu_us / first - 1:+.1%}",
            f"{one.per_second:,.0f}",
        ]
        for one in costs
    ]
    return table(("before the worker", "CPU us an event", "against the first", "events/s"), rows)


def start_block(found: Start, about: str) -> str:
    """The start of one worker."""
    return (
        f"{about}\n\nFirst tag {found.first_seconds:.2f} s after the start of the process (median), {found.resident_mib:,.0f} MiB resident "
        f"after the backlog, {found.peak_mib:,.0f} MiB at the peak."
    )


def million_block(ours: Run, about: str, event_bytes: float) -> str:
    """
    A million events a second on paper, from the processor time of one and the bytes of its records.

    Args:
        ours: The worker at saturation.
        about: Where the figures come from.
        event_bytes: Of an input record, in the mean.
    """
    cores = round(MILLION * ours.cpu_us / 1e6 / BUSY)
    workers = math.ceil(cores / WORKER_CORES)
    written = MILLION * (event_bytes + ours.record_bytes) * REPLICAS
    brokers = max(REPLICAS, math.ceil(written / BROKER_BYTES_A_SECOND))
    euros = (workers * WORKER_CORES + brokers * BROKER_CORES) * EUROS_A_CORE_HOUR
    rows = [
        [f"cores of workers, {BUSY:.0%} busy", f"{cores:,.0f}"],
        [f"workers of {WORKER_CORES} cores", f"{workers:,}"],
        [f"partitions, {PARTITIONS_A_WORKER} a worker", f"{workers * PARTITIONS_A_WORKER:,}"],
        [f"written by all brokers, {REPLICAS} replicas, GB/s", f"{written / 1e9:,.1f}"],
        [f"brokers of {BROKER_CORES} cores, {BROKER_BYTES_A_SECOND / 1e6:.0f} MB/s each", f"{brokers:,}"],
        [f"euros an hour, {EUROS_A_CORE_HOUR} a core", f"{euros:,.0f}"],
        ["euros per million events", f"{euros / 3600:.4f}"],
    ]
    return f"{about}\n\n{table(('on paper', ''), rows)}"
