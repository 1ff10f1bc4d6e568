"""From the store to estimates: who is counted, how answers settle, and what a window without answers says."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle, write
from tagstream.model_export.bundle.depot import Depot
from tagstream.monitoring.limits import LEAST_INCLUSION
from tagstream.monitoring.quality.feedback import ViewersAnswers
from tagstream.monitoring.quality.report import QualityReport
from tagstream.monitoring.quality.sample import NO_ANSWER
from tagstream.monitoring.quality.words import percent, tables
from tagstream.stream.contract.answers import AnsweredEvent
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.contract.published import Ask
from tagstream.stream.decide.pipeline import Draw
from tagstream.stream.review.bundles import Bundles
from tagstream.stream.review.live_quality import counts, live_quality
from tagstream.stream.review.store.records import AskedDecision, CountedDecision, Fact, TimedReport
from tagstream.stream.review.store.sampling import LeftOut
from tagstream.stream.review.store.store import Store
from tests.replacing import replace
from tests.unit.stream.review.store.making import (
    HOUR_MS,
    START_MS,
    answer,
    audit,
    decision_of,
    item,
    published,
    report,
    review,
    vote,
)

LABELS = ("mlops", "other", "computer-vision")
SURE = {"mlops": 0.97, "other": 0.02, "computer-vision": 0.01}
NOW_MS = START_MS + HOUR_MS


def audited(event_id: str, **given: Any) -> AskedDecision:
    """An audit, drawn at 2 %."""
    values = {"probabilities": SURE, "confidence": 0.97, "inclusion_probability": 0.02, **given}
    return audit(event_id, **values)


def said(asked: AskedDecision, tag: str, reviewer: str = "ann", at_ms: int = START_MS, **given: Any) -> AnsweredEvent:
    """An answer on it."""
    door = "audit" if asked.item.door == "audit" else "review"
    return answer(asked.item.event.id, at_ms, of=asked.item, tag=tag, reviewer=reviewer, **{"asked_by": door, **given})


def fill(store: Store, *changes: Fact) -> None:
    """Add facts to the store."""
    store.writer.fill(changes, {})


def kinds(store: Store) -> list[tuple[Any, ...]]:
    """Each kind of drawn decision: published, predicted, inclusion, first answer, settled one, and how many."""
    found = store.samples.drawn(START_MS - HOUR_MS, NOW_MS).sample
    names = ("published", "predicted", "inclusion", "first", "truth", "count")
    return sorted(zip(*(getattr(found, name).tolist() for name in names), strict=True))


def test_answers_settle_as_people_agree(store: Store) -> None:
    """An audit needs two that agree; on `review` the person decides; the numbers are those of the labels."""
    right, wrong, overturned, waits, unanswered = (audited(f"audit-{number}") for number in range(5))
    asked, off = review("asked"), review("off")
    fill(
        store,
        *(right, wrong, overturned, waits, unanswered, asked, off),
        said(right, "mlops"),
        said(wrong, "other"),
        said(wrong, "other", "bob", START_MS + 1, version=2),
        said(overturned, "other"),
        said(overturned, "mlops", "bob", START_MS + 1, version=2),
        said(waits, "other"),
        said(asked, "computer-vision"),
        said(off, "off_subject"),
    )
    assert store.samples.drawn(START_MS - HOUR_MS, NOW_MS).labels == LABELS
    assert kinds(store) == [
        (False, 0, 1.0, 2, 2, 1),
        (False, 0, 1.0, 3, 3, 1),
        (True, 0, 0.02, NO_ANSWER, NO_ANSWER, 1),
        (True, 0, 0.02, 0, 0, 1),
        (True, 0, 0.02, 1, NO_ANSWER, 1),
        (True, 0, 0.02, 1, 0, 1),
        (True, 0, 0.02, 1, 1, 1),
    ]


def test_questions_about_disagreements_do_not_bend_the_estimate(store: Store) -> None:
    """Half of the disagreements are asked about beside the audits of all: what the drawn decisions stand for is what was published, right and wrong."""
    audits, wrong = Draw(rate=0.1), 0
    facts: list[Fact] = []
    for number in range(1_000):
        event_id, disagrees = f"e-{number}", number % 5 == 0
        wrong += disagrees
        facts.append(published(event_id, number, probabilities=SURE, confidence=0.97))
        drawn = audits.inclusion_probability(event_id, "mlops"), audits.at_least(0.5).inclusion_probability(event_id, "mlops")
        copies = [audited(event_id, inclusion_probability=one) for one in (drawn[0], drawn[1] if disagrees else None) if one]
        facts += copies
        if copies:
            # The first person who is asked says that the model is wrong where the two models disagree.
            facts += [
                said(copies[0], "other" if disagrees else "mlops", reviewer, START_MS + later, version=1 + later)
                for later, reviewer in enumerate(("ann", "bob"))
            ]
    fill(store, *facts)
    sample = store.samples.drawn(START_MS - HOUR_MS, NOW_MS).sample
    assert sample.design.sum() == pytest.approx(1_000, rel=0.15)
    assert sample.design[sample.truth != sample.predicted].sum() == pytest.approx(wrong, rel=0.15)
    assert len(sample) > 150


def test_the_last_word_of_a_person_counts_and_an_unknown_label_does_not(store: Store) -> None:
    """An undo is not a second opinion; a label of another bundle is no opinion at all."""
    undone, foreign = audited("undone"), audited("foreign")
    fill(
        store,
        undone,
        foreign,
        said(undone, "other"),
        said(undone, "mlops", at_ms=START_MS + 1, version=2, asked_by="correction"),
        said(foreign, "a-label-of-old"),
    )
    assert kinds(store) == [(True, 0, 0.02, NO_ANSWER, NO_ANSWER, 1), (True, 0, 0.02, 0, 0, 1)]


def test_an_answer_counts_where_its_decision_was_read(store: Store) -> None:
    """Whatever an answer carries: without its decision from a topic it is no answer, and how many of these there are is said."""
    real, ghost = audited("real"), item("ghost", probabilities=SURE, tagged_ms=START_MS + 1, inclusion_probability=5e-324)
    forged = item("real", prediction_id="forged", probabilities={"pwned": 1.0}, tagged_ms=START_MS + 1)
    fill(
        store,
        answer("ghost", of=ghost, tag="other", asked_by="audit"),
        answer("real", of=forged, tag="other", asked_by="audit", reviewer="mallory"),
        real,
        said(real, "mlops", at_ms=START_MS + 2, version=2),
    )
    assert kinds(store) == [(True, 0, 0.02, 0, 0, 1)]
    assert store.samples.drawn(START_MS - HOUR_MS, NOW_MS).left_out == LeftOut(strays=2)
    assert decision_of(store, "real") == real.item.decision.prediction_id


def test_an_answer_may_be_about_an_earlier_decision_that_was_read(store: Store) -> None:
    """A newer bundle decided the event meanwhile: the person's word on the event still holds."""
    early = audited("a")
    fill(store, early, said(early, "other"), audited("a", prediction_id="newer", tagged_ms=START_MS + 1))
    assert kinds(store) == [(True, 0, 0.02, 1, NO_ANSWER, 1)]
    assert store.samples.drawn(START_MS - HOUR_MS, NOW_MS).left_out == LeftOut()


