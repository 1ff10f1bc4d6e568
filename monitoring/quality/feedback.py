"""What people and readers said about the decisions of a model or of an arm of a canary."""

from dataclasses import dataclass

from tagstream.monitoring.quality.amounts import Amount

# One answer can settle near-duplicates too. Their answers follow within this time, and no person reads and answers so fast.
ONE_ANSWER_MS = 1000
# The time of an answer after a longer pause is not known: the console takes an item back after such a silence.
PAUSE_MS = 10 * 60 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """
    What people and readers said about a part of the decisions.

    Attributes:
        answers: The number of people's answers, second opinions and corrections too. Near-duplicates that one answer settled count once.
        minutes: People's minutes for these answers, each of which counts the median time; None with too few times.
        reported: The number of events that readers reported.
        confirmed: The number of these events on which the answer that holds denies the tag that the person saw.
    """

    answers: int
    minutes: Amount | None
    reported: int
    confirmed: int
