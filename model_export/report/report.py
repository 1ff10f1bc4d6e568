"""A record of measurements as a report: one document of plain blocks, written as Markdown and as one page of HTML."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from model_export.calibrate.intervals import Interval
from model_export.compare.contestants import BUNDLE, NETWORK, RIVAL
from model_export.compare.measured import (
    BETTER,
    PARTS,
    UNDECIDED,
    WORSE,
    Measured,
    ModelReport,
    PartReport,
    Published,
    title,
)
from model_export.measure import speed, suites
from model_export.measure.paired import SIGNIFICANT
from model_export.measure.slices import FEW_ROWS
from model_export.report.plots import Picture, draw
from model_export.report.terminal import shown_p

KINDS = {BUNDLE: "int8, as in production", NETWORK: "network in full precision", RIVAL: "simpler rival"}
RECORDS, MARKDOWN, PAGE = "evaluation.jsonl", "report.md", "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """A few sentences."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure that stands out: what it is, the figure, and what to know about it."""

    name: str
    figure: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """The figures that a reader looks for first."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells; the first column names the row, the others are figures. `strong`: the row that it is all about."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Points, or with `folded` a list that is opened on demand."""

    points: tuple[str, ...]
    folded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A picture under a title."""

    title: str
    picture: Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Pictures side by side where there is room."""

    pictures: tuple[Shown, ...]


Block = Paragraph | Tiles | Table | Listing | Gallery


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Blocks under a heading; the first section of a document has none."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A report before it has a form. `digest` says of which bundle."""

    title: str
    digest: str
    sections: tuple[Section, ...]

    def pictures(self) -> Iterator[Picture]:
        """Every picture, in order."""
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Gallery):
                    yield from (shown.picture for shown in block.pictures)


def write(measured: Measured, folder: Path) -> list[Path]:
    """
    Write the record, the Markdown report with its pictures, and the page of HTML.

    Args:
        measured: What was measured.
        folder: Where to; it is made, and files of the same names are replaced.

    Returns:
        What a reader may want to open.

    Raises:
        OSError: The folder cannot be written to.
    """
    from model_export.report import markdown, page

    document = compose(measured)
    folder.mkdir(parents=True, exist_ok=True)
    lines = b"".join(msgspec.json.encode(record) + b"\n" for record in measured.records())
    (folder / RECORDS).write_bytes(lines)
    for picture in document.pictures():
        (folder / f"{picture.name}.svg").write_text(picture.as_file() + "\n", encoding="utf-8")
    (folder / MARKDOWN).write_text(markdown.render(document), encoding="utf-8")
    (folder / PAGE).write_text(page.render(document), encoding="utf-8")
    return [folder / PAGE, folder / MARKDOWN, folder / RECORDS]


def compose(measured: Measured) -> Document:
    """The document of a record."""
    pictures = draw(measured)
    sections = [
        Section(title="", blocks=(Paragraph(text=summary(measured)), _tiles(measured))),
        *([_rivals(measured, pictures)] if measured.others else []),
        _classes(measured, pictures),
        _confidence(measured, pictures),
        *_strange(measured),
        _slices(measured, pictures),
        _behaviour(measured),
        _method(measured),
    ]
    return Document(title=f"{measured.bundle.name}: evaluation", digest=measured.digest, sections=tuple(sections))


def summary(measured: Measured) -> str:
    """What there is to say, in sentences that only the record decides."""
    sentences = []
    for part, found in measured.bundle.parts.items():
        evaluation = found.evaluation
        sentences.append(
            f"On the {title(part)} ({evaluation.rows} rows) its weighted F1 is {evaluation.weighted_f1:.3f} "
            f"{_bounds(evaluation.weighted_f1_interval)}{_beside(measured, part)}."
        )
    passed, cases = _cases(measured.bundle)
    sentences.append(f"{passed} of {cases} behaviour cases hold.")
    return " ".join(sentences)


def _beside(measured: Measured, part: str) -> str:
    words = {BETTER: "better than", WORSE: "worse than", UNDECIDED: "not told apart from"}
    said = []
    for verdict, phrase in words.items():
        names = [
            other.name for other in measured.others if (v := other.parts[part].versus) is not None and v.verdict == verdict
        ]
        if names:
            said.append(f"{phrase} {_and(names)}")
    return f": {'; '.join(said)}" if said else ""


