"""What people said about each arm of a canary: the verdict says it from the topics as the console says it from its store."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.monitoring.quality.amounts import Amount
from tagstream.monitoring.quality.feedback import Feedback, ViewersAnswers
from tagstream.monitoring.vocabulary import Arm
from tagstream.stream.cli.show import rollout as shown
from tagstream.stream.contract.answers import AnsweredEvent
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.contract.published import Ask, ModelDecision
from tagstream.stream.review.bundles import Bundles
from tagstream.stream.review.live_quality import live_quality
from tagstream.stream.review.store.records import AskedDecision, CountedDecision, Fact, TimedReport
from tagstream.stream.review.store.store import open_store
from tagstream.stream.rollout.audience import ArmLine, Audience
from tagstream.stream.rollout.verdict import judge
from tagstream.stream.rollout.watch import Judged
from tagstream.stream.settings.settings import Settings
from tests.replacing import replace
from tests.unit.stream.review.store.making import HOUR_MS, SECOND_MS, START_MS, answer, report, review, vote
from tests.unit.stream.rollout.observed import evidence
from tests.unit.stream.rollout.test_epochs import A, B, change, folded, start

DIGESTS = {Arm.CHAMPION: "c" * 64, Arm.FALLBACK: "c" * 64, Arm.CHALLENGER: "e" * 64}
# From near-duplicates, which one answer settles, to a pause after which the time of an answer is not known.
PAUSES_MS = (400, 3 * SECOND_MS, 9 * SECOND_MS, 40 * SECOND_MS, 11 * 60 * SECOND_MS)


def told(seed: int) -> list[Fact]:
    """An epoch of a canary and one before it: decisions, answers, imports and corrections of two people, reports, and votes."""
    lot, of_viewers = random.Random(seed), random.Random(-seed - 1)  # noqa: S311
    facts: list[Fact] = []
    at_ms = START_MS - 3 * HOUR_MS
    for number in range(120):
        event_id, arm, epoch = f"e-{number}", lot.choice(list(Arm)), lot.choice(("1", "2", "2"))
        model = ModelRef(name="tiny", version="1", digest=DIGESTS[arm], epoch=epoch, arm=arm if epoch == "2" else Arm.CHAMPION)
        asked = review(event_id, model=model, prediction_id=f"of {event_id}", tagged_ms=START_MS - 4 * HOUR_MS)
        token = of_viewers.choice((None, Ask(token="A" * 24)))
        facts += [asked, CountedDecision(item=replace(asked.item, decision=replace(asked.item.decision, ask=token)))]
        for version in range(1, lot.choice((1, 2, 3))):
            at_ms += lot.choice(PAUSES_MS)
            given = {"tag": lot.choice(("mlops", "other")), "reviewer": lot.choice(("ann", "bob")), "version": version}
            way = lot.choice(("review", "correction", "import"))
            facts.append(answer(event_id, at_ms, of=asked.item, asked_by=way, **given))
        facts += [report(one, reporter="eve") for one in lot.choice(((), (event_id,), ("unknown",)))]
        # Viewers change their minds, at other moments or at the same one.
        facts += [
            vote(
                of_viewers.randrange(3),
                event_id,
                START_MS + of_viewers.randrange(2),
                of=f"of {event_id}",
                answer=of_viewers.choice(("yes", "no")),
            )
            for _ in range(of_viewers.choice((0, 0, 4)))
        ]
    lot.shuffle(facts)
    return facts


@pytest.mark.parametrize("seed", range(4))
def test_the_verdict_and_the_console_say_the_same_of_each_arm(tmp_path: Path, seed: int) -> None:
    """Answers, minutes with their interval, reports, and viewers' votes, in any order; what comes again counts once."""
    facts = told(seed)
    decided: dict[str, ModelDecision] = {
        one.item.event.id: one.item.decision for one in facts if isinstance(one, AskedDecision)
    }
    arms = {event_id: Arm(one.model.arm or "") for event_id, one in decided.items() if one.model.epoch == "2"}
    audience = Audience()
    for fact in [*facts, *reversed(facts)]:
        if isinstance(fact, AnsweredEvent):
            audience.answered(fact.answer)
        elif isinstance(fact, TimedReport) and fact.report.is_vote:
            audience.voted(fact.report, fact.reported_ms)
        elif isinstance(fact, TimedReport):
            audience.reported(fact.report.event_id)
        elif isinstance(fact, CountedDecision) and fact.item.decision.ask and fact.item.event.id in arms:
            audience.asked(fact.item.decision.prediction_id, arms[fact.item.event.id])
    lines = audience.lines(Counter(arms.values()), arms.get)
    with open_store(f"sqlite:///{tmp_path}/store.db", clock=lambda: START_MS, second_opinion_rate=0.0) as store:
        store.writer.fill(facts, {})
        found = live_quality(store, now_ms=START_MS + 48 * HOUR_MS, bundles=Bundles(DEFAULT_BUNDLE), days=3).report
    assert found is not None
    assert [(one.name, one.events, one.feedback) for one in lines] == [
        (one.name, one.model.decisions, one.feedback) for one in found.arms
    ]
    assert all(one.feedback.answers and one.feedback.reported > one.feedback.confirmed > 0 for one in lines)
    viewers = [one.feedback.viewers for one in lines]
    assert all(one.asked > one.answered > 0 < one.right < one.votes > one.answered for one in viewers)


def test_a_canary_without_an_answer_has_its_lines() -> None:
    """Nothing is known of the minutes then."""
    champion, challenger = Audience().lines({Arm.CHAMPION: 1, Arm.FALLBACK: 1}, {}.get)
    nothing = Feedback(answers=0, minutes=None, reported=0, confirmed=0)
    assert champion == ArmLine(name="champion", events=2, feedback=nothing)
    assert challenger == ArmLine(name="challenger", events=0, feedback=nothing)


def test_status_prints_the_lines_and_judges_nothing_by_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the gates, one for each arm, and in the JSON beside them."""
    viewers = ViewersAnswers(asked=9, answered=4, votes=6, right=3)
    said = Feedback(answers=5, minutes=Amount(value=2.4, low=2, high=3), reported=3, confirmed=1, viewers=viewers)
    lines = (
        ArmLine(name="champion", events=1, feedback=Feedback(answers=1, minutes=None, reported=0, confirmed=0)),
        ArmLine(name="challenger", events=20, feedback=said),
    )
    models = folded(start(A, B), *change(1, {A: 5, B: 9})).models(1)
    judged = Judged(models=models, verdict=judge(evidence(), days=1), last=None, unread=0, unseen=(), lines=lines)
    shown.verdict(Settings(), judged, as_json=False)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "  champion (not judged): 1 event, 1 answer (minutes not known), 0 reported by readers, 0 of these found wrong by a person",
        (
            "  challenger (not judged): 20 events, 5 answers (2 minutes), 3 reported by readers, 1 of these found wrong by a person, "
            "viewers answered 4 of 9 asked, 50 % said right"
        ),
    ]
    shown.verdict(Settings(), judged, as_json=True)
    read = json.loads(capsys.readouterr().out)
    assert read["arms"][1] == {
        "name": "challenger",
        "events": 20,
        "answers": 5,
        "minutes": {"value": 2.4, "low": 2, "high": 3},
        "reported": 3,
        "confirmed": 1,
        "viewers": {"asked": 9, "answered": 4, "votes": 6, "right": 3},
    }
    assert len(read["gates"]) == len(judged.verdict.gates)
