"""One outcome of `tagstream classify` on the terminal."""

from rich.text import Text

from monitoring.vocabulary import ReviewReason
from stream.batch.classify import Classified
from stream.contract.decisions import NeedsReview
from stream.contract.refusal import Refusal
from stream.terminal.console import out, tag_style, visible

BAR_CELLS = 24


def print_outcome(classified: Classified, *, of_file: bool) -> None:
    """
    One outcome for people: one line for a row of a file, every probability for a text.

    A rejected row is shown with its line, and with the number that it has in the JSON of the same input.
    """
    outcome = classified.outcome
    if isinstance(outcome, Refusal):
        place = f"line {classified.begins} (row {classified.number})  " if of_file else ""
        out.print(Text.assemble(("rejected", "bold red"), f"  {place}{outcome.reason.value}: {outcome.message}"))
        return
    decision = outcome.decision
    unsure = isinstance(outcome, NeedsReview)
    door = Text("review", style="bold yellow") if unsure else Text("tagged", style="green")
    labels = list(decision.probabilities)
    shown = Text.assemble(door, "  ", f"{decision.confidence:.4f}  ", (f"{decision.tag:<27}", tag_style(decision.tag, labels)))
    out.print(shown.append(f"  {visible(outcome.event.title)}") if of_file else shown)
    if not of_file:
        for label, probability in sorted(decision.probabilities.items(), key=lambda item: -item[1]):
            bar = "█" * round(probability * BAR_CELLS)
            out.print(Text.assemble(f"        {probability:.4f}  ", (f"{label:<27}", tag_style(label, labels)), f"  {bar}"))
        if decision.tags:
            out.print(Text(f"        about {', '.join(decision.tags)}"))
        if isinstance(outcome, NeedsReview):
            out.print(Text(f"        {_why_asked(outcome)}: a person would be asked", style="dim"))
        out.print(Text(f"        {decision.model.name} {decision.model.version}  {decision.model.digest[:12]}", style="dim"))


def _why_asked(outcome: NeedsReview) -> str:
    """The reasons in words. A text may be out of distribution though the model is sure."""
    decision = outcome.decision
    unsure = (
        f"the bundle leaves no {decision.tag} to the model"
        if decision.threshold > 1
        else f"below the threshold {decision.threshold} of {decision.tag}"
    )
    words = {ReviewReason.LOW_CONFIDENCE: unsure, ReviewReason.OUT_OF_DISTRIBUTION: "unlike what the model was made for"}
    return ", ".join(words.get(reason, reason.value.replace("_", " ")) for reason in outcome.reasons)
