"""The closed lists that metrics, logs, headers and topics share. Their values are part of the outside contract."""

from collections.abc import Sequence
from enum import StrEnum

# Longer names of producers are cut to this length before they are compared.
MAX_SOURCE_CHARACTERS = 100
# The most labels that a bundle or a file of rules has, and the longest of their names. Whoever reads a decision or an answer of others
# takes no more, since the memory of the console, its estimates and its pages grow with them.
MAX_LABELS, MAX_NAME_CHARACTERS = 1_000, 256
# A reviewer's tag of an event that is about none of the labels. Only a person gives it, so no bundle may have a label of this name.
OFF_SUBJECT = "off_subject"
# The smallest probability with which a decision is drawn for people: no answer stands for more decisions than one over it.
LEAST_INCLUSION = 1e-6


class Destination(StrEnum):
    """The three kinds of outcome. Every event gets exactly one."""

    TAGGED = "tagged"
    REVIEW = "review"
    DLQ = "dlq"


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


class ReviewReason(StrEnum):
    """Why a person is asked: the closed list of `reasons` on the topic `review`."""

    LOW_CONFIDENCE = "low_confidence"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    AUDIT_SAMPLE = "audit_sample"
    USER_REPORT = "user_report"
    MODEL_DISAGREEMENT = "model_disagreement"


class TextFlag(StrEnum):
    """Characters that a reader does not see, or not as they are: the closed list of `text_flags` on the topic `review`."""

    CONTROL_CHARACTERS = "control_characters"
    INVISIBLE_CHARACTERS = "invisible_characters"
    BIDIRECTIONAL_CONTROLS = "bidirectional_controls"
    MIXED_SCRIPTS = "mixed_scripts"
    EXCESSIVE_COMBINING_MARKS = "excessive_combining_marks"


class SourceKind(StrEnum):
    """Whether the settings name a producer. The metrics say no more of it, so that their label set stays closed."""

    KNOWN = "known"
    UNSEEN = "unseen"
    MISSING = "missing"


class DriftSignal(StrEnum):
    """The numbers that a worker watches for sudden changes."""

    CONFIDENCE = "confidence"
    ENERGY = "energy"
    TOKENS_PER_WORD = "tokens_per_word"
    DESCRIBED = "described"


class DriftScore(StrEnum):
    """The comparisons of a window with the reference."""

    WORDS = "words"
    LABELS = "labels"
    SOURCES = "sources"


class DriftKind(StrEnum):
    """The kinds of drift finding: a sudden change, or a window that is unlike the reference."""

    CHANGE = "change"
    WORDS = "words"
    LABELS = "labels"
    SOURCES = "sources"


class SpanResult(StrEnum):
    """The end of a span: the receiver took it, it did not, or there was no room for it."""

    EXPORTED = "exported"
    FAILED = "failed"
    DROPPED = "dropped"


class HttpDoor(StrEnum):
    """The two faces of `tagstream serve`."""

    CLASSIFY = "classify"
    INFER = "infer"


def few(names: Sequence[str], most: int = 10) -> str:
    """
    Names for a sentence, however many there are.

    >>> few(["access", "billing", "bug"], 2), few(["access", "billing"], 2)
    ('access, billing and 1 more', 'access, billing')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
