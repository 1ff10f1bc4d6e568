"""A run of the comparison that is cut short says so and keeps what it has, and no part takes a figure that nobody has judged."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from benchmarks.peers import __main__ as command
from benchmarks.peers import growth, open_loop, page, running, saturation, texts
from benchmarks.peers.figures import Work
from benchmarks.peers.growth import Cost, Growth, Scaling, Start
from benchmarks.peers.running import Arm, ArmError, Bench
from benchmarks.peers.saturation import Run
from tagstream.model_export.data.splits import Splits
from tagstream.stream.kafka import admin
from tagstream.stream.settings.settings import Settings

BENCH = Bench(bootstrap="127.0.0.1:1", processes=None, logs=Path())  # type: ignore[arg-type]
PARTS = Splits(train=(), calibration=(), holdout=(), corpus_test=(), unlabelled=(), near_duplicates_removed=0, digests={})
MATERIAL = texts.Material(name="made up", parts=PARTS, gold=(), others=())
POINTS = [
    open_loop.Point(
        arm=arm,
        rate=500,
        p50_ms=9,
        p99_ms=26,
        end_lag=5,
        late_ms=0.2,
        most_late_ms=3,
        work=Work(lost=0, repeated=0, foreign=0, agreement=1.0, f1=0.9),
    )
    for arm in open_loop.ARMS
]


class Client:
    """Stands in for a consumer of the three outcome topics, each with one record."""

    def partitions_for_topic(self, _: str) -> set[int]:
        """One each."""
        return {0}

    def assign(self, _: Sequence[Any]) -> None:
        """There is nothing to do."""

    def end_offsets(self, partitions: Sequence[Any]) -> dict[Any, int]:
        """One record in each."""
        return dict.fromkeys(partitions, 1)


def test_a_slow_arm_has_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of five outcomes when the time is over: the reason is the time."""
    monkeypatch.setattr(running.reader, "consumer", lambda _: contextlib.nullcontext(Client()))
    monkeypatch.setattr(running, "_all", lambda *_: [])
    monkeypatch.setattr(running, "POLL_SECONDS", 0.01)
    process: Any = SimpleNamespace(running=lambda: True)
    arm = Arm("tagstream", BENCH.settings("content", "slow"), process, 0.0)
    with pytest.raises(ArmError, match=r"^only 3 of 5 outcomes of the arm tagstream in 0\.05 s\. Next: "):
        running.written([arm], 5, seconds=0.05)


def test_the_broker_stamps_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer's own stamp is from before the broker had the record, and a delay would end there."""
    made: dict[str, str] = {}
    gone: list[str] = []

    class Admin:
        """Stands in for kafka-python's admin client."""

        def describe_topics(self) -> list[dict[str, Any]]:
            """There are no topics."""
            return []

        def create_topics(self, topics: dict[str, Any], **_: object) -> None:
            """Keep the kind of timestamp."""
            made.update({name: options["configs"].get("message.timestamp.type") for name, options in topics.items()})

        def delete_topics(self, topics: Sequence[str], **_: object) -> None:
            """Keep the names."""
            gone.extend(topics)

    @contextlib.contextmanager
    def connected(_: Settings) -> Iterator[Admin]:
        yield Admin()

    monkeypatch.setattr(admin, "admin", connected)
    with BENCH.outputs("content", "run") as settings:
        names = (settings.topics.tagged, settings.topics.review, settings.topics.dlq)
        assert [made[name] for name in names] == ["LogAppendTime"] * 3
    assert set(names) <= set(gone)