def _tiles(measured: Measured) -> Tiles:
    evaluations = {part: found.evaluation for part, found in measured.bundle.parts.items()}
    tiles = [
        Tile(
            name=f"Weighted F1, {title(part)}",
            figure=f"{evaluation.weighted_f1:.3f}",
            note=f"{_bounds(evaluation.weighted_f1_interval)}, {evaluation.rows} rows",
        )
        for part, evaluation in evaluations.items()
    ]
    promise = f"the promise, on calibration rows, is {measured.target_precision:.0%}"
    for part, found in measured.bundle.parts.items():
        share = found.published.share
        name = f"Published without a person, {title(part)}"
        tiles.append(Tile(name=name, figure=f"{share:.0%}", note=f"{_right(found.published)} of them right; {promise}"))
    passed, cases = _cases(measured.bundle)
    found_speed = measured.bundle.speed
    tiles += [
        Tile(
            name="Behaviour cases that hold",
            figure=f"{passed} of {cases}",
            note="texts written to be asked, never learned from",
        ),
        Tile(
            name="Texts a second, one core",
            figure=f"{found_speed.texts_per_second:,.0f}",
            note=f"tokenisation included; {found_speed.slowest:,.0f} to {found_speed.fastest:,.0f} over {found_speed.rounds} rounds"
            + (", on a shared processor" if speed.shared([found_speed]) else ""),
        ),
    ]
    return Tiles(tiles=tuple(tiles))


def _rivals(measured: Measured, pictures: dict[str, Picture]) -> Section:
    blocks: list[Block] = [
        Paragraph(
            text="Every model was asked the same rows. Differences are the bundle's figure less the other's, on the same redrawn rows; "
            "“alone right” counts the rows that the bundle alone, and the other alone, has right. p is McNemar's exact test, corrected "
            f"by Holm for the number of others; below {SIGNIFICANT} the two are called different."
        ),
        _gallery(measured, pictures, "rivals", "Weighted F1"),
        *(_rivals_table(measured, part) for part in measured.bundle.parts),
        _speed_table(measured),
    ]
    return Section(title="Beside its rivals", blocks=tuple(blocks))


def _rivals_table(measured: Measured, part: str) -> Table:
    rows = []
    for model in measured.models:
        found = model.parts[part]
        evaluation, versus = found.evaluation, found.versus
        row = [
            model.name,
            f"{evaluation.weighted_f1:.3f} {_bounds(evaluation.weighted_f1_interval)}",
            f"{evaluation.macro_f1:.3f}",
        ]
        if versus is None:
            row += ["-"] * 4
        else:
            test = versus.test
            row += [
                f"{test.difference:+.3f} [{test.interval[0]:+.3f}, {test.interval[1]:+.3f}]",
                f"{test.only_ours} : {test.only_theirs}",
                shown_p(versus.corrected_p),
                versus.verdict,
            ]
        rows.append(tuple(row))
    return Table(
        title=f"{title(part).capitalize()}, {measured.bundle.parts[part].evaluation.rows} rows",
        head=("model", "weighted F1, 95 %", "macro F1", "difference, 95 %", "alone right", "p", "the bundle is"),
        rows=tuple(rows),
        strong=0,
    )


def _speed_table(measured: Measured) -> Table:
    first = measured.bundle.speed
    rows = []
    for model in measured.models:
        taken = model.speed
        passed, cases = _cases(model)
        rows.append((
            model.name,
            KINDS[model.kind],
            f"{taken.texts_per_second:,.0f}",
            f"{taken.slowest:,.0f} to {taken.fastest:,.0f}",
            f"{taken.cores:.2f}",
            f"{model.megabytes:.1f}" if model.megabytes is not None else "-",
            f"{passed} of {cases}",
        ))  # fmt: skip
    return Table(
        title=f"Speed (threads={first.threads}), size, behaviour",
        head=("model", "kind", "texts/s", "slowest to fastest", "cores", "MB", "cases that hold"),
        rows=tuple(rows),
        strong=0,
    )


