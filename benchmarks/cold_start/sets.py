"""The sets of a cold start: labels in words, texts that come as events, and others to measure on."""

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

HERE, TICKETS = Path(__file__).parent, Path(__file__).parents[2] / "examples" / "tickets"
CLINC = "clinc150.csv.gz"
# By their names: a rule that looks at no text.
INTENTS = 20
MEASURED = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text, and the label that a person without slips gives it."""

    title: str
    description: str | None
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdSet:
    """
    Labels of which no row is known.

    Attributes:
        name: In the table.
        labels: The file that says in words what they mean.
        events: Texts that come, and that people may be asked about.
        tests: Texts to measure on.
    """

    name: str
    labels: Path
    events: tuple[Text, ...]
    tests: tuple[Text, ...]


def tickets() -> ColdSet:
    """`examples/tickets`."""
    return ColdSet(
        name="tickets",
        labels=TICKETS / "labels.toml",
        events=tuple(_own(TICKETS / "rows.csv")),
        tests=tuple(_own(TICKETS / "gold.csv")),
    )


def intents(folder: Path) -> list[ColdSet]:
    """The first and the last twenty intents of CLINC150 by name: queries of its parts `train` and `val` come, those of `test` measure."""
    with gzip.open(folder / CLINC, "rt", encoding="utf-8", newline="") as file:
        every = list(csv.DictReader(file))
    names = sorted({query["label"] for query in every} - {""})
    found = []
    for which, chosen in (("first", names[:INTENTS]), ("last", names[-INTENTS:])):
        own = [query for query in every if query["label"] in chosen]
        found.append(
            ColdSet(
                name=f"intents, {which} {INTENTS}",
                labels=HERE / f"{which}.toml",
                events=tuple(_text(query) for query in own if query["part"] != MEASURED),
                tests=tuple(_text(query) for query in own if query["part"] == MEASURED),
            )
        )
    return found


def _text(query: dict[str, str]) -> Text:
    return Text(title=query["title"], description=None, tag=query["label"])


def _own(path: Path) -> list[Text]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Text(title=row["title"], description=row["description"] or None, tag=row["tag"]) for row in rows]