@pytest.fixture
def a_page(tmp_path: Path) -> Path:
    """The marks of the real page."""
    path = tmp_path / "page.md"
    path.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    return path


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command without broker, texts or a look at the machine; the part `start` is whole."""
    monkeypatch.setattr(command, "broker", lambda **_: contextlib.nullcontext(SimpleNamespace(bootstrap="")))
    monkeypatch.setattr(running, "bench", lambda *_: contextlib.nullcontext(BENCH))
    monkeypatch.setattr(texts, "load", lambda _: MATERIAL)
    monkeypatch.setattr(command, "tokens", lambda *_: (20.0, 20.0))
    monkeypatch.setattr(command.roofline, "share_of_others", lambda: 0.0)
    monkeypatch.setattr(growth, "start", lambda *_, **__: (Start(first_seconds=1.23, peak_mib=200, resident_mib=180), []))


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("error", [RuntimeError("unforeseen"), KeyboardInterrupt()])
def test_an_interruption_costs_no_part_that_has_ended(
    error: BaseException, a_page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part stands on the page, whatever ends the second."""

    def raising(*_: object, **__: object) -> Growth:
        raise error

    monkeypatch.setattr(growth, "run", raising)
    with pytest.raises(type(error)):
        command.main(["--part", "start", "--part", "growth", "--page", str(a_page)])
    assert "First tag 1.23 s after the start" in a_page.read_text(encoding="utf-8")
    assert [path.name for path in a_page.parent.iterdir()] == ["page.md"]


@pytest.mark.usefixtures("prepared")
def test_an_arm_without_figures_voids_its_part_alone(a_page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that give no rate are a reason, as lost events are; the next part runs."""

    def raising(*_: object, **__: object) -> Growth:
        msg = "1 records give no rate"
        raise ValueError(msg)

    monkeypatch.setattr(growth, "run", raising)
    assert command.main(["--part", "growth", "--part", "start", "--page", str(a_page)]) == 1
    assert "First tag 1.23 s after the start" in a_page.read_text(encoding="utf-8")


def test_an_interruption_leaves_the_old_picture_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It falls into the writing of the new one, of which nothing stays."""
    picture = tmp_path / "picture.svg"
    picture.write_text("old", encoding="utf-8")

    def half(_: Figure, path: Path, **__: object) -> None:
        path.write_text("<sv", encoding="utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(KeyboardInterrupt):
        page.draw(POINTS, picture)
    assert picture.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["picture.svg"]


def test_the_open_loop_takes_no_rate_of_an_arm_that_loses_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone it measures the saturation itself, and judges it."""
    lost = Work(lost=3, repeated=0, foreign=0, agreement=1.0, f1=None)
    run = Run(
        arm="tagstream",
        counted=True,
        events=10,
        per_second=1000.0,
        cpu_us=1400.0,
        first_seconds=2.0,
        peak_mib=200.0,
        record_bytes=700.0,
        work=lost,
    )
    monkeypatch.setattr(saturation, "run", lambda *_, **__: [run])
    monkeypatch.setattr(open_loop, "run", lambda *_, **__: pytest.fail("the shares are of a void rate"))
    about = command.Surroundings(name="Run", material=MATERIAL, tokens=(20.0, 20.0), others=0.0)
    found = command.Comparison(bench=BENCH, surroundings=about, size=command.QUICK, arms=["tagstream"], saturated=None)
    found.open_loop()
    assert found.faults == ["tagstream: 3 events lost"]
    assert found.blocks == {}


def test_two_workers_share_the_cores_with_broker_and_sender() -> None:
    """Their events are sent while they are measured."""
    cost = Cost(partitions=4, backlog=100, cpu_us=1400, per_second=900)
    found = Growth(by_partitions=[cost], by_backlog=[cost], scaling=Scaling(cores=1, one=100, two=150), faults=[])
    assert page.growth_block(found, "about").endswith("(1.50 times as many). Broker and sender run on the same cores.")


def test_a_rate_is_longer_than_what_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Else there would be no delay to take a percentile of, after the table of saturation was measured."""
    with pytest.raises(SystemExit) as ended:
        command.main(["--seconds", "2"])
    assert ended.value.code == 2
    assert "--seconds takes more than 2" in capsys.readouterr().err