def _classes(measured: Measured, pictures: dict[str, Picture]) -> Section:
    tables = []
    for part, found in measured.bundle.parts.items():
        rows = tuple(
            (
                each.label,
                f"{each.f1:.3f} {_bounds(each.f1_interval)}" if each.rows else "-",
                f"{each.precision:.3f}",
                f"{each.recall:.3f}",
                str(each.rows) + _few(each.rows),
                f"{each.threshold:.4f}" if each.threshold <= 1 else "never",
                str(each.published),
                "-" if each.published_precision is None else f"{each.published_precision:.3f}",
            )
            for each in found.evaluation.classes
        )
        head = ("class", "F1, 95 %", "precision", "recall", "rows", "published from", "published", "of them right")
        tables.append(Table(title=title(part).capitalize(), head=head, rows=rows))
    return Section(title="Per class", blocks=(_gallery(measured, pictures, "confusion", "Given as"), *tables))


def _confidence(measured: Measured, pictures: dict[str, Picture]) -> Section:
    tables = []
    for part in measured.bundle.parts:
        rows = []
        for model in measured.models:
            found = model.parts[part]
            rows.append((
                model.name,
                f"{found.evaluation.calibration_error:.3f}",
                f"{found.risk_coverage.area:.3f}",
                _thresholds(found.published),
                f"{found.published.share:.1%}",
                _right(found.published),
            ))  # fmt: skip
        head = ("model", "calibration error", "mean risk", "threshold", "published", "of them right, 95 %")
        tables.append(Table(title=title(part).capitalize(), head=head, rows=tuple(rows), strong=0))
    return Section(
        title="What its confidence is worth",
        blocks=(
            Paragraph(
                text="A confidence of 0.9 should be right nine times in ten (reliability), and a model should be wrong mostly where it is unsure (risk by "
                "coverage). Bundles have thresholds of their own; the others are read at this bundle's, which was not chosen for them, and "
                "the simpler rivals' confidences were never calibrated."
            ),
            Gallery(
                pictures=tuple(
                    Shown(title=f"{heading}: {title(part)}", picture=pictures[f"{name}-{part}"])
                    for part in measured.bundle.parts
                    for name, heading in (("reliability", "Reliability"), ("risk-coverage", "Risk by coverage"))
                )
            ),
            *tables,
        ),
    )


def _strange(measured: Measured) -> list[Section]:
    """What the gates of the bundles do, where they have one; networks and rivals have none."""
    gates = {model.name: model.gate for model in measured.models if model.gate is not None}
    if not gates:
        return []
    places = list(dict.fromkeys(part for each in gates.values() for part in each.false_rejection))
    rows = tuple(
        (
            name,
            f"{each.ood_energy:.4f}",
            *(f"{each.false_rejection[part]:.2%}" for part in places),
            "-" if each.not_ml_rejection is None else f"{each.not_ml_rejection:.1%}",
            "-" if each.not_ml_review is None else f"{each.not_ml_review:.1%}",
        )
        for name, each in gates.items()
    )
    strangers = next(iter(gates.values())).not_ml_rows
    text = (
        "A text whose energy is above the model's own goes to a person whatever its confidence. It should seldom be called strange where it is "
        f"not, and often where it is: on {strangers} authored rows that are not about machine learning. The calibration rows chose the energy."
    )
    head = ("model", "energy above", *map(title, places), "not machine learning: strange", "to a person for any reason")
    return [
        Section(
            title="What it was not made for",
            blocks=(Paragraph(text=text), Table(title="Called strange", head=head, rows=rows)),
        )
    ]


def _slices(measured: Measured, pictures: dict[str, Picture]) -> Section:
    tables = [_slice_table(part, found) for part, found in measured.bundle.parts.items()]
    text = (
        f"Kinds of rows that an average hides. A row is in every slice whose description fits it; slices of fewer than {FEW_ROWS} rows "
        "are marked, and say little."
    )
    return Section(
        title="Slices", blocks=(Paragraph(text=text), _gallery(measured, pictures, "slices", "Share right"), *tables)
    )


