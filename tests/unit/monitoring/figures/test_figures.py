"""Figures of the page and the terminal, and the alarms on them."""

import re
from datetime import UTC, datetime

import msgspec
import pytest

from tagstream.monitoring import limits
from tagstream.monitoring.alarms import Alarm, Tier, alarms
from tagstream.monitoring.comparison import psi
from tagstream.monitoring.drift import baseline
from tagstream.monitoring.figures.compute import figures, trouble_of
from tagstream.monitoring.figures.figures import Figures, LogPosition, Trouble
from tagstream.monitoring.figures.history import History
from tagstream.monitoring.figures.limited import HELD
from tagstream.monitoring.figures.scrape import of_families
from tagstream.monitoring.figures.snapshot import parse
from tagstream.monitoring.health import STARTING, STOPPING, Progress
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.screen import screen
from tagstream.monitoring.vocabulary import Arm, Destination, DriftScore, PlanState, ReviewReason
from tests.fakes import Clock
from tests.observations import DIGEST, LABELS, THRESHOLD, Stream, reference
from tests.replacing import replace


def seen(*streams: Stream, troubles: tuple[Trouble, ...] = ()) -> Figures:
    """The figures of these workers since their start."""
    workers = {str(number): of_families(one.registry.collect(), at=one.now) for number, one in enumerate(streams)}
    return figures(History().see(workers), troubles)


def ran(seconds: float = 100, *, drift: float = 0.0, dead: float = 0.004, digest: str = DIGEST) -> Stream:
    """A worker after so many seconds."""
    stream = Stream(digest=digest)
    stream.run(seconds, drift=drift, dead=dead)
    return stream


def names(found: list[Alarm]) -> set[str]:
    """The alarms' names."""
    return {alarm.name for alarm in found}


def value(found: Figures, name: str) -> float | None:
    """One distance or share."""
    return next(measure.value for measure in (*found.distances, *found.shares) if measure.name == name)


def test_the_figures_are_those_of_the_events() -> None:
    """The figures equal the counts of the published events."""
    found = seen(ran())
    assert found.totals.received == 2000
    assert found.totals.tagged + found.totals.review + found.totals.dlq == 2000
    assert found.window.decisions == found.totals.tagged + found.totals.review
    assert found.window.events == 2000
    assert [label.label for label in found.labels] == sorted(LABELS)
    assert sum(label.share or 0 for label in found.labels) == pytest.approx(1)
    assert sum(label.reference or 0 for label in found.labels) == pytest.approx(1)
    assert found.confidence.thresholds == dict.fromkeys(LABELS, THRESHOLD)
    assert sum(bar.share or 0 for bar in found.confidence.bars) == pytest.approx(1)
    assert sum(bar.reference or 0 for bar in found.confidence.bars) == pytest.approx(1)
    assert sum(found.dead_letters.values()) == found.totals.dlq
    assert [model.digest for model in found.models] == [DIGEST]


def test_one_worker_and_four_give_the_same_figures() -> None:
    """Figures are pooled over workers, so the same events give the same figures on one worker and on four."""
    streams = [Stream(seed=seed) for seed in range(4)]
    for stream in streams:
        stream.run(50, drift=0.5)
    together = seen(*streams)
    shares = {label.label: label.share or 0.0 for label in together.labels}
    assert together.workers == 4
    assert together.window.decisions == sum(seen(stream).window.decisions for stream in streams)
    assert value(together, "labels") == pytest.approx(psi(shares, {one.label: one.reference or 0.0 for one in together.labels}))
    four_times_the_same = seen(streams[0], streams[0], streams[0], streams[0])
    assert four_times_the_same.distances == seen(streams[0]).distances


def test_a_worker_of_an_older_version_has_dashes_and_no_alarm() -> None:
    """A figure without its metric is None and raises no alarm."""
    text = "# TYPE tagstream_events_received_total counter\ntagstream_events_received_total 3\n"
    found = figures(History().see({"old": parse(text, at=9.0)}))
    assert all(measure.value is None for measure in (*found.distances, *found.shares))
    assert found.labels == ()
    assert found.confidence.mean is None
    assert found.position == LogPosition(lag=None, inflight=None, partitions=None, oldest_seconds=None)
    assert alarms(found) == []


