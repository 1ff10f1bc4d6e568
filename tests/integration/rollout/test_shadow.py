"""`tagstream rollout shadow` beside real workers: what it writes, what it sees, and that no challenger touches the stream."""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.shadow_records import Shadowed, read_shadowed
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.settings import Settings
from tagstream.stream.shadow.decision_sources import Sample
from tests.hostile.corpus import corpus
from tests.integration.command_line import Command
from tests.integration.delivery.test_hostile import send, sendable
from tests.integration.rollout.conftest import Producer, StartReal, altered, records, sent
from tests.integration.running import get
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1800)]
BIN = Path(sys.executable).parent
CLOCK = b',"tagged_at":'
StartShadow = Callable[..., Process]


@pytest.fixture
def start_shadow(processes: Processes, rollout_environ: dict[str, str], tmp_path: Path) -> StartShadow:
    """Starts a follower, and waits until it follows; a fault of the challenger may be named."""

    def run(bundle: Path, *words: str, fault: str = "", **changes: str) -> Process:
        log = tmp_path / f"shadow-{len(list(tmp_path.glob('shadow-*')))}.log"
        begin: list[str | Path] = (
            [sys.executable, "-m", "tests.integration.rollout.bad_challenger", fault]
            if fault
            else [BIN / "tagstream", "rollout", "shadow"]
        )
        argv = [*begin, bundle, "--from-beginning", "--metrics-port", "0", "--json", *words]
        found = processes.start(argv, env=os.environ | rollout_environ | changes, log_file=log)
        until(lambda: "shadow_follows" in found.output(), "the follower follows", process=found)
        return found

    return run


def ended(process: Process) -> tuple[int | None, dict[str, object]]:
    """Exit code and summary of a follower that was told to stop."""
    process.ask_to_end()
    assert process.wait(HANG_SECONDS), process.output()
    summary = next(line for line in process.output().splitlines() if line.startswith('{"events"'))
    return process.exit_code, json.loads(summary)


def written(settings: Settings) -> list[Shadowed]:
    """All that lies on `shadow`, read by the contract."""
    found = [read_shadowed(record) for record in records(settings, settings.topics.shadow)]
    assert all(isinstance(one, Shadowed) for one in found)
    return [one for one in found if isinstance(one, Shadowed)]


def metric(process: Process, name: str, **labels: str) -> float:
    """A figure that a running follower serves."""
    address = re.search(r'"address": "([^"]+)"', process.output())
    assert address is not None
    families = text_string_to_metric_families(get(f"http://{address[1]}/metrics")[1])
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.mark.slow
def test_a_follower_writes_what_both_say_and_no_text(
    start_real: StartReal,
    start_shadow: StartShadow,
    rollout_settings: Settings,
    another: Bundle,
) -> None:
    """Each drawn event once, hostile ones among them, and the champion is equal to the byte with what was published."""
    texts = sent(rollout_settings, 400)
    send(rollout_settings, [sendable(record) for _, record in corpus(600)])
    sample = Sample(rollout_settings, 0.5)
    content = list(records(rollout_settings, rollout_settings.topics.content))
    made = pipeline_of(rollout_settings).publications(content)
    drawn = [one for one in made if not isinstance(one.outcome, Refusal) and sample.has(one.outcome.event.id)]
    # An event that its producer sent twice has one decision.
    distinct = len({(one.value or b"").rpartition(CLOCK)[0] for one in drawn})
    start_real(0)
    shadow = start_shadow(another.path, "--sample", "0.5")
    until(
        lambda: metric(shadow, "tagstream_shadow_published_total", result="equal") >= distinct,
        "all are compared",
        process=shadow,
    )
    code, summary = ended(shadow)
    found = written(rollout_settings)
    assert code == 0, shadow.output()
    published = summary["published"]
    assert isinstance(published, dict)
    assert distinct <= published.pop("equal") <= len(drawn)
    assert published == {"different": 0, "unchecked": 0}
    assert len({(one.partition, one.offset) for one in found}) == len(found) == summary["compared"] == len(drawn) > 200
    assert 100 < summary["dead_letters"] <= sum(isinstance(one.outcome, Refusal) for one in made)
    for one in found:
        assert one.challenger is not None
        assert one.champion is not None
        assert (one.champion.model.version, one.challenger.model.digest) == ("1", another.digest)
        assert one.inclusion_probability == 0.5
    assert (
        0
        < sum(
            one.champion is not None and one.challenger is not None and one.champion.tag != one.challenger.tag for one in found
        )
        == summary["discordant"]
    )
    assert summary["asked"] == 0
    timed = [one.times for one in found if one.times is not None]
    assert 0 < len(timed) < len(found)
    assert all(one.champion > 0 < one.challenger for one in timed)
    assert any("source: web" in one.slices for one in found)
    values = b"".join(record.value or b"" for record in records(rollout_settings, rollout_settings.topics.shadow))
    assert not any(text.encode() in values for text in set(texts.values()) if " " in text)


