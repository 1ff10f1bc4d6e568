"""A program beside the stream decides as of now, a time or an epoch: the stream's own bytes, or a sentence with the next step."""

import asyncio
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream import AsOfError, AsyncTagger, Tagger
from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.extras import OF_WORKER
from tagstream.stream.cli import main
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.rollout_records import Challenger, Partition, RolloutRecordError
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.library import tagger as module
from tagstream.stream.rollout import history
from tagstream.stream.rollout.as_of import champion_as_of, decider_as_of
from tagstream.stream.rollout.deciders import RolledDeciders, bundle_name
from tagstream.stream.rollout.epochs import Epochs
from tagstream.stream.rollout.history import Entry
from tagstream.stream.settings.settings import Settings
from tagstream.stream.tables.predictions import open_predictions
from tests.data import make_tiny_bundle
from tests.unit.stream.rollout.test_deciders import ID, stored
from tests.unit.stream.rollout.test_epochs import change, start

PLACE = Partition(topic="content", topic_id=ID, partition=0)
SECOND = 1000
# The times of the seven records: an epoch begins at its last.
START_MS, FIRST_MS, SECOND_MS = 1_700_000_000_000, 1_700_000_300_000, 1_700_000_600_000
WORDS = ("images", "translation", "deploying", "games", "attention", "walk", "river", "pixels", "notes", "graph")
CLOCK = re.compile(rb',"tagged_at":"[^"]*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Three epochs: the bundle of the settings decides, then one that leans another way, then the first again beside a canary."""

    count: int
    settings: Settings
    entries: list[Entry]
    epochs: Epochs

    def published(self, values: Sequence[bytes], epoch: int) -> list[bytes]:
        """What a worker publishes for these events if they lie in an epoch, without the time."""
        pipeline = pipeline_of(self.settings)
        deciders = RolledDeciders(self.settings, pipeline.decider, self.epochs, {"content": ID})
        pipeline.choose(deciders.decider_of)
        first = epoch * self.count
        records = [
            Record(key=b"k%d" % at, value=value, topic="content", partition=0, offset=first + at)
            for at, value in enumerate(values)
        ]
        return [CLOCK.sub(b"", one.value or b"") for one in pipeline.publications(records)]

    @property
    def given(self) -> dict[str, object]:
        """The settings of a program beside it, which has no bundle."""
        rollout = self.settings.rollout
        return {"rollout": {"bundles": rollout.bundles, "cache": str(rollout.cache)}, "audit_rate": 0}


def events(count: int) -> list[bytes]:
    """Events with ids, some with more fields, and one that is none at the end."""
    made = []
    for number in range(count - 1):
        title = " ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 2 + number % 4))
        event: dict[str, object] = {"id": f"e-{number}", "title": title}
        if number % 3 == 0:
            event |= {"description": f"{title} {number}", "n": number, "tag": "a producer's"}
        made.append(json.dumps(event).encode())
    return [*made, b'{"id": "no-title"}']


@pytest.fixture
def leaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The tiny bundle with a network that leans towards mlops."""
    monkeypatch.setattr(make_tiny_bundle, "BIAS", (0.0, 1.0, 0.0, 0.25))
    make_tiny_bundle.main(tmp_path / "leaning")
    return bundles.read(tmp_path / "leaning")


@pytest.fixture
def begin(
    tiny_bundle_folder: Path, tiny_bundle: Bundle, leaning: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Stream]]:
    """Begins the stream, whose log `history` returns; its second epoch may ask people about every event."""

    def begun(count: int, *, asks_people: bool = False) -> Stream:
        rollout = Settings().rollout.model_copy(update={"bundles": str(tmp_path / "bundles"), "cache": tmp_path / "cache"})
        settings = Settings(bundle=tiny_bundle_folder, state_folder=tmp_path, rollout=rollout)
        stored(settings, tiny_bundle, tmp_path / "first")
        new = stored(settings, leaning, tmp_path / "new", version="2")
        own = bundle_name(pipeline_of(settings).decider)
        plan, *rest = change(1, {PLACE: count})
        again, *last = change(2, {PLACE: 2 * count})
        canary = Challenger(bundle=new, share=0.5, unit="key", salt="s")
        records = (
            msgspec.structs.replace(start(PLACE), champion=own),
            *(msgspec.structs.replace(plan, champion=new, asks_people=asks_people), *rest),
            *(msgspec.structs.replace(again, champion=own, challenger=canary), *last),
        )
        times = (START_MS, *(FIRST_MS - 2, FIRST_MS - 1, FIRST_MS), *(SECOND_MS - 2, SECOND_MS - 1, SECOND_MS))
        epochs = Epochs()
        entries = [
            Entry(record=record, offset=offset, counts=epochs.take(record), written_ms=written_ms)
            for offset, (record, written_ms) in enumerate(zip(records, times, strict=True))
        ]

        async def read(_: Settings) -> tuple[list[Entry], Epochs]:
            await asyncio.sleep(0)
            return entries, epochs

        monkeypatch.setattr(history, "history", read)
        return Stream(count=count, settings=settings, entries=entries, epochs=epochs)

    module._arrived.cache_clear()
    yield begun
    module._arrived.cache_clear()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory of commands."""
    monkeypatch.chdir(tmp_path)


def run(stream: Stream, *words: str) -> Result:
    """A command with the place of bundles, and without a bundle of its own."""
    rollout = stream.settings.rollout
    environ = {
        "TAGSTREAM_BUNDLE": "/dev/null/none",
        "TAGSTREAM_ROLLOUT__BUNDLES": rollout.bundles,
        "TAGSTREAM_ROLLOUT__CACHE": str(rollout.cache),
    }
    return CliRunner().invoke(main.app, list(words), env=environ)


def without_place(answers: bytes) -> list[bytes]:
    """The answers as values of the topics without their time; an answer on no event has no place either."""
    found = [CLOCK.sub(b"", line) for line in answers.splitlines()]
    return [re.sub(rb',"destination":"[a-z]+"\}$', b"}", line) for line in found]


def of_champion(values: Sequence[bytes]) -> list[int]:
    """The places of decisions that no challenger made."""
    return [at for at, value in enumerate(values) if b'"arm":"challenger"' not in value]


COUNTS = [120, pytest.param(10_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
def test_a_batch_has_the_bytes_that_the_stream_published_in_that_epoch(begin: Callable[..., Stream], count: int) -> None:
    """In three epochs, two of them by one bundle; the challenger's events alone are the champion's here, and the command says so."""
    stream = begin(count, asks_people=True)
    values = events(count)
    Path("in.jsonl").write_bytes(b"\n".join(values))
    said, made = {}, {}
    for epoch in range(3):
        done = run(stream, "batch", "in.jsonl", f"{epoch}.jsonl", "--as-of", str(epoch))
        assert done.exit_code == 0, done.output
        said[epoch], made[epoch] = done.stderr, without_place(Path(f"{epoch}.jsonl").read_bytes())
        expected = stream.published(values, epoch)[:-1]
        its = of_champion(expected)
        assert len(made[epoch]) == len(expected) == count - 1
        assert [made[epoch][at] for at in its] == [expected[at] for at in its]
        assert (len(its) < count - 1) == (epoch == 2)
        assert f"as of {epoch}: epoch {epoch}, tiny {2 if epoch == 1 else 1} (" in said[epoch]
    ids = [{json.loads(value)["prediction_id"] for value in found} for found in made.values()]
    assert len(ids[0] | ids[1] | ids[2]) == sum(map(len, ids))
    assert [{b'"reasons"' in value for value in found} == {True} for found in made.values()] == [False, True, False]
    assert [("has a canary" in one, "every row" in one) for one in said.values()] == [(False, False)] * 2 + [(True, True)]


@pytest.mark.parametrize(
    ("as_of", "epoch"),
    [
        ("now", 2),
        ("2", 2),
        (1, 1),
        (0, 0),
        (timestamp(FIRST_MS - 1), 0),
        (timestamp(FIRST_MS), 1),
        (datetime.fromtimestamp(SECOND_MS / SECOND, UTC), 2),
        (datetime.fromtimestamp(SECOND_MS / SECOND, UTC).replace(tzinfo=None), 2),
    ],
    ids=str,
)
def test_now_a_time_and_an_epoch_name_an_epoch(begin: Callable[..., Stream], as_of: str | int | datetime, epoch: int) -> None:
    """As `rollout log --at` has it; the time is that of the record that began the epoch."""
    found = champion_as_of(begin(1).settings, as_of)
    assert (found.models.epoch, found.since_ms) == (epoch, (START_MS, FIRST_MS, SECOND_MS)[epoch])


def test_a_tagger_decides_as_the_stream_of_then_also_in_another_process(
    begin: Callable[..., Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records are the stream's; the process that it is sent to asks no broker, and has no bundle of the settings."""
    stream = begin(40)
    values = events(40)[:-1]
    records = [Record(key=None, value=value) for value in values]
    expected = stream.published(values, 1)
    tagger = Tagger(as_of=1, settings=stream.given, environment=False)
    assert (tagger.model.version, tagger.model.epoch, tagger.model.arm) == ("2", "1", "champion")
    packed = pickle.dumps(tagger)
    monkeypatch.setattr(history, "history", None)
    for one in (tagger, pickle.loads(packed)):  # noqa: S301 - our own bytes
        assert [CLOCK.sub(b"", found.records[0].value or b"") for found in one.decide(records)] == expected
    assert str(stream.settings.bundle).encode() not in packed


def test_a_tagger_can_be_made_inside_an_event_loop(begin: Callable[..., Stream]) -> None:
    """Of a notebook, for example; it stays with its bundle, and `now` is the time of its making."""
    stream = begin(1)

    async def made() -> tuple[str | None, str]:
        async with AsyncTagger(as_of="now", settings=stream.given, environment=False) as tagger:
            return tagger.model.epoch, (await tagger.tag("images")).decision.model.version

    assert asyncio.run(made()) == ("2", "1")


def test_a_table_takes_a_batch_of_an_epoch_once(begin: Callable[..., Stream]) -> None:
    """Each row names its epoch; a second run decides none, and a run of another epoch all."""
    stream = begin(20)
    Path("in.jsonl").write_bytes(b"\n".join(events(20)[:-1]))
    kept = []
    for epoch in ("0", "2", "2"):
        done = run(stream, "batch", "in.jsonl", "sqlite:///tags.db", "--as-of", epoch, "--json")
        assert done.exit_code == 0, done.output
        kept.append(json.loads(done.stdout)["kept"])
    assert kept == [0, 0, 19]
    with open_predictions("sqlite:///tags.db", read_only=True) as table:
        own = stream.epochs.models(0).champion.digest
        assert [(row.epoch, row.model_digest) for row in table.of_event("e-1")] == [(0, own), (2, own)]


def test_the_output_of_a_batch_names_its_epoch(begin: Callable[..., Stream]) -> None:
    """So that a run as of now, continued after a change of the model, is refused and not mixed."""
    stream = begin(20)
    Path("in.jsonl").write_bytes(b"\n".join(events(20)))
    first = run(stream, "batch", "in.jsonl", "out.jsonl", "--as-of", "0")
    assert first.exit_code == 0, first.output
    own = stream.epochs.models(0).champion
    assert json.loads(Path("out.jsonl.batch.json").read_bytes())["identity"]["model"] == f"tiny {own.version} {own.digest}"
    other = run(stream, "batch", "in.jsonl", "out.jsonl", "--as-of", "now")
    assert re.search(rf"another model \(tiny .*{own.digest}, now tiny .*{own.digest}@2\).* Next: ", str(other.exception))
    assert getattr(other.exception, "exit_code", None) == 2


def test_classify_says_which_bundle_decides(begin: Callable[..., Stream]) -> None:
    """On standard error, before the answers, which name it too."""
    done = run(begin(1), "classify", "images", "--json", "--as-of", timestamp(FIRST_MS))
    assert done.exit_code == 0, done.output
    assert f"as of {timestamp(FIRST_MS)}: epoch 1, tiny 2 (" in done.stderr
    assert json.loads(done.stdout)["model"]["epoch"] == "1"


@pytest.mark.parametrize("as_of", [True, 1.5])
def test_what_is_no_text_number_or_time_is_a_sentence(begin: Callable[..., Stream], as_of: object) -> None:
    """True is no epoch 1."""
    with pytest.raises(AsOfError, match=rf"as_of is {as_of}, and that is neither now"):
        Tagger(as_of=as_of, settings=begin(1).given, environment=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("as_of", "said", "code"),
    [
        ("9", r"no epoch 9 has begun, and 0, 1, 2 have\. Next: `tagstream rollout log`", 1),
        ("2999-01-01", "has not come yet.* Next: ", 1),
        (timestamp(START_MS - 1), "is not known from the topic.* Next: ", 1),
        ("yesterday", r"'yesterday'.*neither now, an epoch nor a time\. Next: write it as", 2),
    ],
)
def test_what_names_no_epoch_is_a_sentence(begin: Callable[..., Stream], as_of: str, said: str, code: int) -> None:
    """With the next step, and the exit code that the page of stability promises."""
    stream = begin(1)
    with pytest.raises(AsOfError, match=said) as error:
        Tagger(as_of=as_of, settings=stream.given, environment=False)
    assert error.value.exit_code == code
    done = run(stream, "classify", "images", "--as-of", as_of)
    assert re.search(said, str(done.exception))
    assert getattr(done.exception, "exit_code", None) == code


@pytest.mark.parametrize("lost", ["whole", "a file"])
def test_an_epoch_whose_bundle_is_gone_is_a_sentence(begin: Callable[..., Stream], lost: str) -> None:
    """It names bundle, epoch and place; half a bundle is none, and a bundle that was altered is refused by its digest."""
    stream = begin(1)
    folder = Path(stream.settings.rollout.bundles) / stream.epochs.models(1).champion.digest
    shutil.rmtree(folder) if lost == "whole" else (folder / "model.onnx").unlink()
    with pytest.raises(AsOfError, match=rf"epoch 1 .*tiny 2 \({folder.name}\).*{folder.parent}.*Next: store") as error:
        Tagger(as_of=1, settings=stream.given, environment=False)
    assert error.value.exit_code == 1


def test_a_bundle_that_was_altered_in_its_place_decides_nothing(begin: Callable[..., Stream]) -> None:
    """Another bundle under the digest of the champion is refused."""
    stream = begin(1)
    place = Path(stream.settings.rollout.bundles)
    own, new = (stream.epochs.models(epoch).champion.digest for epoch in (0, 1))
    shutil.rmtree(place / new)
    shutil.copytree(place / own, place / new)
    with pytest.raises(AsOfError, match=rf"its digest is {own}, and not {new}"):
        decider_as_of(stream.settings, stream.epochs.models(1))


def test_settings_that_contradict_an_epoch_are_refused(begin: Callable[..., Stream]) -> None:
    """A bundle or a threshold beside it, keyword rules, the group of another stream, and no place of bundles."""
    stream = begin(1)
    with pytest.raises(ValueError, match="leave out bundle, or as_of"):
        Tagger("folder", as_of="now")
    for beside in (("--bundle", "folder"), ("--threshold", "0.9")):
        done = run(stream, "batch", "in.jsonl", "out.jsonl", "--as-of", "now", *beside)
        assert (done.exit_code, "leave one of them out" in done.stderr) == (2, True)
    for given, code in (({"decider": "rules"}, 2), ({"group": "other"}, 1), ({"rollout": {"bundles": ""}}, 1)):
        with pytest.raises(AsOfError, match="Next: ") as error:
            Tagger(as_of="now", settings={**stream.given, **given}, environment=False)
        assert error.value.exit_code == code


def test_without_a_rollout_the_next_step_is_to_leave_as_of_out(
    begin: Callable[..., Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that decided by the bundle of its settings in silence could differ from the stream."""
    stream = begin(1)

    async def empty(_: Settings) -> tuple[list[Entry], Epochs]:
        await asyncio.sleep(0)
        return [], Epochs()

    monkeypatch.setattr(history, "history", empty)
    with pytest.raises(
        AsOfError, match=r"no rollout has begun.*\. Next: leave out --as-of \(in Python as_of\) until the first"
    ):
        Tagger(as_of="now", settings=stream.given, environment=False)


def test_a_log_that_cannot_be_read_is_a_sentence(begin: Callable[..., Stream], monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's own, and nothing is decided by the bundle of the settings instead."""
    stream = begin(1)

    async def later(_: Settings) -> tuple[list[Entry], Epochs]:
        await asyncio.sleep(0)
        msg = "the topic has a record of a later version. Next: run that version."
        raise RolloutRecordError(msg)

    monkeypatch.setattr(history, "history", later)
    done = run(stream, "classify", "images", "--as-of", "now")
    assert (str(done.exception), done.stdout) == ("the topic has a record of a later version. Next: run that version.", "")
    assert getattr(done.exception, "exit_code", None) == 2


def test_brokers_that_are_down_are_a_sentence(tmp_path: Path) -> None:
    """By exit code 3, within the bound."""
    given = {"brokers": "127.0.0.1:1", "startup_timeout_seconds": 1, "rollout": {"bundles": str(tmp_path)}}
    with pytest.raises(AsOfError, match=r"no Kafka broker answered.* Next: ") as error:
        Tagger(as_of="now", settings=given, environment=False)
    assert error.value.exit_code == 3


def test_a_base_installation_names_the_extra_and_decides_what_was_sent(begin: Callable[..., Stream]) -> None:
    """The log is read by a Kafka client; a process that a tagger is sent to needs none."""
    stream = begin(1)
    packed = pickle.dumps(Tagger(as_of=1, settings=stream.given, environment=False))
    program = f"""
import pickle, sys
sys.modules.update(dict.fromkeys({sorted(OF_WORKER)!r}))
print(pickle.loads({packed!r}).tag("images").decision.model.epoch, flush=True)
from tagstream.stream.cli.main import main
sys.argv = ["tagstream", "classify", "images", "--as-of", "now"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, b"1\n"), done.stderr.decode()
    assert re.search(rb"needs the extra `worker`.*Next: .*pip install.*\[worker\]", done.stderr)
    assert b"Traceback" not in done.stderr
