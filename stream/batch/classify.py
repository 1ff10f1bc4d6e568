"""`tagstream classify`: reads its argument TEXT|FILE, and prints outcomes on the terminal. `stream/batch/run.py` makes the decisions."""

import json
import os
import re
from pathlib import Path

from rich.text import Text

from tagstream.model_export.data.reader import CSV_SUFFIXES, JSON_SUFFIXES, RowsError
from tagstream.monitoring.vocabulary import ReviewReason
from tagstream.stream.batch.run import DecidedRow, Rejected
from tagstream.stream.contract.outcome import Decision, NeedsReview
from tagstream.stream.terminal.console import out, tag_style, visible

SUFFIXES = ", ".join(sorted(CSV_SUFFIXES | JSON_SUFFIXES))
_ENDS_LIKE_A_FILE = re.compile(r"\.[A-Za-z]{2,8}$")
BAR_CELLS = 24


def is_file(argument: str) -> bool:
    """
    Return True if this argument names a file or standard input, and is not a text to classify.

    Raises:
        RowsError: The argument names a folder.
    """
    path = Path(argument)
    if argument == "-" or path.suffix.lower() in CSV_SUFFIXES | JSON_SUFFIXES:
        return True
    # An empty argument is a text, though an empty path is the working directory.
    if not argument or not _exists(path):
        return False
    if path.is_dir():
        msg = (
            f"{argument} is a folder. Next: give a file in it ({SUFFIXES}); should it be a text, give it as an event: "
            f"""echo '{{"title": "..."}}' | tagstream classify -."""
        )
        raise RowsError(msg)
    # A file with another suffix, or a pipe. Its first line shows the format.
    return True


def looks_like_a_path(argument: str) -> bool:
    """
    Return True if an argument that does not name an existing file looks like a path.

    A text may contain a slash. So an argument of several words is a path only if it begins like a path or its folder exists.

    >>> [looks_like_a_path(text) for text in ("papers.parquet", "data/papers", "/no/such file", "TCP/IP")]
    [True, True, True, True]
    >>> [looks_like_a_path(text) for text in ("A/B tests for models", "Is it 3.5?", "What is MLOps", "")]
    [False, False, False, False]
    """
    if _ENDS_LIKE_A_FILE.search(argument):
        return True
    if os.sep not in argument:
        return False
    begins_so = argument.startswith((os.sep, f".{os.sep}", f"..{os.sep}", f"~{os.sep}"))
    return begins_so or not any(map(str.isspace, argument)) or _exists(Path(argument).parent)


def of_text(text: str) -> bytes:
    """
    Return the event with this text as its title.

    Raises:
        RowsError: The text was not UTF-8 on the command line.
    """
    # Python keeps bytes of an argument that are not UTF-8 as these surrogates.
    strange = next((place for place, character in enumerate(text, start=1) if "\ud800" <= character <= "\udfff"), None)
    if strange is not None:
        msg = f"the text is not UTF-8 (character {strange}). Next: convert it, or set the terminal to UTF-8."
        raise RowsError(msg)
    return json.dumps({"title": text}, ensure_ascii=False).encode()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        # The argument is too long for a name, or has a NUL: it is a text.
        return False


def print_outcome(found: DecidedRow | Rejected, *, of_file: bool) -> None:
    """
    Print an outcome for people: one line for a row of a file, all probabilities for a text.

    A row for a person ends with the reasons in words. A rejected row is named by its line number.
    """
    if isinstance(found, Rejected):
        place, error = f"line {found.row.line}  " if of_file else "", found.error
        out.print(Text.assemble(("rejected", "bold red"), f"  {place}{error['code']}: {error['message']}"))
        return
    outcome = found.outcome
    decision = outcome.decision
    why = why_asked(outcome) if isinstance(outcome, NeedsReview) else None
    destination = Text("tagged", style="green") if why is None else Text("review", style="bold yellow")
    labels = list(decision.probabilities)
    shown = Text.assemble(
        destination, f"  {decision.confidence:.4f}  ", (f"{decision.tag:<27}", tag_style(decision.tag, labels))
    )
    if of_file:
        shown.append(f"  {visible(outcome.event.title)}")
        out.print(shown if why is None else shown.append(f"  [{why}]", style="dim"))
    else:
        out.print(shown)
        for label, probability in sorted(decision.probabilities.items(), key=lambda item: -item[1]):
            bar = "█" * round(probability * BAR_CELLS)
            out.print(Text.assemble(f"        {probability:.4f}  ", (f"{label:<27}", tag_style(label, labels)), f"  {bar}"))
        if decision.tags:
            out.print(Text(f"        about {', '.join(decision.tags)}"))
        if why is not None:
            out.print(Text(f"        for a person: {why}", style="dim"))
        out.print(Text(f"        {decision.model.name} {decision.model.version}  {decision.model.digest[:12]}", style="dim"))


def why_asked(outcome: NeedsReview) -> str:
    """Return the reasons of a review in words. The decision gives details for low confidence and for out of distribution."""
    more = {
        ReviewReason.LOW_CONFIDENCE: _unsure(outcome.decision),
        ReviewReason.OUT_OF_DISTRIBUTION: _strange(outcome.decision),
    }
    return ", ".join(more.get(ReviewReason(reason), _spaced(reason)) for reason in outcome.decision.reasons)


def _unsure(decision: Decision) -> str:
    if decision.decider == "rules":
        return "the rules only guess"
    if decision.threshold > 1:
        return f"the bundle publishes no {decision.tag} without a person"
    return f"below the threshold {decision.threshold} of its tag"


def _strange(decision: Decision) -> str:
    if decision.text_flags:
        return f"hidden or deceptive characters: {', '.join(map(_spaced, decision.text_flags))}"
    return "unlike the training texts"


def _spaced(name: str) -> str:
    return name.replace("_", " ")
