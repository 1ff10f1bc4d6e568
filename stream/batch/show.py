"""One outcome of `tagstream classify` on the terminal."""

from rich.text import Text

from monitoring.vocabulary import ReviewReason
from stream.contract.events import Rejected
from stream.contract.outcomes import Decision, NeedsReview, Outcome, ReviewDecision
from stream.terminal.console import out, tag_style, visible

BAR_CELLS = 24


def print_outcome(outcome: Outcome, *, line: int | None) -> None:
    """
    One outcome for people: of a file's row a line, of a text, which has no `line`, every probability.

    A row that is refused is found by its line, and in the JSON of the same input by its number.
    """
    whole = line is None
    if isinstance(outcome, Rejected):
        place = "" if whole else f"line {line} (row {outcome.raw.offset})  "
        out.print(Text.assemble(("rejected", "bold red"), f"  {place}{outcome.reason.value}: {outcome.message}"))
        return
    decision = outcome.decision
    unsure = isinstance(outcome, NeedsReview)
    door = Text("review", style="bold yellow") if unsure else Text("tagged", style="green")
    labels = list(decision.probabilities)
    shown = Text.assemble(door, "  ", f"{decision.confidence:.4f}  ", (f"{decision.tag:<27}", tag_style(decision.tag, labels)))
    out.print(shown if whole else shown.append(f"  {visible(outcome.event.title)}"))
    if whole:
        for label, probability in sorted(decision.probabilities.items(), key=lambda item: -item[1]):
            bar = "█" * round(probability * BAR_CELLS)
            out.print(Text.assemble(f"        {probability:.4f}  ", (f"{label:<27}", tag_style(label, labels)), f"  {bar}"))
        if decision.tags:
            out.print(Text(f"        about {', '.join(decision.tags)}"))
        if unsure:
            out.print(Text(f"        {_why_asked(decision)}: a person would be asked", style="dim"))
        out.print(Text(f"        {decision.model.name} {decision.model.version}  {decision.model.digest[:12]}", style="dim"))


def _why_asked(decision: Decision) -> str:
    """The reasons in words; what is strange may be sure."""
    reasons = decision.reasons if isinstance(decision, ReviewDecision) else ()
    unsure = (
        f"the bundle leaves no {decision.tag} to the model"
        if decision.threshold > 1
        else f"below the threshold {decision.threshold} of {decision.tag}"
    )
    words = {ReviewReason.LOW_CONFIDENCE: unsure, ReviewReason.OUT_OF_DISTRIBUTION: "unlike what the model was made for"}
    return ", ".join(words.get(reason, reason.value.replace("_", " ")) for reason in reasons)
