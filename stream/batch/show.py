"""One outcome of `tagstream classify` on the terminal."""

from enum import StrEnum

from rich.text import Text

from monitoring.vocabulary import ReviewReason
from stream.batch.classify import Classified
from stream.contract.decisions import Decision, NeedsReview
from stream.contract.refusal import Refusal
from stream.terminal.console import out, tag_style, visible

BAR_CELLS = 24


def print_outcome(classified: Classified, *, of_file: bool) -> None:
    """
    One outcome for people: one line for a row of a file, every probability for a text.

    A row for a person ends with the reasons in words, and a rejected row is named by its line.
    """
    outcome = classified.outcome
    if isinstance(outcome, Refusal):
        place = f"line {classified.row.line}  " if of_file else ""
        out.print(Text.assemble(("rejected", "bold red"), f"  {place}{outcome.reason.value}: {outcome.message}"))
        return
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
    """The reasons in words. A text may be out of distribution though the model is sure."""
    words = {ReviewReason.LOW_CONFIDENCE: _unsure(outcome.decision), ReviewReason.OUT_OF_DISTRIBUTION: _strange(outcome)}
    return ", ".join(words.get(reason, _spaced(reason)) for reason in outcome.reasons)


def _unsure(decision: Decision) -> str:
    if decision.decider == "rules":
        return "the rules only guess"
    if decision.threshold > 1:
        return f"the bundle publishes no {decision.tag} without a person"
    return f"below the threshold {decision.threshold} of its tag"


def _strange(outcome: NeedsReview) -> str:
    if outcome.text_flags:
        return f"hidden or deceptive characters: {', '.join(map(_spaced, outcome.text_flags))}"
    return "unlike the training texts"


def _spaced(name: StrEnum) -> str:
    return name.value.replace("_", " ")
