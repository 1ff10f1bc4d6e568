"""What an endpoint's answer says. Pure and total: any bytes are a label, or a reason for none."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec

from tagstream.model_export.bundle.json_object import object_of
from tagstream.model_export.bundle.limits import MAX_NAME_CHARACTERS
from tagstream.monitoring.vocabulary import NoOpinion
from tagstream.stream.second.prompt import UNSURE

MOST_TOKENS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The tokens of one request, by the endpoint's own account."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """
    The content of an answer.

    Attributes:
        label: The label; None with a reason.
        reason: Why there is no label.
        score: How sure the model says it is, 0 to 1; None if it does not say.
        model: The model that answered; None if the answer does not say.
        fingerprint: The answer's `system_fingerprint`; None if it has none.
        use: The tokens; None if the answer does not say.
    """

    label: str | None = None
    reason: NoOpinion | None = None
    score: float | None = None
    model: str | None = None
    fingerprint: str | None = None
    use: Use | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str | None = None
    system_fingerprint: str | None = None
    usage: Any = None


def said(body: bytes, labels: Collection[str], mark: str) -> Said:
    """
    The content of a chat completion.

    Args:
        body: The answer's body.
        labels: The labels that may be given.
        mark: The mark of the item.
    """
    try:
        found = msgspec.json.decode(body, type=_Completion)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Said(reason=NoOpinion.UNREADABLE)
    answer = _answer(found.choices, labels, mark)
    label, score, reason = (None, None, answer) if isinstance(answer, NoOpinion) else (*answer, None)
    return Said(
        label=label,
        reason=reason,
        score=score,
        model=_name(found.model),
        fingerprint=_name(found.system_fingerprint),
        use=_use(found.usage),
    )


def _answer(choices: list[_Choice], labels: Collection[str], mark: str) -> tuple[str, float | None] | NoOpinion:
    content = _content(choices)
    if isinstance(content, NoOpinion):
        return content
    given = _given(content, mark)
    return given if isinstance(given, NoOpinion) else _label(*given, labels)


def _content(choices: list[_Choice]) -> str | NoOpinion:
    """The text of the one answer that was asked for."""
    if len(choices) != 1:
        return NoOpinion.UNREADABLE
    [choice] = choices
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return NoOpinion.REFUSED
    if choice.finish_reason == "length":
        return NoOpinion.TOO_LARGE
    return NoOpinion.UNREADABLE if choice.message.content is None else choice.message.content.strip()


def _given(content: str, mark: str) -> tuple[Any, Any] | NoOpinion:
    """Label and score in a text: in the JSON object that was asked for, or the label alone, as endpoints without schemas may answer."""
    if not content.startswith("{"):
        return content, None
    try:
        given = object_of(content.encode())
    except ValueError:
        return NoOpinion.UNREADABLE
    return (given.get("label"), given.get("score")) if given.get("item", mark) == mark else NoOpinion.REFUSED


def _label(label: Any, score: Any, labels: Collection[str]) -> tuple[str, float | None] | NoOpinion:
    """Label and score, if the label is one of the labels and the score is a probability."""
    label = label.strip() if isinstance(label, str) else None
    if label == UNSURE:
        return NoOpinion.UNSURE
    if label not in labels:
        return NoOpinion.NOT_A_LABEL
    if score is None:
        return label, None
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        return NoOpinion.UNREADABLE
    return label, float(score)


def _name(text: str | None) -> str | None:
    """A name of the endpoint, as much of it as a record may have."""
    return text[:MAX_NAME_CHARACTERS] if text else None


def _use(given: Any) -> Use | None:
    try:
        found = msgspec.convert(given, _Usage)
    except msgspec.ValidationError:
        return None
    if not (0 <= found.prompt_tokens <= MOST_TOKENS and 0 <= found.completion_tokens <= MOST_TOKENS):
        return None
    return Use(input_tokens=found.prompt_tokens, output_tokens=found.completion_tokens)