def _slice_table(part: str, found: PartReport) -> Table:
    rows = tuple(
        (
            f"{each.group}: {each.name}",
            str(each.rows) + _few(each.rows),
            f"{each.accuracy:.3f} {_bounds(each.interval)}",
            f"{each.weighted_f1:.3f} {_bounds(each.f1_interval)}",
        )
        for each in found.slices
    )
    return Table(title=title(part).capitalize(), head=("slice", "rows", "share right, 95 %", "weighted F1, 95 %"), rows=rows)


def _behaviour(measured: Measured) -> Section:
    totals = {model.name: suites.totals(model.behaviour) for model in measured.models}
    names = [total.suite for total in totals[measured.bundle.name]]
    overview = Table(
        title="Cases that hold, by suite",
        head=("model", *names),
        rows=tuple((name, *(f"{total.passed} of {total.cases}" for total in each)) for name, each in totals.items()),
        strong=0,
    )
    groups = Table(
        title=f"By group, {measured.bundle.name}",
        head=("group", "holds", "95 %"),
        rows=tuple(
            (f"{each.suite}: {each.group}", f"{each.passed} of {each.cases}", _bounds(each.interval))
            for each in measured.bundle.behaviour
        ),
    )
    failed = tuple(f"{each.suite}, {each.group}: {title}" for each in measured.bundle.behaviour for title in each.failed)
    blocks: list[Block] = [
        Paragraph(
            text="Small texts with what must hold of them: minimum asks the plainest titles of every class, breadth every territory, "
            "direction changes the decisive word, which the label must follow, and invariance changes what must not matter: typos, case, "
            "spelling, synonyms, an address, the order of words, decoration."
        ),
        overview,
        groups,
    ]
    if failed:
        blocks.append(Listing(points=failed, folded=f"The {len(failed)} cases that do not hold"))
    return Section(title="Behaviour", blocks=tuple(blocks))


def _method(measured: Measured) -> Section:
    first = measured.bundle.speed
    points = [
        f"{title(part).capitalize()}: {found.evaluation.rows} rows; {PARTS[part][1]}."
        for part, found in measured.bundle.parts.items()
    ]
    points += [
        "The bundle is run by the code that the stream runs: its figures are those of the stream.",
        (
            "Intervals are at 95 %: bootstrap over rows for F1 and its differences, Wilson's for shares. They speak of the luck of these "
            "rows, not of other data."
        ),
        (
            f"Speed is from a text to its prediction with threads={first.threads}: all models in turn on the same {first.texts} texts, one "
            f"round that does not count, then the median of {first.rounds}. Compare the models with each other, not with another "
            f"machine's figures. {speed.shared([model.speed for model in measured.models])}"
        ).rstrip(),
        f"Everything above is in {RECORDS}, one object a line, as tagstream model evaluate --json prints it.",
    ]
    return Section(title="How it was measured", blocks=(Listing(points=tuple(points)),))


def _gallery(measured: Measured, pictures: dict[str, Picture], name: str, heading: str) -> Gallery:
    parts = measured.bundle.parts
    return Gallery(
        pictures=tuple(Shown(title=f"{heading}: {title(part)}", picture=pictures[f"{name}-{part}"]) for part in parts)
    )


def _right(published: Published) -> str:
    """The share right of what is published, with its interval."""
    return "-" if published.precision is None else f"{published.precision:.3f} {_bounds(published.interval)}"


def _thresholds(published: Published) -> str:
    """One figure, or the least and the most where labels have their own."""
    least, most = min(published.asked_below.values()), max(published.asked_below.values())
    return f"{least:.4f}" if least == most else f"{least:.4f} to {most:.4f}"


def _cases(model: ModelReport) -> tuple[int, int]:
    return sum(each.passed for each in model.behaviour), sum(each.cases for each in model.behaviour)


def _bounds(interval: Interval) -> str:
    low, high = interval
    return f"[{low:.3f}, {high:.3f}]"


def _few(rows: int) -> str:
    return " (few)" if rows < FEW_ROWS else ""


def _and(names: Sequence[str]) -> str:
    """
    Names as a sentence lists them.

    >>> _and(["rules", "tfidf", "frozen head"])
    'rules, tfidf and frozen head'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