@pytest.mark.parametrize(
    "odd",
    [
        {"inclusion_probability": 5e-324},
        {"inclusion_probability": LEAST_INCLUSION / 2},
        {"tag": "pwned"},
        {"probabilities": {**SURE, "off_subject": 0.0}},
    ],
)
def test_decisions_that_no_worker_makes_are_left_out(store: Store, odd: dict[str, Any]) -> None:
    """A probability that no draw gives, or a tag that is none of the labels, is counted and not used."""
    strange = audited("odd", tagged_ms=START_MS + 1, **odd)
    fill(store, audited("a"), strange, said(strange, "mlops"))
    found = store.samples.drawn(START_MS - HOUR_MS, NOW_MS)
    assert (len(found.sample), found.labels) == (1, LABELS)
    assert found.left_out.unsound + found.left_out.other == 1
    assert live_quality(store, now_ms=NOW_MS, bundles=Bundles(DEFAULT_BUNDLE), days=1).report is not None


def test_one_decision_with_other_labels_leaves_nothing_out(store: Store) -> None:
    """The labels are those of most of the newest decisions, not those of the newest one."""
    fill(
        store,
        *(audited(f"audit-{number}") for number in range(40)),
        audited("newest", probabilities={"pwned": 0.97}, tag="pwned", tagged_ms=START_MS + 1),
    )
    found = store.samples.drawn(START_MS - HOUR_MS, NOW_MS)
    assert (found.labels, len(found.sample), found.left_out) == (LABELS, 40, LeftOut(other=1))