def test_a_worker_without_events_has_no_figures_and_no_alarm() -> None:
    """Without events the shares are None, and no alarm is raised."""
    found = seen(Stream())
    assert found.window.decisions == 0
    assert all(measure.value is None for measure in (*found.distances, *found.shares))
    assert {label.label for label in found.labels} == set(LABELS)
    assert all(label.share is None and label.reference is not None for label in found.labels)
    assert alarms(found) == []


def test_figures_and_alarms_are_json() -> None:
    """Figures and alarms encode to JSON without infinity or NaN."""
    for stream in (Stream(), ran(drift=1.0)):
        found = seen(stream)
        data = msgspec.json.encode({"figures": found, "alarms": alarms(found)})
        assert b"Infinity" not in data
        assert b"NaN" not in data
        assert msgspec.json.decode(data)["figures"]["window"]["decisions"] == found.window.decisions


def test_a_stream_like_its_reference_raises_no_alarm() -> None:
    """A stream that is like the reference raises no alarm."""
    assert alarms(seen(ran(500))) == []


def test_a_drifted_stream_says_what_moved() -> None:
    """One cause moves many figures; it is one sentence with a time and a next step, and names the alerts that see it too."""
    stream = ran(drift=1.0)
    stream.metrics.drift_change("tokens_per_word", stream.now - 300)
    (found,) = alarms(seen(stream))
    at = datetime.fromtimestamp(stream.now - 300, UTC)
    assert re.fullmatch(
        rf"The language or the format of the texts has changed: at least \d\d% of them are others, by their tokens per word, since {at:%H:%M} UTC\.",
        found.what,
    )
    assert found.name == "TokensPerWordDrift"
    assert set(found.also) == {
        "PredictionDrift",
        "ConfidenceDrift",
        "EnergyDrift",
        "OutOfDistributionShare",
        "WithoutDescriptionShare",
        "UnseenSourceShare",
        "SuddenChange",
    }
    assert (found.tier, bool(found.next)) == (Tier.TICKET, True)


def test_a_share_of_review_that_rises_below_the_budget_is_an_alarm() -> None:
    """Fifteen points above the reference are news, although the budget of 80 % has room for them."""
    stream = Stream()
    stream.run(100)
    (usual,) = [share for share in seen(stream).shares if share.name == "review"]
    assert usual.value is not None
    for more, expected in ((0.12, set()), (0.18, {"ReviewShareRise"})):
        stream.metrics.drift_reference({**reference(), "review_ratio": usual.value - more})
        assert names(alarms(seen(stream))) == expected


def test_while_the_group_learns_no_drift_is_an_alarm_and_then_the_stream_is_compared_with_itself() -> None:
    """A stream unlike the bundle's is ordinary once it is learned; that it differs from the bundle is a note."""
    stream = Stream()
    stream.metrics.drift_reference({})
    stream.metrics.drift_learned(0.4)
    stream.run(100, drift=1.0)
    learning = seen(stream)
    assert learning.detectors.learned == 0.4
    # Sources are compared with a list, not with a reference.
    assert names(alarms(learning)) == {"UnseenSourceShare"}
    own = baseline.of(stream.published).reference
    stream.metrics.drift_reference(own)
    stream.metrics.drift_learned(1.0)
    found = alarms(seen(stream))
    assert names(found) == {"UnseenSourceShare", "StreamUnlikeBundle"}
    assert found[-1].tier is Tier.INFO


def test_the_next_step_of_drift_promises_no_finding_before_the_first_comparison() -> None:
    """Before the first full window no finding names words, so the next step of drift says so and shows the events."""
    stream = ran(drift=1.0)
    stream.metrics.drift_plan(5000, {})
    (early,) = {alarm.next for alarm in alarms(seen(stream))}
    assert early.startswith("tagstream tail content ")
    assert "no window of 5000 decisions has been compared" in early
    stream.metrics.drift_evaluated(5000, {}, stream.now)
    (later,) = {alarm.next for alarm in alarms(seen(stream))}
    assert later.startswith("tagstream tail drift --from-beginning ")
    assert "if the worker has a reference for them" in later


def test_drift_is_not_judged_on_few_decisions() -> None:
    """With few decisions no drift alarm is raised, because distances are mostly chance."""
    assert alarms(seen(ran(20, drift=1.0))) == []


