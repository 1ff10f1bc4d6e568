"""What the verbs of `tagstream rollout` read from their options, and what a watch serves."""

import re
import time
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from tagstream.stream.cli import rollout
from tagstream.stream.cli.main import app
from tagstream.stream.contract.rollout_records import BundleName, Challenger, GateReading, Guards, RequiredOutcome
from tagstream.stream.rollout import verdict as verdicts
from tagstream.stream.rollout import watch as watching
from tagstream.stream.rollout.change import require_arms
from tagstream.stream.rollout.control import Begun
from tagstream.stream.rollout.controller import PlanGivenUpError
from tagstream.stream.rollout.errors import RolloutError
from tagstream.stream.rollout.history import moment_of
from tagstream.stream.rollout.verdict import RolloutStep
from tagstream.stream.rollout.watch import Judged, NothingWatchedError
from tagstream.stream.settings.settings import Settings
from tests.integration.running import get
from tests.unit.stream.rollout.test_epochs import A, B, change, folded, start

CHALLENGER = Challenger(bundle=BundleName(digest="c" * 64, name="b", version="1"), share=0.5, unit="key", salt="s")
NINE = [word for number in range(9) for word in ("--require", f"outcome:n{number}")]


def test_a_time_without_a_zone_is_the_same_moment_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is UTC, wherever the machine stands."""
    try:
        monkeypatch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        assert moment_of("2026-01-31T12:00") == moment_of("2026-01-31T12:00Z") == moment_of("2026-01-31T13:00+01:00")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["yesterday", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00+12:00"])
def test_what_is_no_time_gets_a_sentence(text: str) -> None:
    """Also a time that has no year in UTC."""
    with pytest.raises(RolloutError, match=r"is no time\. Next: "):
        moment_of(text)


def test_a_controller_serves_what_it_finds_and_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each turn is counted by what came of it: no challenger, a verdict, a change that a worker refuses, one that comes about, an error."""
    models = folded(start(A, B), *change(1, {A: 5, B: 9})).models(1)
    gates = (GateReading(name="answers", state="passes", says="", figures={"events": 90.0, "answers": 40.0}),)
    found = verdicts.ChallengerVerdict(decision=RolloutStep.PROMOTE, says="it is promoted", days=1.0, gates=gates)
    scraped: list[str] = []

    async def turns(
        _: Settings,
        *,
        every_seconds: float,
        tell: Callable[[Judged], None],
        began: Callable[[Begun], None],
        failed: Callable[[Exception], None],
    ) -> None:
        failed(NothingWatchedError("no challenger decides"))
        tell(Judged(models=models, verdict=found, last=None, unread=0, unseen=(), lines=()))
        failed(PlanGivenUpError("a worker refused"))
        began(Begun(models=models, marks=(), closed_seconds=0.1, workers=every_seconds > 0))
        failed(OSError("the bundles are away"))
        address = re.search(r"metrics at (\S+)", capsys.readouterr().err)
        assert address is not None
        scraped.append(get(address[1])[1])

    monkeypatch.setattr(watching, "watch", turns)
    rollout.watch(every=1.0, metrics_port=0)
    lines = {line for line in scraped[0].splitlines() if line.startswith("tagstream_controller")}
    assert lines >= {
        'tagstream_controller_looks_total{result="no_challenger"} 1.0',
        'tagstream_controller_looks_total{result="judged"} 1.0',
        'tagstream_controller_looks_total{result="failed"} 1.0',
        'tagstream_controller_verdict{decision="promote"} 1.0',
        'tagstream_controller_evidence_events{kind="answered"} 40.0',
        "tagstream_controller_failed_changes_total 1.0",
        'tagstream_controller_changes_total{decision="promote"} 1.0',
        'tagstream_controller_changes_total{decision="roll_back"} 0.0',
    }


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--require", "clicks"], "is not outcome:NAME"),
        (["--require", "outcome:"], "is not outcome:NAME"),
        (["--require", "outcome:two words"], "is not outcome:NAME"),
        (["--require", f"outcome:{'n' * 65}"], "is not outcome:NAME"),
        (["--require", "outcome:clicks=much"], "is not outcome:NAME"),
        (["--require", "outcome:clicks=nan"], "is not outcome:NAME"),
        (["--require", "outcome:clicks=0.6"], "is not outcome:NAME"),
        (["--require", "outcome:clicks", "--require", "outcome:-clicks"], "names 'clicks' twice"),
        (NINE, "more than 8 outcomes"),
    ],
)
def test_a_required_outcome_that_is_none_is_refused_with_the_next_step(words: list[str], why: str) -> None:
    """A margin that is no number, a name that is none or too long, a name twice, too many: nothing is planned."""
    done = CliRunner().invoke(app, ["rollout", "canary", "new-bundle", "--share", "0.5", *words])
    assert isinstance(done.exception, RolloutError)
    assert why in str(done.exception)
    assert "Next: " in str(done.exception)


def test_a_canary_without_two_arms_of_one_stream_requires_no_outcome() -> None:
    """A share of 1 has no champion's arm, and an audience is another stream than the champion's."""
    guards = Guards(outcomes=(RequiredOutcome(name="clicks"),))
    require_arms(guards, CHALLENGER)
    for changes in ({"share": 1.0}, {"sources": ("web",)}):
        challenger = Challenger(**{name: getattr(CHALLENGER, name) for name in CHALLENGER.__struct_fields__} | changes)
        require_arms(Guards(), challenger)
        with pytest.raises(RolloutError, match="two arms of one stream"):
            require_arms(guards, challenger)