def test_totals_say_how_much_an_answer_stands_for(store: Store) -> None:
    """The decisions of the stream are counted, also those that nobody was shown; those of other bundles are not."""
    asked = audited("drawn")
    fill(
        store,
        asked,
        *(published(f"event-{number}", number, tag="mlops", probabilities=SURE) for number in range(7)),
        published("old", 8, model=ModelRef(name="older", version="1", digest="e" * 64), probabilities=SURE),
    )
    [counted] = counts(store.samples.totals(START_MS - HOUR_MS, NOW_MS), store.samples.drawn(START_MS - HOUR_MS, NOW_MS))
    found = counted.population
    assert found.decisions.tolist() == [[7.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert found.probabilities[0, 0].tolist() == pytest.approx([7 * SURE[label] for label in LABELS])


def test_slices_are_source_language_and_length(store: Store) -> None:
    """A source and a language are the event's own words; a text of six words is short."""
    long = "one two three four five six seven"
    fill(
        store,
        audited("french", source="feed", title="Un modèle", language="fr"),
        audited("plain", title=long),
        audited("other", title=long),
        review("not published", source="blog"),
    )
    found = store.samples.drawn(START_MS - HOUR_MS, NOW_MS).slices
    assert {name: {value: len(rows) for value, rows in values.items()} for name, values in found.items()} == {
        "source": {"(none)": 2, "feed": 1},
        "language": {"(none)": 2, "fr": 1},
        "length": {"longer text": 2, "short text": 1},
    }


def test_live_quality_measures_the_window(store: Store) -> None:
    """A hundred audits of which ninety agree and ten are twice contradicted are an accuracy of 90 %."""
    asked = [audited(f"audit-{number:03}") for number in range(100)]
    wrong = asked[:10]
    fill(
        store,
        *asked,
        *(said(one, "other" if one in wrong else "mlops") for one in asked),
        *(said(one, "other", "bob", START_MS + 1, version=2) for one in wrong),
    )
    found = live_quality(store, now_ms=NOW_MS, bundles=Bundles(DEFAULT_BUNDLE), days=1)
    assert isinstance(found.report, QualityReport)
    assert found.report.published.accuracy.value == pytest.approx(0.9)
    assert found.report.reviewers.second_opinions == 10
    assert found.labels == LABELS
    assert found.queue.answered == 100


def test_the_rules_and_bundles_with_other_labels_are_left_out(store: Store) -> None:
    """Their decisions say nothing of the model of today; how many they are is said."""
    fill(
        store,
        review("rules", decider="rules"),
        audited("old", probabilities={"a": 0.9, "b": 0.1}, tag="a", tagged_ms=START_MS - 1),
        audited("new", tagged_ms=START_MS + 1),
        audited("newer", tagged_ms=START_MS + 1),
    )
    found = live_quality(store, now_ms=NOW_MS, bundles=Bundles(DEFAULT_BUNDLE), days=1)
    assert found.left_out.other == 2
    assert found.report is not None
    assert found.report.published.drawn == 2


CHAMPION, CHALLENGER = "c" * 64, "e" * 64


def by(digest: str, epoch: str | None = None, arm: str | None = None, name: str = "tiny") -> ModelRef:
    """Who decided."""
    return ModelRef(name=name, version="1", digest=digest, epoch=epoch, arm=arm)


def of(model: ModelRef, kind: str, count: int, wrong: int = 0, at_ms: int = START_MS) -> list[Fact]:
    """Published decisions of a model, all audited and answered, of which the first ones are wrong; two people say so."""
    facts: list[Fact] = []
    for number in range(count):
        event_id = f"{kind}-{number}"
        asked = audited(event_id, model=model, tagged_ms=at_ms, inclusion_probability=1.0, prediction_id=f"of {event_id}")
        counted = published(event_id, number, model=model, tagged_ms=at_ms, probabilities=SURE, confidence=0.97)
        facts += [asked, counted, said(asked, "other" if number < wrong else "mlops")]
        if number < wrong:
            facts.append(said(asked, "other", "bob", START_MS + 1, version=2))
    return facts


def test_champion_and_challenger_are_measured_beside_each_other(store: Store) -> None:
    """In the epochs of the newest challenger alone; what the champion decided in its place is the champion's, and counted apart."""
    fill(
        store,
        *of(by(CHAMPION), "before", 60, wrong=30),
        *of(by(CHAMPION, "1", "champion"), "champion-1", 60, wrong=6),
        *of(by(CHALLENGER, "1", "challenger"), "challenger-1", 40, wrong=8),
        *of(by(CHAMPION, "2", "champion"), "champion-2", 40, wrong=4),
        *of(by(CHAMPION, "2", "fallback"), "fallback-2", 5),
        *of(by(CHALLENGER, "2", "challenger"), "challenger-2", 60, wrong=12),
        *of(by(CHAMPION, "3", "champion"), "after", 10, wrong=10),
    )
    report = live_quality(store, now_ms=NOW_MS, bundles=Bundles(DEFAULT_BUNDLE), days=1).report
    assert report is not None
    champion, challenger = report.arms
    assert (champion.name, champion.bundles, champion.epochs, champion.fallback) == ("champion", (CHAMPION,), (1, 2), 5)
    assert (challenger.name, challenger.bundles, challenger.fallback) == ("challenger", (CHALLENGER,), 0)
    assert [(one.published.decisions, one.published.answers) for one in report.arms] == [(105, 105), (100, 100)]
    assert champion.published.accuracy.value == pytest.approx(95 / 105)
    assert challenger.published.accuracy.value == pytest.approx(0.8)
    assert challenger.published.by_label["mlops"]["precision"].value == pytest.approx(0.8)
    assert [(one.bundles, one.published.decisions) for one in report.models] == [((CHAMPION,), 175), ((CHALLENGER,), 100)]


def test_bundles_that_differ_in_thresholds_are_one_model(store: Store, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Every night has another digest; another network is another model, also under the same name."""
    threshold = msgspec.structs.replace(tiny_bundle.manifest.threshold, confidence=0.99)
    night = write(
        tmp_path / "night",
        manifest=msgspec.structs.replace(tiny_bundle.manifest, threshold=threshold),
        model=tiny_bundle.model,
        tokenizer=tiny_bundle.tokenizer,
    )
    depot = Depot(str(tmp_path / "depot"), cache=tmp_path, cache_bytes=1, seconds=20)
    depot.write(night.path)
    fill(
        store,
        *of(by(tiny_bundle.digest), "first", 60, wrong=6),
        *of(by(night.digest, "1", "champion"), "night", 40, wrong=4, at_ms=START_MS + 1),
        *of(by(CHALLENGER), "another", 50, at_ms=START_MS - 1),
    )
    report = live_quality(store, now_ms=NOW_MS, bundles=Bundles(tiny_bundle.path, depot), days=1).report
    assert report is not None
    assert [(one.bundles, one.epochs, one.published.answers) for one in report.models] == [
        ((night.digest, tiny_bundle.digest), (0, 1), 100),
        ((CHALLENGER,), (0,), 50),
    ]
    assert report.models[0].published.accuracy.value == pytest.approx(0.9)
    assert report.arms == ()


def test_the_promise_is_that_of_the_bundle_that_decided(store: Store, tmp_path: Path) -> None:
    """After the first change of the model it lies in the place of the bundles, and no more in the setting."""
    depot = Depot(str(tmp_path), cache=tmp_path, cache_bytes=1, seconds=20)
    shipped = depot.write(DEFAULT_BUNDLE)
    fill(store, *of(by(shipped.digest, "4", "champion"), "a", 3))
    for bundles, promise in ((Bundles(tmp_path / "none", depot), 0.95), (Bundles(tmp_path / "none"), None)):
        report = live_quality(store, now_ms=NOW_MS, bundles=bundles, days=1).report
        assert report is not None
        assert report.promise == promise


def test_one_bundle_is_not_shown_twice(store: Store) -> None:
    """Without a change of the model the report is what it was; an arm that is none of ours is none."""
    fill(store, *of(by(CHAMPION, arm="winner"), "a", 3))
    report = live_quality(store, now_ms=NOW_MS, bundles=Bundles(DEFAULT_BUNDLE), days=1).report
    assert report is not None
    assert (report.models, report.arms) == ((), ())


def test_a_canary_of_all_events_leaves_no_champion(store: Store) -> None:
    """A share of 1: the champion has no decision, and no figure."""
    fill(store, *of(by(CHALLENGER, "1", "challenger"), "a", 60))
    report = live_quality(store, now_ms=NOW_MS, bundles=Bundles(DEFAULT_BUNDLE), days=1).report
    assert report is not None
    champion, challenger = report.arms
    assert (champion.published.decisions, champion.published.accuracy.value) == (0, None)
    assert (challenger.published.decisions, challenger.published.accuracy.value) == (60, 1)
    assert all(len(row) == 3 for table in tables(report)[2:4] for row in table.rows)


def canary(seed: int) -> list[Fact]:
    """A stream with two canaries of one challenger and a rollback: decisions of both doors, answers of two people, reports, and votes."""
    lot = random.Random(seed)  # noqa: S311
    arms = [by(CHAMPION), *(by(CHAMPION, "4", "champion") for _ in range(2))]
    for epoch in ("2", "3"):
        arms += [by(CHAMPION, epoch, "champion"), by(CHAMPION, epoch, "fallback"), by(CHALLENGER, epoch, "challenger")]
    facts: list[Fact] = []
    for number in range(150):
        event_id, model = f"e-{number}", lot.choice(arms)
        given: dict[str, Any] = {"model": model, "prediction_id": f"of {event_id}", "source": lot.choice(("web", None))}
        asked = lot.choice((audited, review))(event_id, **given)
        on_tagged = asked.item.door == "audit"
        decision = replace(asked.item.decision, ask=Ask(token="A" * 24)) if on_tagged else asked.item.decision
        facts += [asked, CountedDecision(item=replace(asked.item, decision=decision, door="tagged" if on_tagged else "review"))]
        # Votes on decisions that nobody was asked about, too: they count nowhere.
        facts += [
            vote(viewer, event_id, of=f"of {event_id}", answer=lot.choice(("yes", "no"))) for viewer in range(lot.randrange(3))
        ]
        for version, reviewer in enumerate(lot.choice(((), ("ann",), ("ann", "bob"))), 1):
            at_ms = START_MS + 7000 * number + version
            facts.append(said(asked, lot.choice(LABELS), reviewer, at_ms, version=version))
        facts += [report(event_id, reporter=one) for one in lot.choice(((), (), ("eve",), ("eve", "rob")))]
    lot.shuffle(facts)
    return facts


def viewers_said(facts: list[Fact], events: set[str]) -> ViewersAnswers:
    """What asked viewers said about these events, counted one fact after the other."""
    asked = {one.item.event.id for one in facts if isinstance(one, CountedDecision) and one.item.decision.ask} & events
    votes = [
        one.report for one in facts if isinstance(one, TimedReport) and one.report.is_vote and one.report.event_id in asked
    ]
    right = sum(one.answer == "yes" for one in votes)
    return ViewersAnswers(asked=len(asked), answered=len({one.event_id for one in votes}), votes=len(votes), right=right)


@pytest.mark.parametrize("seed", range(4))
def test_the_lines_of_a_canary_sum_to_all_that_was_said_in_its_epochs(store: Store, seed: int) -> None:
    """Decisions, answers, reports and viewers' votes, counted from the facts in any order; other epochs are in neither line."""
    facts = canary(seed)
    ids = {one.item.event.id: one.item.decision for one in facts if isinstance(one, AskedDecision)}
    its = {event_id for event_id, decision in ids.items() if decision.model.epoch in {"2", "3"}}
    given = [one.answer for one in facts if isinstance(one, AnsweredEvent) and one.answer.event_id in its]
    holds = {one.event_id: one for one in sorted(given, key=lambda one: one.version)}
    told = {one.report.event_id for one in facts if isinstance(one, TimedReport) and not one.report.is_vote} & its
    denied = {one for one in told if one in holds and holds[one].tag != holds[one].model_tag}
    fill(store, *facts)
    found = live_quality(store, now_ms=NOW_MS, bundles=Bundles(DEFAULT_BUNDLE), days=1)
    report = found.report
    assert report is not None
    assert sum((one.feedback.viewers for one in report.arms), ViewersAnswers()) == viewers_said(facts, its)
    assert report.arms[1].feedback.viewers == viewers_said(facts, {one for one in its if ids[one].model.arm == "challenger"})
    assert sum(found.viewers.values(), ViewersAnswers()) == viewers_said(facts, set(ids))
    lines = [
        (one.model.decisions, one.feedback.answers, one.feedback.reported, one.feedback.confirmed, sum(one.sources.values()))
        for one in report.arms
    ]
    assert [sum(column) for column in zip(*lines, strict=True)] == [len(its), len(given), len(told), len(denied), len(its)]
    audience = {event_id for event_id in its if ids[event_id].model.arm == "challenger"}
    assert lines[1][:3] == (len(audience), sum(one.event_id in audience for one in given), len(told & audience))
    minutes = [one.feedback.minutes for one in report.arms]
    assert minutes[0] is not None
    assert minutes[1] is not None
    assert minutes[0].value / lines[0][1] == pytest.approx(minutes[1].value / lines[1][1])


def test_an_audience_without_a_drawn_decision_has_its_line(store: Store) -> None:
    """Five events of one source, none of them drawn for people; readers reported one of them, and the missing answers are said."""
    kept = {"model": by(CHALLENGER, "2", "challenger", name="next"), "source": "newsroom", "probabilities": SURE}
    few = [published(f"few-{number}", number, **kept) for number in range(5)]
    told = AskedDecision(item=few[0].item)
    fill(store, *of(by(CHAMPION, "2", "champion"), "rest", 60), *few, told, report("few-0"))
    found = live_quality(store, now_ms=NOW_MS, bundles=Bundles(DEFAULT_BUNDLE), days=1).report
    assert found is not None
    champion, challenger = found.arms
    assert (challenger.model.decisions, champion.model.decisions, found.model.decisions) == (5, 60, 60)
    assert (challenger.feedback.answers, challenger.feedback.reported) == (0, 1)
    both = tables(found)[3]
    assert ("accuracy", percent(champion.model.accuracy), "too few: 50 more answers") in both.rows
    assert "5 of 65 decisions in these epochs, all from newsroom." in both.note


def test_an_empty_store_has_no_report(store: Store) -> None:
    """Before anything was drawn there is nothing to estimate, and the queue is empty."""
    found = live_quality(store, now_ms=NOW_MS, bundles=Bundles(DEFAULT_BUNDLE))
    assert (found.report, found.labels, found.queue.length) == (None, (), 0)
    assert found.since_ms % HOUR_MS == 0