@pytest.mark.parametrize("fault", ["raises", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("sleeps", "hangs"))])
def test_no_challenger_touches_the_stream(
    start_real: StartReal, start_shadow: StartShadow, rollout_settings: Settings, another: Bundle, fault: str
) -> None:
    """The outcome topics have the bytes that the champion alone gives, each once; failures are values, and the follower ends well."""
    start_real(0)
    shadow = start_shadow(another.path, "--sample", "1", fault=fault, TAGSTREAM_INFERENCE_TIMEOUT_SECONDS="5")
    texts = sent(rollout_settings, 300)
    topics = rollout_settings.topics
    until(lambda: sum(1 for _ in records(rollout_settings, topics.tagged, topics.review)) >= len(texts), "all are decided")
    until(
        lambda: len(written(rollout_settings)) >= (1 if fault == "sleeps" else len(texts)),
        "comparisons are written",
        process=shadow,
    )
    code, summary = ended(shadow)
    assert code == 0, shadow.output()
    content = list(records(rollout_settings, topics.content))
    expected = Counter(
        (one.destination.value, (one.value or b"").rpartition(CLOCK)[0])
        for one in pipeline_of(rollout_settings).publications(content)
    )
    found = Counter(
        (role, (record.value or b"").rpartition(CLOCK)[0])
        for role in ("tagged", "review")
        for record in records(rollout_settings, getattr(topics, role))
    )
    assert found == expected
    failures = {one.failure for one in written(rollout_settings)}
    assert {one.failed for one in written(rollout_settings)} == {None if fault == "sleeps" else another.digest}
    assert failures == {{"raises": "RuntimeError", "sleeps": None, "hangs": "TimeoutError"}[fault]}
    kinds = {"raises": {"raised": len(texts)}, "sleeps": {}, "hangs": {"timed_out": len(texts)}}[fault]
    assert summary["failures"] == kinds
    assert summary["published"]["different"] == 0  # type: ignore[index]
    assert not any(text in shadow.output() for text in set(texts.values()) if " " in text)


@pytest.mark.slow
def test_the_champion_is_that_of_each_events_place_in_the_log(
    start_real: StartReal,
    start_shadow: StartShadow,
    rollout_settings: Settings,
    promote: Callable[[str], bytes],
    another: Bundle,
) -> None:
    """The model of the stream is changed twice while the follower reads: no decision differs from what was published."""
    start_real(0)
    promote("2")
    shadow = start_shadow(another.path, "--sample", "1")
    producer = Producer(rollout_settings, 100)
    until(lambda: producer.sent > 100, "some events are sent")
    promote("3")
    until(lambda: producer.sent > 400, "more events are sent")
    count = producer.stop()
    until(
        lambda: metric(shadow, "tagstream_shadow_published_total", result="equal") >= count, "all are compared", process=shadow
    )
    code, summary = ended(shadow)
    assert (code, summary["published"]) == (0, {"equal": count, "different": 0, "unchecked": 0})
    assert {one.champion.model.epoch for one in written(rollout_settings) if one.champion is not None} >= {"1", "2"}


@pytest.mark.slow
def test_a_follower_of_other_settings_says_that_the_stream_decides_otherwise(
    start_real: StartReal, start_shadow: StartShadow, rollout_settings: Settings, another: Bundle
) -> None:
    """With a threshold of its own its champion differs from what is published: counted, logged with the place, and exit code 4."""
    sent(rollout_settings, 60)
    start_real(0)
    shadow = start_shadow(another.path, "--sample", "1", TAGSTREAM_CONFIDENCE_THRESHOLD="0.99")
    until(lambda: metric(shadow, "tagstream_shadow_published_total", result="different") >= 60, "all differ", process=shadow)
    code, summary = ended(shadow)
    assert (code, summary["published"]) == (4, {"equal": 0, "different": 60, "unchecked": 0})
    assert "champion_differs" in shadow.output()


@pytest.mark.slow
def test_a_start_goes_on_behind_the_one_before(
    start_shadow: StartShadow, rollout_settings: Settings, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Offsets are committed in a group of its own: no event is compared twice, and none is left out."""
    new = altered(tiny_bundle, tmp_path, "2")
    sent(rollout_settings, 200)
    first = start_shadow(new, "--sample", "1")
    until(lambda: len(written(rollout_settings)) >= 200, "all are compared", process=first)
    assert ended(first)[0] == 0
    sent(rollout_settings, 100)
    second = start_shadow(new, "--sample", "1")
    until(lambda: len(written(rollout_settings)) >= 300, "the others are compared", process=second)
    code, summary = ended(second)
    assert (code, summary["events"], summary["compared"], summary["discordant"]) == (0, 100, 100, 0)
    assert len(written(rollout_settings)) == 300


@pytest.mark.slow
def test_bad_input_is_a_sentence(tagstream: Command, rollout_environ: dict[str, str], tmp_path: Path, another: Bundle) -> None:
    """Each with the next step, and no traceback."""
    cases: list[tuple[tuple[str, ...], dict[str, str], int, str]] = [
        (("0" * 64,), {}, 1, "there is no such folder"),
        ((str(tmp_path / "nowhere"),), {}, 2, "nor the digest"),
        ((str(another.path),), {"TAGSTREAM_TOPICS__SHADOW": "no.such.topic"}, 2, "has no topic 'no.such.topic'"),
        ((str(another.path),), {"TAGSTREAM_DECIDER": "rules"}, 2, "keyword rules"),
        ((str(another.path), "--metrics-port", "1"), {"TAGSTREAM_METRICS_HOST": "192.0.2.1"}, 2, "cannot be bound"),
    ]
    for words, changes, code, said in cases:
        done = tagstream("rollout", "shadow", *words, environ={**rollout_environ, **changes})
        shown = done.stderr.decode()
        assert (done.returncode, said in shown, "Traceback" in shown) == (code, True, False), (words, shown)
        assert "Next: " in shown, words