def test_dead_letters_are_an_alarm_from_ten_on() -> None:
    """Fewer than ten dead letters raise no alarm, whatever their share."""
    assert "DeadLetterRatio" not in names(alarms(seen(ran(10, dead=0.03))))
    (alarm,) = (alarm for alarm in alarms(seen(ran(100, dead=0.1))) if alarm.name == "DeadLetterRatio")
    assert alarm.tier is Tier.PAGE
    assert re.search(r"(10|9)\.\d%.*(invalid_json|missing_title)", alarm.what)


def test_events_that_arrive_after_a_long_pause_are_no_alarm() -> None:
    """Events that wait are no alarm by themselves, however long ago the last outcome was: the worker's readiness judges a stall."""
    stream = ran()
    stream.now += 3600
    stream.metrics.position(partitions=4, lag=70, inflight=0, last_commit=None)
    found = seen(stream)
    assert found.position.lag == 70
    assert alarms(found) == []


@pytest.mark.parametrize("why", [STARTING, STOPPING])
def test_a_worker_that_starts_or_stops_is_no_alarm(why: str) -> None:
    """A worker that waits for its partitions or stops is not ready, and no alarm calls it stalled."""
    stream = ran()
    trouble = trouble_of("w1", of_families(stream.registry.collect(), at=stream.now), ready=False, why=why)
    assert trouble is not None
    assert trouble.no_fault
    assert alarms(seen(stream, troubles=(trouble,))) == []


@pytest.mark.parametrize(("late", "figure"), [(0, (pytest.approx(0.4975), False)), (50, (60.0, True)), (100, (60.0, True))])
def test_a_quantile_in_a_wide_bucket_is_said_to_be_more_than_its_lower_edge(late: int, figure: tuple[object, bool]) -> None:
    """The p99 of outcomes that came 100 s late is more than 60 s: the bucket from 60 s to 300 s does not say how much more."""
    stream, history = Stream(), History()
    history.see({"w1": of_families(stream.registry.collect(), at=stream.now)})
    stream.now += 10
    at = round(stream.now * 1000)
    ages = [100_000] * late + [300] * (100 - late)
    stream.metrics.published([Observation(destination=Destination.TAGGED, created_ms=at - age) for age in ages], at)
    flow = figures(history.see({"w1": of_families(stream.registry.collect(), at=stream.now)})).flow
    assert (flow.p99_seconds, flow.p99_more) == figure


def test_late_outcomes_are_an_alarm() -> None:
    """A share of stale outcomes above the limit is an alarm."""
    found = seen(ran())
    late = tuple(replace(share, value=0.2, over=True) if share.name == "stale" else share for share in found.shares)
    assert names(alarms(replace(found, shares=late))) == {"FreshnessBurn"}


def late_minutes(*late: int, older_than_group: bool = False) -> list[bool]:
    """Whether late outcomes are an alarm after each half minute, with so many late ones in it beside ten that are on time."""
    stream, history = Stream(), History()
    if older_than_group:
        stream.metrics.group_began(stream.now)
    found, before = [], int((stream.now - 3600) * 1000)
    history.see({"w": of_families(stream.registry.collect(), at=stream.now)})
    for events in late:
        stream.run(30, rate=1 / 3, dead=0)
        stream.metrics.published(
            [Observation(destination=Destination.TAGGED, created_ms=before)] * events, int(stream.now * 1000)
        )
        seen_now = figures(history.see({"w": of_families(stream.registry.collect(), at=stream.now)}))
        found.append("FreshnessBurn" in names(alarms(seen_now)))
    return found


def test_late_outcomes_of_an_outage_that_is_over_are_no_alarm() -> None:
    """The backlog of an outage comes out late and within a minute; an alarm needs late outcomes in each of the last three."""
    assert not any(late_minutes(0, 0, 0, 0, 35, 0, 0, 0, 0, 0))
    assert not any(late_minutes(0, 0, 0, 0, 35, 35, 0, 0, 0, 0))
    assert late_minutes(0, 0, *[8] * 8, 0, 0, 0)[-6:] == [True, True, True, True, False, False]


def test_events_older_than_the_group_are_no_late_outcomes() -> None:
    """A new group on an old topic raises no alarm about freshness, however long it works off the old events."""
    assert any(late_minutes(*[100] * 8))
    assert not any(late_minutes(*[100] * 8, older_than_group=True))


