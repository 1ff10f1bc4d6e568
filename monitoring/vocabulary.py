"""The closed lists that metrics, logs, headers and topics share. Their values are part of the outside contract."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

# A reviewer's tag of an event that fits no label. Only a person gives it, so no bundle may have a label of this name.
OFF_SUBJECT = "off_subject"


class Destination(StrEnum):
    """The three kinds of outcome. Every event gets exactly one."""

    TAGGED = "tagged"
    REVIEW = "review"
    DLQ = "dlq"


class ShadowFailure(StrEnum):
    """Why a challenger did not decide an event in shadow."""

    RAISED = "raised"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"


class Stage(StrEnum):
    """The step at which an event failed."""

    DECODE = "decode"
    VALIDATE = "validate"
    INFER = "infer"
    PRODUCE = "produce"


class Reason(StrEnum):
    """Why an event was dead-lettered: the closed list of `x-dlq-code`."""

    UNREADABLE_BATCH = "unreadable_batch"
    TOMBSTONE = "tombstone"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    DUPLICATE_KEY = "duplicate_key"
    NON_FINITE_NUMBER = "non_finite_number"
    NUMBER_TOO_LONG = "number_too_long"
    TOO_DEEP = "too_deep"
    NUL_CHARACTER = "nul_character"
    LONE_SURROGATE = "lone_surrogate"
    INVALID_FRAME = "invalid_frame"
    UNKNOWN_SCHEMA = "unknown_schema"
    UNSUPPORTED_SCHEMA = "unsupported_schema"
    INVALID_AVRO = "invalid_avro"
    INVALID_CLOUDEVENT = "invalid_cloudevent"
    MISSING_TITLE = "missing_title"
    WRONG_TYPE = "wrong_type"
    INVALID_ID = "invalid_id"
    OUTCOME_TOO_LARGE = "outcome_too_large"
    MODEL_RAISED = "model_raised"
    CRASHES_WORKER = "crashes_worker"
    INVALID_ANSWER = "invalid_answer"
    UNKNOWN_LABEL = "unknown_label"
    UNKNOWN_DECISION = "unknown_decision"
    UNSIGNED_ANSWER = "unsigned_answer"


class AtFault(StrEnum):
    """The part that is at fault if an event becomes a dead letter."""

    BYTES = "bytes"
    FRAME = "frame"
    EVENT = "event"
    SIZE = "size"
    MODEL = "model"
    ANSWER = "answer"


def at_fault(reason: Reason) -> AtFault:
    """
    The part that is at fault. Each reason must be named here: mypy reports a missing one.

    >>> at_fault(Reason.INVALID_AVRO), at_fault(Reason.CRASHES_WORKER)
    (<AtFault.FRAME: 'frame'>, <AtFault.MODEL: 'model'>)
    """
    match reason:
        case Reason.INVALID_FRAME | Reason.UNKNOWN_SCHEMA | Reason.UNSUPPORTED_SCHEMA | Reason.INVALID_AVRO:
            return AtFault.FRAME
        case Reason.MODEL_RAISED | Reason.CRASHES_WORKER:
            return AtFault.MODEL
        case Reason.INVALID_ANSWER | Reason.UNKNOWN_LABEL | Reason.UNKNOWN_DECISION | Reason.UNSIGNED_ANSWER:
            return AtFault.ANSWER
        case Reason.TOO_LARGE | Reason.OUTCOME_TOO_LARGE:
            return AtFault.SIZE
        case Reason.INVALID_CLOUDEVENT | Reason.MISSING_TITLE | Reason.WRONG_TYPE | Reason.INVALID_ID:
            return AtFault.EVENT
        case (
            Reason.UNREADABLE_BATCH
            | Reason.TOMBSTONE
            | Reason.EMPTY
            | Reason.INVALID_UTF8
            | Reason.INVALID_JSON
            | Reason.NOT_AN_OBJECT
            | Reason.DUPLICATE_KEY
            | Reason.NON_FINITE_NUMBER
            | Reason.NUMBER_TOO_LONG
            | Reason.TOO_DEEP
            | Reason.NUL_CHARACTER
            | Reason.LONE_SURROGATE
        ):
            return AtFault.BYTES
        case _:
            assert_never(reason)


class ReviewReason(StrEnum):
    """Why a person is asked: the closed list of `reasons` on the topic `review`."""

    LOW_CONFIDENCE = "low_confidence"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    USER_REPORT = "user_report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """
    The meaning of a reason to ask a person.

    Attributes:
        name: Two words for a heading.
        sentence: The reason for people.
        of_confidence: True if only the threshold gives this reason, so that another threshold, or the person's answer, decides what the
            stream may publish. Estimates, evidence for thresholds and shares of labels count only decisions that have no other reasons.
    """

    name: str
    sentence: str
    of_confidence: bool = False


def meaning_of(reason: ReviewReason) -> Meaning:
    """
    The meaning of a reason. Each reason must be named here: mypy reports a missing one. Every other place reads the meaning from here.

    >>> meaning_of(ReviewReason.LOW_CONFIDENCE).of_confidence, meaning_of(ReviewReason.OUT_OF_DISTRIBUTION).of_confidence
    (True, False)
    """
    match reason:
        case ReviewReason.LOW_CONFIDENCE:
            sentence = "The model is not sure enough to publish its tag alone."
            return Meaning(name="Not sure", sentence=sentence, of_confidence=True)
        case ReviewReason.OUT_OF_DISTRIBUTION:
            return Meaning(name="Unfamiliar", sentence="The text is unlike what the model learned from.")
        case ReviewReason.USER_REPORT:
            return Meaning(name="Reported", sentence="A reader says that the published tag is wrong.")
        case _:
            assert_never(reason)


OF_CONFIDENCE = frozenset(reason for reason in ReviewReason if meaning_of(reason).of_confidence)


class TextFlag(StrEnum):
    """Characters that a reader does not see, or sees as other characters: the closed list of `text_flags` on the topic `review`."""

    CONTROL_CHARACTERS = "control_characters"
    INVISIBLE_CHARACTERS = "invisible_characters"
    BIDIRECTIONAL_CONTROLS = "bidirectional_controls"
    MIXED_SCRIPTS = "mixed_scripts"
    EXCESSIVE_COMBINING_MARKS = "excessive_combining_marks"


class SourceKind(StrEnum):
    """A producer as the metrics name it: known or unknown to the settings, or missing. Names of producers would leave the label set open."""

    KNOWN = "known"
    UNSEEN = "unseen"
    MISSING = "missing"


class DriftScore(StrEnum):
    """The comparisons of a window with the reference."""

    WORDS = "words"
    LABELS = "labels"
    SOURCES = "sources"


def score_in_words(score: DriftScore) -> str:
    """The name of a comparison's score in words, without a unit."""
    match score:
        case DriftScore.WORDS:
            return "the largest likelihood-ratio z of a word"
        case DriftScore.LABELS:
            return "the population stability index"
        case DriftScore.SOURCES:
            return "the share of events from new producers beyond chance"
        case _:
            assert_never(score)


class DriftKind(StrEnum):
    """The kinds of drift finding: a sudden change, or a window that is unlike the reference."""

    CHANGE = "change"
    WORDS = "words"
    LABELS = "labels"
    SOURCES = "sources"


class Arm(StrEnum):
    """The model of an epoch that decided an event: the champion, the challenger, or the champion because the challenger failed."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    FALLBACK = "fallback"


class PlanState(StrEnum):
    """A worker's state before a planned epoch."""

    LOADING = "loading"
    READY = "ready"
    REFUSED = "refused"


class SpanResult(StrEnum):
    """The end of a span: the receiver accepted it, the receiver did not, or there was no room for it."""

    EXPORTED = "exported"
    FAILED = "failed"
    DROPPED = "dropped"


class HttpFace(StrEnum):
    """The faces of `tagstream serve`."""

    CLASSIFY = "classify"
    FEEDBACK = "feedback"


def few(names: Sequence[str], most: int = 10) -> str:
    """
    Names for a sentence: the first `most` names, and the number of the others.

    >>> few(["access", "billing", "bug"], 2), few(["access", "billing"], 2)
    ('access, billing and 1 more', 'access, billing')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
