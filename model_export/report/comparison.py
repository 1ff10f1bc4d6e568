"""A comparison of two bundles in words: sentences and tables, for the terminal, for a report and for a separate page."""

from collections.abc import Sequence
from pathlib import Path

from tagstream.model_export.compare.comparison import Comparison
from tagstream.model_export.measure.slices import FEW_ROWS
from tagstream.model_export.report.colours import colour_rules
from tagstream.monitoring.quality.words import UNKNOWN, QualityTable

FOLDER = Path(__file__).parent
# A table with more columns is too wide to read: a list of the most frequent changes replaces it.
MOST_COLUMNS, MOST_CHANGES = 8, 40


def sentences(found: Comparison, *, new: str, old: str, what: str = "events") -> list[str]:
    """
    Return the sentences to read first.

    Args:
        found: The comparison.
        new: The name of the newer end.
        old: The name of the older end.
        what: The noun for the things that both ends have decided.
    """
    if not found.compared:
        return [f"None of the {what} has a decision of both ends ({new}; {old}). {_left_out(found)}"]
    said = [
        (
            f"{found.compared:,} {what} decided by {new} and by {old}: {found.same:,} alike in every figure, {found.discordant:,} with another "
            f"tag, {found.moved:,} with another door. The same tag: {share(found.agreement)}."
        ),
        f"For people: {share(found.share(found.old_review))} by the old end, {share(found.share(found.new_review))} by the new one.",
    ]
    if found.discordant:
        said.append(
            f"Of {found.discordant:,} discordant {found.answered:,} have an answer: new right {found.new_right:,}, old "
            f"{found.old_right:,}, neither {found.neither_right:,}."
        )
    if left_out := _left_out(found):
        said.append(left_out)
    return said


def _left_out(found: Comparison) -> str:
    parts = [f"{_counted(found.dead_letters, 'dead letter')} not compared"] if found.dead_letters else []
    if found.refused_by_new:
        parts.append(f"{found.refused_by_new:,} of them refused by the new end alone")
    if found.refused_by_old:
        parts.append(f"{found.refused_by_old:,} of them refused by the old end alone")
    if found.unrecorded:
        parts.append(f"{_counted(found.unrecorded, 'event')} without a published decision of a model")
    return f"Left out: {', '.join(parts)}." if parts else ""


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def tables(found: Comparison) -> list[QualityTable]:
    """Return the tables in reading order; none if nothing was compared."""
    if not found.compared:
        return []
    made = [_tags(found), _doors(found), _labels(found), *_slices(found)]
    return made + ([_shown(found)] if found.shown else [])


def share(value: float | None) -> str:
    """
    Write a share in percent, with two decimals.

    >>> share(0.99995), share(None)
    ('99.99 %', '-')
    """
    if value is None:
        return UNKNOWN
    # The share is rounded down, so that a few differences among a million events do not give 100 %.
    return f"{int(round(value * 10_000, 6)) / 100:.2f} %"


def _tags(found: Comparison) -> QualityTable:
    names = sorted({*found.tags, *(new for row in found.tags.values() for new in row)})
    if len(names) <= MOST_COLUMNS:
        rows = [(old, *(f"{found.tags.get(old, {}).get(new, 0):,}" for new in names)) for old in names]
        return QualityTable(title="Tags: old in rows, new in columns", head=("old", *names), rows=tuple(rows))
    changes = sorted(
        ((count, old, new) for old, row in found.tags.items() for new, count in row.items() if old != new),
        key=lambda one: (-one[0], one[1], one[2]),
    )
    shown = [(old, new, f"{count:,}") for count, old, new in changes[:MOST_CHANGES]]
    note = f"{len(changes) - MOST_CHANGES} more kinds of change, in --json." if len(changes) > MOST_CHANGES else ""
    return QualityTable(title="Tags that changed", head=("old", "new", "events"), rows=tuple(shown), note=note)


def _doors(found: Comparison) -> QualityTable:
    doors = ("tagged", "review")
    rows = [(old, *(f"{found.doors.get(old, {}).get(new, 0):,}" for new in doors)) for old in doors]
    return QualityTable(title="Doors: old in rows, new in columns", head=("old", *doors), rows=tuple(rows))


def _labels(found: Comparison) -> QualityTable:
    rows = [
        (
            label,
            f"{count.old:,}",
            f"{count.new:,}",
            share(count.old_review / count.old if count.old else None),
            share(count.new_review / count.new if count.new else None),
        )
        for label, count in sorted(found.labels.items())
    ]
    head = ("predicted label", "old", "new", "for people, old", "for people, new")
    return QualityTable(title="Share for people, by label", head=head, rows=tuple(rows))


def _slices(found: Comparison) -> list[QualityTable]:
    made = []
    for group, slices in found.slices.items():
        rows = [
            (
                f"{name} (few)" if count.compared < FEW_ROWS else name,
                f"{count.compared:,}",
                share(count.agreement),
                f"{count.moved:,}",
                share(count.share(count.old_review)),
                share(count.share(count.new_review)),
            )
            for name, count in sorted(slices.items())
        ]
        head = (group, "events", "same tag", "other door", "for people, old", "for people, new")
        made.append(QualityTable(title=f"Slices: {group}", head=head, rows=tuple(rows)))
    return made


def _shown(found: Comparison) -> QualityTable:
    rows = [
        (
            row.id,
            f"{row.topic}/{row.partition}:{row.offset}",
            _side(row.old),
            _side(row.new),
            row.answer or UNKNOWN,
        )
        for row in found.shown
    ]
    note = f"The first of them; {found.discordant:,} have another tag, {found.moved:,} another door. --rows FILE has all."
    head = ("event", "place", "old", "new", "answer")
    return QualityTable(title="Events that differ", head=head, rows=tuple(rows), note=note)


def _side(side: dict[str, str | float]) -> str:
    return f"{side['tag']} {side['confidence']:.4f} {side['destination']}"


def page(title: str, digest: str, said: Sequence[str], made: Sequence[QualityTable]) -> str:
    """
    Return sentences and tables as one page of HTML, in the form of an evaluation's report.

    Args:
        title: The title of the page.
        digest: The digest of the new bundle.
        said: The result of `sentences`.
        made: The result of `tables`.

    Raises:
        ModuleNotFoundError: Jinja2 is not installed.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = f"{colour_rules(':root')}\n{(FOLDER / 'page.css').read_text(encoding='utf-8')}"
    named = {f"{place}": table for place, table in enumerate(made)}
    return environment.get_template("page.j2").render(title=title, digest=digest, sentences=said, tables=named, rules=style)