def test_a_figure_is_red_only_from_the_number_on_at_which_it_is_judged() -> None:
    """A value over its limit on few decisions is shown like any other, as it is no alarm either."""
    few, many = seen(ran(20, drift=1.0)), seen(ran(100, drift=1.0))
    beyond = [one for one in (*few.distances, *few.shares) if one.value and one.limit and one.value > one.limit]
    assert len(beyond) > 3
    assert not any(one.over for one in beyond)
    assert {one.name for one in (*many.distances, *many.shares) if one.over} >= {"labels", "confidence", "energy"}
    skewed = seen(ran(drift=1.0), ran(drift=1.0, digest="ffff"))
    assert not any(one.over for one in skewed.distances)


def test_the_lag_is_unknown_while_one_worker_does_not_know_its_own() -> None:
    """An unknown lag is not 0, and the lags of the other workers are not the whole."""
    known, unknown = ran(), ran()
    unknown.metrics.position(partitions=6, lag=None, inflight=0, last_commit=None)
    assert seen(known).position.lag is not None
    found = seen(known, unknown)
    assert found.position.lag is None
    assert found.position.partitions == 12
    assert b'"lag":null' in msgspec.json.encode(found)


@pytest.mark.parametrize(("lag", "oldest", "known"), [(None, 0.0, None), (7, 0.0, None), (0, 0.0, 0.0), (None, 40.0, 40.0)])
def test_the_age_of_the_oldest_event_is_unknown_with_nothing_in_hand(
    lag: int | None, oldest: float, known: float | None
) -> None:
    """With nothing in hand, the age of an event that waits on the brokers is unknown, not 0."""
    stream = ran()
    stream.metrics.position(partitions=6, lag=lag, inflight=0, last_commit=None, oldest_seconds=oldest)
    assert seen(stream).position.oldest_seconds == known


def test_an_open_transaction_is_an_alarm_that_names_the_partition() -> None:
    """Only after the limit: a producer that commits has a transaction open at many looks."""
    stream = ran()
    stream.metrics.open_transactions({"3": (500, stream.now - limits.OPEN_TRANSACTION_SECONDS), "4": (7, stream.now - 45)})
    (alarm,) = [one for one in alarms(seen(stream)) if one.name == "OpenTransaction"]
    assert alarm.tier is Tier.PAGE
    assert alarm.what == "Events wait behind an open transaction in partition 4: 7 of partition 4 for 45 s."
    stream.metrics.open_transactions({})
    assert "OpenTransaction" not in names(alarms(seen(stream)))


def test_two_bundles_at_once_are_an_alarm_and_drift_waits() -> None:
    """While two bundles decide, nothing is compared with the reference of one; a producer is unknown whatever bundle decides."""
    found = alarms(seen(ran(drift=1.0), ran(drift=1.0, digest="ffff")))
    assert names(found) == {"ModelVersionSkew", "UnseenSourceShare"}


def test_two_ways_to_compute_one_bundle_are_an_alarm() -> None:
    """Workers whose processors compute differently are named, though their bundle is one."""
    usual, other = ran(), ran()
    other.metrics.model_loaded(name="tiny", version="1", digest=DIGEST, arithmetic="5a5a", now=7.0)
    (found,) = [alarm for alarm in alarms(seen(usual, other)) if alarm.name == "ModelVersionSkew"]
    assert found.what.endswith(": one bundle on different processors, 5a5a, as the bundle's maker.")
    assert not [alarm for alarm in alarms(seen(usual, usual)) if alarm.name == "ModelVersionSkew"]


def test_a_sudden_change_is_an_alarm() -> None:
    """A sudden change found by a worker is an alarm with its signal."""
    stream = ran()
    for signal in ("confidence", "tokens_per_word", "described", "tokens_per_word"):
        stream.metrics.drift_change(signal, 0.0)
    whats = [alarm.what for alarm in alarms(seen(stream)) if alarm.name == "SuddenChange"]
    assert whats == [
        "The mean confidence and the share of events with a description and the mean number of tokens per word jumped in at least one process.",
    ]


