"""Measures how often hourly comparisons exceed their limits without drift: the basis of `monitoring/limits.py`.

Both the hour and the reference are samples of one distribution, so that the error of a reference of some hundred rows counts too.
`python -m benchmarks.limits` prints the table of docs/error-rates.md.
"""

import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tagstream.monitoring import limits
from tagstream.monitoring.comparison import EPSILON
from tagstream.monitoring.signals import CONFIDENCE, DISTRIBUTIONS, ENERGY, JUDGED, TOKENS_PER_WORD, Signal

REFERENCE_ROWS = 900
SEED = 6
# Like the default bundle's. A distance at the edges hardly depends on the shape.
LABELS = (0.25, 0.18, 0.19, 0.38)
TITLES_ALONE = 0.2
OUT_OF_DISTRIBUTION = 0.005

Floats = npt.NDArray[np.float64]


def false_alarms(*, windows: int, decisions: int, rows: int = REFERENCE_ROWS) -> dict[str, float]:
    """Alert by alert, the share of `windows` windows of so many decisions that are over the limit by chance."""
    chance = np.random.default_rng(SEED)

    def pair(cells: Sequence[float] | Floats) -> tuple[Floats, Floats]:
        return chance.multinomial(decisions, cells, windows) / decisions, chance.multinomial(rows, cells, windows) / rows

    def far(signal: Signal, values: Floats) -> npt.NDArray[np.bool_]:
        live, reference = pair(_cells(values, DISTRIBUTIONS[signal].edges))
        largest: Floats = np.abs(np.cumsum(live, axis=1) - np.cumsum(reference, axis=1)).max(axis=1)
        return largest > JUDGED[signal]

    live, reference = pair(LABELS)
    psi = ((live - reference) * np.log((live + EPSILON) / (reference + EPSILON))).sum(axis=1)
    # The true share of texts above an energy that 0.5 % of a sample of `rows` rows exceed.
    beyond = chance.beta(rows * OUT_OF_DISTRIBUTION + 0.5, rows * (1 - OUT_OF_DISTRIBUTION) + 0.5, windows)
    strange = chance.binomial(decisions, beyond) / decisions
    titles, usual = pair((TITLES_ALONE, 1 - TITLES_ALONE))
    over = {
        "PredictionDrift": psi > limits.LABEL_PSI,
        "ConfidenceDrift": far(CONFIDENCE, chance.beta(4, 1.2, 100_000)),
        "EnergyDrift": far(ENERGY, chance.normal(-3.2, 1.05, 100_000)),
        "TokensPerWordDrift": far(TOKENS_PER_WORD, chance.lognormal(0.4, 0.25, 100_000)),
        "OutOfDistributionShare": strange > limits.OUT_OF_DISTRIBUTION_TIMES * OUT_OF_DISTRIBUTION,
        "WithoutDescriptionShare": titles[:, 0] > usual[:, 0] + limits.WITHOUT_DESCRIPTION_MORE,
    }
    return {alert: float(found.mean()) for alert, found in over.items()}


def _cells(values: Floats, edges: Sequence[float]) -> Floats:
    counts = np.histogram(values, bins=[-np.inf, *edges, np.inf])[0]
    cells: Floats = counts / counts.sum()
    return cells


def main() -> None:
    """Print the table."""
    sizes = (limits.LEAST_DECISIONS, 1_000, 5_000)
    windows = 20_000
    found = [false_alarms(windows=windows, decisions=size) for size in sizes]
    sys.stdout.write(
        "| alert | " + " | ".join(f"{size:,} decisions" for size in sizes) + " |\n|---|" + "---|" * len(sizes) + "\n"
    )
    for alert in found[0]:
        sys.stdout.write(f"| {alert} | " + " | ".join(f"{one[alert]:.5f}" for one in found) + " |\n")
    sys.stdout.write(f"\n{windows:,} windows each, a reference of {REFERENCE_ROWS} rows, seed {SEED}\n")


if __name__ == "__main__":
    main()
