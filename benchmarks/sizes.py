"""
How right bundles of several sizes are on real titles, and the processor time of a text in each.

    TAGSTREAM_REAL=FOLDER python -m benchmarks.sizes BUNDLE BUNDLE ...

All bundles take turns on the same texts, so that another program on the machine slows all of them alike: ratios count, and are the median over
the rounds. The first bundle is what the others are compared with.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.real_titles import BATCH, decided, line
from tagstream.model_export.bundle.bundle import read
from tagstream.model_export.bundle.model import OnnxClassifier, Prediction
from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.data.real import DEV, read_real

ROUNDS = 9

Ask = Callable[[Sequence[str]], list[Prediction]]


def costs(
    bundles: Mapping[str, Ask], texts: Sequence[str], *, rounds: int = ROUNDS, clock: Callable[[], float] = time.process_time
) -> dict[str, tuple[float, float]]:
    """
    The processor time of a text in microseconds by bundle, from text to prediction, and the same as a multiple of the first bundle's.

    Args:
        bundles: The functions that predict, by name.
        texts: All are asked in every round.
        rounds: How often, after one round that does not count. Each begins with another bundle.
        clock: Seconds of this process on processors.
    """
    names = list(bundles)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            began = clock()
            for start in range(0, len(texts), BATCH):
                bundles[name](texts[start : start + BATCH])
            if turn:
                taken[name].append((clock() - began) / len(texts) * 1e6)
    return {
        name: (
            statistics.median(taken[name]),
            statistics.median(ours / first for ours, first in zip(taken[name], taken[names[0]], strict=True)),
        )
        for name in names
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", type=Path, nargs="+", help="folders of bundles; the first is compared with")
    folders = [folder.resolve() for folder in parser.parse_args().bundles]
    real = os.environ.get("TAGSTREAM_REAL")
    if not real:
        sys.exit("no texts: TAGSTREAM_REAL names no folder. Next: name the folder with titles.csv.gz.")
    # One thread, as the session of a bundle has.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    rows = read_real(DEV, Path(real))
    found = {str(folder): read(folder) for folder in folders}
    took = costs({name: OnnxClassifier(bundle).classify for name, bundle in found.items()}, [row.text for row in rows])
    print(
        "| bundle | about machine learning | weighted F1 | published | of these right | published of the others | MB | microseconds a text | "
        "of the first's |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, bundle in found.items():
        told = line(f"{bundle.manifest.version}, {bundle.path.name}", decided(bundle.path, rows), sorted(LABELS))
        microseconds, share = took[name]
        print(f"{told} {len(bundle.model) / 1e6:.1f} | {microseconds:.0f} | {share:.2f} |")


if __name__ == "__main__":
    main()
