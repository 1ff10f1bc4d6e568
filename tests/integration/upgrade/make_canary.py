"""
Makes `tests/data/upgrade/canary.sql`: the console's store after a canary, as an older version of tagstream has it, with its schema.

    cd TREE_OF_THAT_REVISION && python -m tests.integration.upgrade.make_canary FILE

All of it runs by the code of that revision: copy this file there where it is not. An audit, what went to people and what was published, before the
canary and of its three arms, with an answer on each audit.
"""

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tagstream.stream.contract.outcome import ModelRef, prediction_id
from tagstream.stream.review.store.store import open_store
from tests.unit.stream.review.store.making import HOUR_MS, START_MS, answer, audit, published, review

CHAMPION, CHALLENGER = "c" * 64, "e" * 64
# The arms in their epochs; the first is of the time before them.
MADE = ((None, None, CHAMPION), ("1", "champion", CHAMPION), ("1", "fallback", CHAMPION), ("1", "challenger", CHALLENGER))
EACH = 3


def main(file: Path) -> None:
    """Fill a store, and write its statements."""
    facts = []
    for kind, (epoch, arm, digest) in enumerate(MADE):
        model = ModelRef(name="tiny", version=digest[0], digest=digest, epoch=epoch, arm=arm)
        for number in range(EACH):
            place = EACH * kind + number
            audit_id, review_id = f"audit-{place}", f"review-{place}"
            own = {
                name: {"model": model, "tagged_ms": START_MS + place, "prediction_id": prediction_id(name, f"{digest}@{epoch}")}
                for name in (audit_id, review_id)
            }
            asked = audit(audit_id, inclusion_probability=0.5, **own[audit_id])
            facts += [
                asked,
                review(review_id, **own[review_id]),
                published(audit_id, 2 * place, **own[audit_id]),
                published(review_id, 2 * place + 1, door="review", **own[review_id]),
                answer(audit_id, START_MS + HOUR_MS, of=asked.item, asked_by="audit"),
            ]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.sqlite"
        with open_store(str(store), clock=lambda: START_MS, second_opinion_rate=0.0) as opened:
            opened.filling.fill(facts, {})
        with closing(sqlite3.connect(store)) as connection:
            file.write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
