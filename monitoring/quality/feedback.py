"""What people, readers and viewers said about the decisions of a model or of an arm of a canary."""

from dataclasses import dataclass

from tagstream.monitoring.quality.amounts import Amount

# One answer can settle near-duplicates too. Their answers follow within this time, and no person reads and answers so fast.
ONE_ANSWER_MS = 1000
# The time of an answer after a longer pause is not known: the console takes an item back after such a silence.
PAUSE_MS = 10 * 60 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewersAnswers:
    """
    What viewers of web pages said about a part of the decisions. Who answers is not drawn, so no interval contains it.

    Attributes:
        asked: The number of decisions whose record has a token.
        answered: Of these, the number with an answer.
        votes: The number of viewers who answered, over all these decisions.
        right: Of these, the number who said that the tag is right.
    """

    asked: int = 0
    answered: int = 0
    votes: int = 0
    right: int = 0

    @property
    def response(self) -> float | None:
        """The share of the asked decisions that have an answer, 0 to 1; None if nobody was asked."""
        return self.answered / self.asked if self.asked else None

    @property
    def said_right(self) -> float | None:
        """The share of the votes that say right, 0 to 1; None without a vote."""
        return self.right / self.votes if self.votes else None

    def __add__(self, other: "ViewersAnswers") -> "ViewersAnswers":
        """Return the sums of the answers on both parts."""
        return ViewersAnswers(
            asked=self.asked + other.asked,
            answered=self.answered + other.answered,
            votes=self.votes + other.votes,
            right=self.right + other.right,
        )

    def in_words(self) -> str:
        """
        Return the figures in words.

        >>> ViewersAnswers(asked=40, answered=12, votes=20, right=15).in_words(), ViewersAnswers(asked=40).in_words()
        ('12 of 40 asked, 75 % said right', '0 of 40 asked')
        """
        said = "" if self.said_right is None else f", {100 * self.said_right:.0f} % said right"
        return f"{self.answered:,} of {self.asked:,} asked{said}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """
    What people, readers and viewers said about a part of the decisions.

    Attributes:
        answers: The number of people's answers, second opinions and corrections too. Near-duplicates that one answer settled count once.
        minutes: People's minutes for these answers, each of which counts the median time; None with too few times.
        reported: The number of events that readers reported.
        confirmed: The number of these events on which the answer that holds denies the tag that the person saw.
        viewers: What asked viewers said.
    """

    answers: int
    minutes: Amount | None
    reported: int
    confirmed: int
    viewers: ViewersAnswers = ViewersAnswers()
