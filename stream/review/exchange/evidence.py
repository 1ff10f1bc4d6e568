"""Turns answers into evidence for thresholds. Only events that were asked about by design count, each once and by its weight."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tagstream.model_export.calibrate.earned_thresholds import AnswerPrices, Evidence
from tagstream.monitoring.quality.costs import Costs
from tagstream.monitoring.vocabulary import OF_CONFIDENCE
from tagstream.stream.contract.answers import Answer, AnsweredEvent, order
from tagstream.stream.contract.published import PublishedDecision

# The doors whose answers are about drawn events. A reader's report is not drawn: it selects what looks wrong. An imported answer on an
# event that was not drawn has no inclusion probability, so it is left out.
DRAWN = frozenset({"review", "audit", "import"})
# Below this share of answered events the answers do not count: perhaps only easy events were answered. For fewer than `LEAST_ASKED` events
# the share does not count.
LEAST_ANSWERED, LEAST_ASKED = 0.5, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """
    The evidence, and the number of events that do not count.

    Attributes:
        evidence: One row for each event.
        left_out: The number of events that do not count, by reason. A reason continues a sentence that begins "N events".
    """

    evidence: Evidence
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """The prices, and the labels of the bundle that the prices are about."""

    costs: Costs
    labels: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    drawn: Answer
    last: Answer


def gather(
    answered: Iterable[AnsweredEvent],
    *,
    digests: Sequence[str],
    asked: Iterable[PublishedDecision] = (),
    priced: Priced | None = None,
) -> Gathered:
    """
    Return the evidence in answers.

    An event counts once: with the decision that it was asked about and with its newest answer, so that a second opinion or a
    correction replaces the first answer. A strip is the audits of a label, or a label's reviews within a tenth of confidence. Decisions
    in `asked` without an answer are represented by the answers of their strip, whose weight grows. If less than `LEAST_ANSWERED` of a
    strip is answered, the answers in this strip and in the label's less confident strips do not count, because reviewers do not
    answer the queue in random order.

    Args:
        answered: Records of `reviewed` in any order, repeated or not.
        digests: Digests of the bundles with comparable confidences: the same network and the same temperature.
        asked: Decisions on `review` and `audit`. If it is empty, every decision counts as answered.
        priced: What events cost; None for thresholds without prices.

    Raises:
        CostsError: A label, a confusion or an item has no price.
    """
    events, left_out = _events(answered), Counter[str]()
    kept: list[_Event] = []
    for event in events:
        why = _unfit(event, digests)
        if why is None:
            kept.append(event)
        else:
            left_out[why] += 1
    given = {event.drawn.event_id for event in kept}
    waiting: dict[str, Strip] = {}
    # One hash draws all copies of an event, so the greatest probability is the probability that any copy was drawn. The answer may be on
    # another copy.
    drawn_with: dict[str, float] = {}
    for one in asked:
        made = one.decision
        if one.event.id in given:
            greatest = max(drawn_with.get(made.prediction_id, 0.0), made.inclusion_probability or 0.0)
            drawn_with[made.prediction_id] = greatest
        elif _counts(one, digests):
            waiting[one.event.id] = _strip_of_decision(one)
    open_, closed = Counter(waiting.values()), Counter(_strip(event.drawn) for event in kept)
    starved = {
        strip
        for strip, count in open_.items()
        if count + closed[strip] >= LEAST_ASKED and closed[strip] < LEAST_ANSWERED * (count + closed[strip])
    }
    fit = [event for event in kept if not any(_is_below(_strip(event.drawn), strip) for strip in starved)]
    if len(fit) < len(kept):
        left_out["of a kind, or less sure than a kind, of which less than half is answered yet"] += len(kept) - len(fit)
    spoken = {strip: 1 + open_[strip] / count for strip, count in closed.items()}
    return Gathered(evidence=_evidence(fit, spoken, drawn_with, priced), left_out=dict(left_out))


# The predicted label, and the tenth of confidence. Audits have `AUDITS` instead: they come first in the queue, in drawn order.
Strip = tuple[str, int]
AUDITS = 10


def _events(answered: Iterable[AnsweredEvent]) -> list[_Event]:
    """Return each event with its first answer by a door of `DRAWN` (if it has none, its first answer) and with its newest answer."""
    found: dict[str, _Event] = {}
    for one in answered:
        answer, known = one.answer, found.get(one.answer.event_id)
        if known is None:
            found[answer.event_id] = _Event(drawn=answer, last=answer)
            continue
        first = min(known.drawn, answer, key=lambda each: (each.asked_by not in DRAWN, order(each)))
        found[answer.event_id] = _Event(drawn=first, last=max(known.last, answer, key=order))
    return list(found.values())


def _unfit(event: _Event, digests: Sequence[str]) -> str | None:
    answer, before = event.drawn, event.drawn.before
    if answer.asked_by not in DRAWN:
        return "that were chosen by a person and not drawn"
    if before.inclusion_probability is None:
        return "without the probability with which they were asked about"
    if before.decider != "model":
        return "that the rules decided, not the model"
    if before.model.digest not in digests:
        return "that another network decided"
    return None


def _counts(decision: PublishedDecision, digests: Sequence[str]) -> bool:
    made = decision.decision
    return made.decider == "model" and made.model.digest in digests


def _strip(answer: Answer) -> Strip:
    return answer.model_tag, _band(answer.before.confidence, reviewed=answer.before.destination == "review")


def _strip_of_decision(decision: PublishedDecision) -> Strip:
    return decision.decision.tag, _band(decision.decision.confidence, reviewed=decision.door == "review")


def _band(confidence: float, *, reviewed: bool) -> int:
    return min(int(confidence * 10), AUDITS - 1) if reviewed else AUDITS


def _is_below(strip: Strip, starved: Strip) -> bool:
    return strip[0] == starved[0] and strip[1] <= starved[1]


def _is_publishable(answer: Answer) -> bool:
    """True if only the model's confidence decided whether the event was published."""
    return set(answer.before.reasons) <= OF_CONFIDENCE


def _prices(events: Sequence[_Event], priced: Priced) -> AnswerPrices:
    # Whatever is no label is none of the labels.
    place = {label: number for number, label in enumerate(priced.labels)}
    said = [place[event.drawn.model_tag] for event in events]
    truth = [place.get(event.last.tag, len(place)) for event in events]
    item = priced.costs.of_item()
    mistakes = priced.costs.of_mistakes(priced.labels)[said, truth]
    return AnswerPrices(dearer=mistakes - item, item=item, currency=priced.costs.currency)


def _evidence(
    events: Sequence[_Event], spoken: Mapping[Strip, float], drawn_with: Mapping[str, float], priced: Priced | None
) -> Evidence:
    drawn = [event.drawn for event in events]
    weights = [
        spoken[_strip(one)] / max(one.before.inclusion_probability or 0.0, drawn_with.get(one.prediction_id, 0.0))
        for one in drawn
    ]
    return Evidence(
        said=np.array([one.model_tag for one in drawn], dtype=np.str_),
        confidence=np.array([one.before.confidence for one in drawn], dtype=np.float64),
        right=np.array([event.last.tag == event.drawn.model_tag for event in events], dtype=np.bool_),
        weight=np.array(weights, dtype=np.float64),
        publishable=np.array([_is_publishable(one) for one in drawn], dtype=np.bool_),
        count=np.ones(len(events), dtype=np.int64),
        prices=None if priced is None else _prices(events, priced),
    )
