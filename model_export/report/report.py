"""The record of an evaluation as a report: a page of HTML and the same text as Markdown, both from the template `report.j2`."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import jinja2
import msgspec
from markupsafe import Markup

from tagstream.model_export.calibrate.intervals import Interval
from tagstream.model_export.compare.contestants import BUNDLE, NETWORK, RIVAL
from tagstream.model_export.compare.evaluation_record import (
    BETTER,
    PARTS,
    UNDECIDED,
    WORSE,
    Measured,
    ModelReport,
    PublishedRows,
    title,
)
from tagstream.model_export.compare.requirements import Judged
from tagstream.model_export.measure import speed, suites
from tagstream.model_export.measure.paired import SIGNIFICANT
from tagstream.model_export.measure.slices import FEW_ROWS
from tagstream.model_export.measure.suites import GroupReport
from tagstream.model_export.report.colours import colour_rules
from tagstream.model_export.report.picture import Picture
from tagstream.model_export.report.plots import draw
from tagstream.model_export.report.terminal import of_evaluation, shown_p

FOLDER = Path(__file__).parent
KINDS = {BUNDLE: "int8, as in production", NETWORK: "network in full precision", RIVAL: "simpler rival"}
RECORDS, MARKDOWN, PAGE = "evaluation.jsonl", "report.md", "report.html"
# Characters that are markup in a Markdown cell or sentence.
_ESCAPED = str.maketrans({character: f"\\{character}" for character in "\\|*_`<>[]"})


def write(measured: Measured, folder: Path, judged: Judged | None = None) -> list[Path]:
    """
    Write the report of a record.

    Args:
        measured: The record.
        folder: The folder of the files. It is made if missing, and files of the same names are replaced.
        judged: The requirements on the bundle; None without requirements.

    Returns:
        The paths of the page, the Markdown file, and the record as JSON lines. The pictures of the Markdown file are in the same folder.

    Raises:
        OSError: The folder cannot be written to.
    """
    pictures = draw(measured)
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures.values():
        (folder / f"{picture.name}.svg").write_text(picture.as_file() + "\n", encoding="utf-8")
    records = (*measured.records(), *(judged.records() if judged else ()))
    (folder / RECORDS).write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    (folder / MARKDOWN).write_text(as_markdown(measured, pictures, judged), encoding="utf-8")
    (folder / PAGE).write_text(as_page(measured, pictures, judged), encoding="utf-8")
    return [folder / PAGE, folder / MARKDOWN, folder / RECORDS]


def as_page(measured: Measured, pictures: dict[str, Picture], judged: Judged | None = None) -> str:
    """Return the report as one page of HTML, which contains its pictures and its style."""
    # Both parts of the style are the project's own text, so they need no escaping.
    style = Markup(f"{colour_rules(':root')}\n{(FOLDER / 'page.css').read_text(encoding='utf-8')}")  # noqa: S704
    return _environment().get_template("report.j2").render(_content(measured, pictures, judged), form="html.j2", style=style)


def as_markdown(measured: Measured, pictures: dict[str, Picture], judged: Judged | None = None) -> str:
    """Return the report as Markdown, which refers to the pictures by file name."""
    environment = _environment(finalize=_markdown_text)
    text = environment.get_template("report.j2").render(_content(measured, pictures, judged), form="markdown.j2")
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def summary(measured: Measured) -> str:
    """Return the main figures in a few sentences."""
    sentences = []
    for part, found in measured.bundle.parts.items():
        evaluation = found.evaluation
        sentences.append(
            f"On the {title(part)} ({evaluation.rows} rows) its weighted F1 is {evaluation.weighted_f1:.3f} "
            f"{_bounds(evaluation.weighted_f1_interval)}{_beside(measured, part)}."
        )
    if measured.bundle.behaviour:
        sentences.append(f"{_cases(measured.bundle)} behaviour cases hold.")
    return " ".join(sentences)


def _environment(finalize: Callable[[object], object] | None = None) -> jinja2.Environment:
    # Autoescape is on for Markdown, too: macros then return markup, which `finalize` does not escape again.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=finalize,
    )
    environment.filters |= {
        "bounds": _bounds,
        "cases": _cases,
        "few": lambda rows: f"{rows} (few)" if rows < FEW_ROWS else str(rows),
        "held": lambda group: f"{group.passed} of {group.cases}",
        "p_value": shown_p,
        "right": _right,
        "share": lambda share: "-" if share is None else f"{share:.1%}",
        "share_of": lambda part, shares: f"{shares[part]:.2%}",
        "thresholds": _thresholds,
        "title_of": title,
    }
    return environment


def _content(measured: Measured, pictures: dict[str, Picture], judged: Judged | None) -> dict[str, object]:
    return {
        "measured": measured,
        "judged": judged,
        "pictures": pictures,
        "summary": summary(measured),
        "title": title,
        "totals": suites.totals,
        "shared": speed.shared,
        "kinds": KINDS,
        "parts": PARTS,
        "few_rows": FEW_ROWS,
        "compared": of_evaluation(measured),
        "significant": SIGNIFICANT,
        "records": RECORDS,
    }


def _markdown_text(value: object) -> Markup:
    return value if isinstance(value, Markup) else Markup(str(value).translate(_ESCAPED))  # noqa: S704 - escaped for Markdown


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


def _right(published: PublishedRows) -> str:
    """Write the share of right rows among the published rows, with its interval."""
    return "-" if published.precision is None else f"{published.precision:.3f} {_bounds(published.interval)}"


def _thresholds(published: PublishedRows) -> str:
    """Write the threshold, or the least and the largest threshold if the labels have different thresholds."""
    least, most = (
        "never" if at > 1 else f"{at:.4f}" for at in (min(published.asked_below.values()), max(published.asked_below.values()))
    )
    return least if least == most else f"{least} to {most}"


def _cases(model: ModelReport) -> str:
    behaviour: Sequence[GroupReport] = model.behaviour
    return f"{sum(each.passed for each in behaviour)} of {sum(each.cases for each in behaviour)}"


def _bounds(interval: Interval) -> str:
    low, high = interval
    return f"[{low:.3f}, {high:.3f}]"


def _and(names: Sequence[str]) -> str:
    """
    List names as in a sentence.

    >>> _and(["rules", "tfidf", "frozen head"])
    'rules, tfidf and frozen head'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