@pytest.mark.parametrize(("scores", "said"), [({"words": 5.9}, 0), ({"words": 6.0}, 1), ({"words": 24.5, "sources": 0.2}, 1)])
def test_a_window_with_other_words_or_producers_is_an_alarm(scores: dict[str, float], said: int) -> None:
    """A score from the worker's threshold on is an alarm; without thresholds there is none."""
    stream = ran()
    stream.metrics.drift_evaluated(1000, scores, stream.now)
    assert "ContentDrift" not in names(alarms(seen(stream)))
    stream.metrics.drift_plan(1000, {"words": 6.0, "labels": 0.1, "sources": 0.02})
    assert [alarm.name for alarm in alarms(seen(stream))].count("ContentDrift") == said


@pytest.mark.parametrize("score", sorted(set(DriftScore) - {DriftScore.LABELS}))
def test_each_comparison_of_a_window_is_told(score: DriftScore) -> None:
    """All but the mix of labels, which is judged over all workers."""
    stream = ran()
    stream.metrics.drift_plan(1000, {score: 0.5})
    stream.metrics.drift_evaluated(1000, {score: 0.5}, stream.now)
    assert "ContentDrift" in names(alarms(seen(stream)))


@pytest.mark.parametrize(("compared", "rate", "alarm"), [(0.0, 20, True), (0.0, 0.1, False), (7 * 3600.0, 20, False)])
def test_silence_about_drift_is_an_alarm_where_nobody_looks(compared: float, rate: float, alarm: bool) -> None:
    """Seven hours without a comparison are an alarm, unless too few decisions came for one."""
    stream = Stream()
    for _ in range(7):
        stream.run(3600, rate=rate / 20)
    if compared:
        stream.metrics.drift_evaluated(1000, {}, stream.now - 60)
    found = seen(stream)
    assert (found.detectors.compared_seconds_ago is None) == (compared == 0)
    assert ("DriftEvaluationStale" in names(alarms(found))) is alarm


def test_a_worker_that_is_absent_or_not_ready_comes_first() -> None:
    """Alarms on workers come before those on drift."""
    troubles = (
        Trouble(worker="w1", answers=False, why="nothing listens there"),
        Trouble(worker="w2", answers=True, why="7 events wait"),
    )
    found = alarms(seen(ran(drift=1.0), troubles=troubles))
    assert [(alarm.name, alarm.tier) for alarm in found[:2]] == [("WorkerAbsent", Tier.PAGE), ("Stalled", Tier.PAGE)]
    assert "7 events wait" in found[1].what


def test_an_open_circuit_breaker_is_an_alarm_of_its_own_with_one_next_step() -> None:
    """An open breaker is one alarm with the worker's next step, or that of the record if the worker gives none."""
    stream = ran()
    stream.metrics.circuit_breaker(is_open=True)
    snapshot = of_families(stream.registry.collect(), at=stream.now)
    answer = "docs/runbooks/CircuitBreakerOpen.md, then remove /state/a.breaker"
    told = trouble_of("w1", snapshot, ready=False, why=f"the circuit breaker is open: 30 of 100. Next: {answer}")
    passed_on = trouble_of("w2", snapshot, ready=True, why="")
    assert told is not None
    assert passed_on is not None
    found = [alarm for alarm in alarms(seen(stream, troubles=(told, passed_on))) if alarm.tier is Tier.PAGE]
    assert names(found) == {"CircuitBreakerOpen"}
    assert [alarm.what for alarm in found] == [
        "The worker w1 has stopped and waits for a person: the circuit breaker is open: 30 of 100.",
        "The worker w2 has stopped and waits for a person: the circuit breaker is open.",
    ]
    assert [alarm.next for alarm in found] == [
        f"{answer}.",
        "read /readyz of the worker; it names the limit that was exceeded and how to close the breaker.",
    ]


def test_a_worker_that_does_not_hear_from_its_brokers_is_an_alarm_of_its_own() -> None:
    """Silent brokers are an alarm of their own, except if the event loop itself hangs."""
    stream, clock = ran(), Clock()
    snapshot = of_families(stream.registry.collect(), at=stream.now)
    progress = Progress(stall_seconds=20, monotonic=clock)
    progress.assigned(4)
    clock.now += 21

    def alarm() -> list[str]:
        why = progress.verdict().why
        trouble = trouble_of("w1", snapshot, ready=progress.verdict().ready, why=why)
        assert trouble is not None
        return [alarm.name for alarm in alarms(seen(stream, troubles=(trouble,))) if alarm.tier is Tier.PAGE]

    assert alarm() == ["Stalled"]
    progress.ticked(lag=None)
    assert alarm() == ["BrokersUnreachable"]
    progress.ticked(lag=0)
    assert progress.verdict().ready


def test_under_the_rules_all_goes_to_people_and_the_page_says_so() -> None:
    """Decisions of the keyword rules count in the review share, though the model made none."""
    stream = Stream()
    asked = Observation(
        destination=Destination.REVIEW, created_ms=0, review_reasons=(ReviewReason.LOW_CONFIDENCE,), label=None, confidence=None
    )
    stream.metrics.published([asked] * limits.LEAST_DECISIONS, 0)
    found = seen(stream)
    assert found.window.decisions == 0
    assert found.window.decided == limits.LEAST_DECISIONS
    assert value(found, "review") == 1.0
    (alarm,) = alarms(found)
    assert alarm.name == "ReviewShareOverBudget"
    assert "keyword rules" in alarm.what
    assert "TAGSTREAM_DECIDER=model" in alarm.next
    assert "drift" not in alarm.what + alarm.next


def following(epoch: int, *, arms: dict[Arm, int] | None = None, planned: int | None = None, ready: bool = True) -> Stream:
    """A worker that decides by this epoch, after so many decisions of each arm."""
    stream = ran()
    stream.metrics.rollout.decides_by(epoch)
    stream.metrics.rollout.decided(arms or {})
    if planned is not None:
        stream.metrics.rollout.planned(planned, PlanState.READY if ready else PlanState.REFUSED, closing=None)
    return stream


def test_without_a_rollout_there_are_no_figures_of_one() -> None:
    """A worker that follows none has no epoch, and the screen no words of it."""
    found = seen(ran())
    assert found.rollout is None
    assert screen(found).rollout == ()


def test_a_rollout_is_shown_by_epoch_arms_and_readiness() -> None:
    """Workers are added up: shares of the arms of all decisions, and the workers by their state before the planned epoch."""
    first = following(7, arms={Arm.CHAMPION: 90, Arm.CHALLENGER: 10}, planned=8)
    second = following(7, arms={Arm.CHAMPION: 97, Arm.FALLBACK: 3}, planned=8, ready=False)
    found = seen(first, second, ran())
    assert found.rollout is not None
    assert (found.rollout.workers, found.rollout.epochs, found.rollout.planned) == (2, (7,), 8)
    assert found.rollout.states == {"ready": 1, "refused": 1}
    assert {(one.name, one.value) for one in screen(found).rollout} == {
        ("epoch", "7"),
        ("champion", "93.5%"),
        ("challenger", "5.0%"),
        ("fallback", "1.5%"),
        ("held", "0"),
        ("following", "2 of 3"),
        ("plan", "8: 1 ready, 1 refused"),
    }


def test_workers_of_different_epochs_are_an_alarm_once_they_have_had_time() -> None:
    """Workers take a change over within a second; one that stays behind is told, and so is a plan that was refused."""
    behind, ahead = following(3), following(4)
    assert "RolloutVersionsDiffer" in names(alarms(seen(behind, ahead)))
    fresh = Stream(start=ahead.now)
    fresh.metrics.rollout.decides_by(4)
    settling = seen(behind, fresh)
    assert settling.rollout is not None
    assert settling.rollout.epochs == (3, 4)
    assert "RolloutVersionsDiffer" not in names(alarms(settling))
    assert "RolloutRefused" not in names(alarms(settling))
    behind.metrics.rollout.refused()
    assert "RolloutRefused" in names(alarms(seen(behind, fresh)))


@pytest.mark.parametrize(("closing", "for_what"), [(5, "epoch 5"), (None, "no epoch lists")])
def test_events_that_are_held_for_long_are_an_alarm(closing: int | None, for_what: str) -> None:
    """A hold of a moment is a change; a long one is told with what the events wait for."""
    found = seen(following(4)).rollout
    assert found is not None
    held = replace(found, held_events=32, held_seconds=HELD.limit / 2, closing=closing)
    assert "RolloutHangs" not in names(alarms(replace(seen(ran()), rollout=held)))
    (alarm,) = alarms(replace(seen(ran()), rollout=replace(held, held_seconds=HELD.limit + 1)))
    assert (alarm.name, alarm.tier) == ("RolloutHangs", Tier.PAGE)
    assert "32 events" in alarm.what
    assert for_what in alarm.what
