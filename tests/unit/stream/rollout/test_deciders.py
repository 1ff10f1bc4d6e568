"""The models of a rollout: found by digest, refused with a reason, and chosen for each event by its place."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.depot import Depot
from tagstream.model_export.bundle.model import Classifier, Prediction
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import NeedsReview, Tagged
from tagstream.stream.contract.rollout_records import BundleName, Challenger, Partition
from tagstream.stream.decide.from_settings import pipeline_of, table_of
from tagstream.stream.decide.memory import needed_bytes
from tagstream.stream.decide.pipeline import Decider, Pipeline
from tagstream.stream.rollout import deciders as decided
from tagstream.stream.rollout.deciders import NotReadyError, RolledDeciders, bundle_name
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.settings.settings import Settings
from tests.replacing import replace
from tests.unit.stream.rollout.test_epochs import change, folded, start

ID = "a"
PLACE = Partition(topic="content", topic_id=ID, partition=0)


@pytest.fixture
def settings(tiny_bundle_folder: Path, tmp_path: Path) -> Settings:
    """Settings with a bundle, and a place for others."""
    rollout = Settings().rollout.model_copy(update={"bundles": str(tmp_path / "bundles"), "cache": tmp_path / "cache"})
    return Settings(bundle=tiny_bundle_folder, state_folder=tmp_path, rollout=rollout)


@pytest.fixture
def pipeline(settings: Settings) -> Pipeline:
    """The pipeline of these settings."""
    return pipeline_of(settings)


def stored(settings: Settings, bundle: Bundle, folder: Path, **changes: object) -> BundleName:
    """The bundle with other words in its manifest, where workers find it."""
    manifest = msgspec.structs.replace(bundle.manifest, **changes)
    made = bundles.write(folder, manifest=manifest, model=bundle.model, tokenizer=bundle.tokenizer)
    Depot(settings.rollout.bundles, cache=settings.rollout.cache, cache_bytes=2**30, seconds=20).write(made.path)
    return BundleName(digest=made.digest, name=manifest.name, version=manifest.version)


def rolled(settings: Settings, running: Decider, epochs: Epochs) -> RolledDeciders:
    """The deciders of these epochs."""
    return RolledDeciders(settings, running, epochs, {"content": ID})


def event(offset: int, key: bytes = b"k") -> Record:
    """An event at a place of `content`."""
    return Record(
        key=key, value=b'{"id":"%d","title":"Detecting objects"}' % offset, topic="content", partition=0, offset=offset
    )


def titled(at: int) -> Record:
    """An event whose title has its offset."""
    return replace(event(at), value=b'{"id":"%d","title":"Title %d"}' % (at, at))


def begun(new: BundleName, running: Decider, mark: int, challenger: Challenger | None = None) -> Epochs:
    """The start under one bundle, and an epoch under another from this offset on."""
    first = msgspec.structs.replace(start(PLACE), champion=bundle_name(running))
    plan, close, marks = change(1, {PLACE: mark})
    return folded(first, msgspec.structs.replace(plan, champion=new, challenger=challenger), close, marks)


def test_a_batch_across_a_mark_is_decided_by_both_models(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Each event by the one of its place, in order; the start's decisions name no epoch, so that they are the bytes of before."""
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    before = [one.value for one in pipeline.publications([event(offset) for offset in range(3)], clock=lambda: 1.0)]
    epochs = begun(new, pipeline.decider, mark=3)
    deciders = rolled(settings, pipeline.decider, epochs)
    assert deciders.lacking([("content", 0, 0), ("content", 0, 9)]) == {0, 1}
    for models in epochs.begun():
        deciders.prepare(models)
    assert deciders.lacking([("content", 0, 0), ("content", 0, 9)]) == set()
    pipeline.choose(deciders.decider_of)
    found = pipeline.publications([event(offset) for offset in (5, 0, 3, 1, 2, 4)], clock=lambda: 1.0)
    models = [one.outcome.decision.model for one in found if isinstance(one.outcome, Tagged | NeedsReview)]
    assert [(model.version, model.epoch, model.arm) for model in models] == [
        ("2", "1", "champion"),
        ("1", None, None),
        ("2", "1", "champion"),
        ("1", None, None),
        ("1", None, None),
        ("2", "1", "champion"),
    ]
    assert [found[at].value for at in (1, 3, 4)] == before
    assert b'"epoch":"1","arm":"champion"' in (found[0].value or b"")


def test_all_models_of_a_process_share_the_table_of_texts(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """A new model does not know the texts of the one before, and asks for each of its own once."""
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    epochs = begun(new, pipeline.decider, mark=2)
    deciders = rolled(settings, pipeline.decider, epochs)
    champion, _ = deciders.prepare(epochs.models(1))
    deciders.prepare(epochs.models(0))
    pipeline.choose(deciders.decider_of)
    pipeline.decide([event(offset) for offset in range(4)])
    table = table_of(champion)
    assert table is table_of(pipeline.decider)
    assert table is not None
    assert len(table) == 2


def test_a_challenger_decides_its_keys(settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """And no others; the record says so."""
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    challenger = Challenger(bundle=new, share=0.5, unit="key", salt="s")
    epochs = begun(bundle_name(pipeline.decider), pipeline.decider, 0, challenger)
    deciders = rolled(settings, pipeline.decider, epochs)
    deciders.prepare(epochs.models(1))
    pipeline.choose(deciders.decider_of)
    found = pipeline.publications([event(at, key) for at, key in enumerate((b"a", b"b", b"c", b"d"))])
    arms = [one.outcome.decision.model.arm for one in found if isinstance(one.outcome, Tagged | NeedsReview)]
    assert arms == ["champion", "champion", "challenger", "challenger"]


def test_a_bundle_that_cannot_be_had_or_fits_not_is_refused(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Each with its reason, and the running one goes on."""
    epochs = folded(msgspec.structs.replace(start(PLACE), champion=bundle_name(pipeline.decider)))
    deciders = rolled(settings, pipeline.decider, epochs)
    deciders.prepare(epochs.models(0))
    missing = BundleName(digest="f" * 64, name="b", version="9")
    with pytest.raises(NotReadyError, match=r"ffff.*Next:"):
        deciders.prepare(Models(epoch=1, champion=missing))
    unset = settings.model_copy(update={"rollout": settings.rollout.model_copy(update={"bundles": ""})})
    with pytest.raises(NotReadyError, match=r"rollout.bundles is not set.*Next:"):
        rolled(unset, pipeline.decider, epochs).prepare(Models(epoch=1, champion=missing))
    other = replace(pipeline.decider, classifier=Renamed())
    name = stored(settings, tiny_bundle, tmp_path / "labels", version="3")
    with pytest.raises(NotReadyError, match=r"has the labels .*Next:"):
        rolled(settings, other, epochs).prepare(Models(epoch=1, champion=name))
    assert deciders.lacking([("content", 0, 0)]) == set()


def test_a_bundle_for_which_there_is_no_memory_is_refused_before_it_is_loaded(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan, and not what decides; one that shares its network with the running one needs no more than to be read."""
    running = replace(pipeline.decider, bundle=None)
    deciders = rolled(settings, running, folded(msgspec.structs.replace(start(PLACE), champion=bundle_name(running))))
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    size = sum(file.stat().st_size for file in (tmp_path / "new").iterdir())
    monkeypatch.setattr(decided, "load_decider", None)
    for free in (size - 1, needed_bytes(size, settings.inference_threads) - 1):
        monkeypatch.setattr(decided, "free_bytes", lambda free=free: free)
        with pytest.raises(NotReadyError, match=rf"{new.digest[:12]}.*MiB.*Next:.*memory"):
            deciders.prepare(Models(epoch=1, champion=new), bounded=True)
    monkeypatch.undo()
    monkeypatch.setattr(decided, "free_bytes", lambda: size)
    deciders.prepare(Models(epoch=1, champion=new))
    shared = rolled(settings, pipeline.decider, folded())
    shared.prepare(Models(epoch=1, champion=new), bounded=True)


class Renamed:
    """A classifier with labels of its own."""

    labels = ("a", "b")

    def classify(self, texts: object) -> list[object]:
        """Of no use here."""
        raise NotImplementedError(texts)


def test_models_of_the_past_are_let_go_and_loaded_again(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """An event that is read again from an old epoch finds its model, and a long rollout takes no more memory than a few of them."""
    names = [stored(settings, tiny_bundle, tmp_path / str(number), version=str(number + 2)) for number in range(6)]
    records = [msgspec.structs.replace(start(PLACE), champion=bundle_name(pipeline.decider))]
    for number, name in enumerate(names, 1):
        plan, close, marks = change(number, {PLACE: number * 10})
        records += [msgspec.structs.replace(plan, champion=name), close, marks]  # type: ignore[arg-type]
    epochs = folded(*records)
    deciders = rolled(settings, pipeline.decider, epochs)
    for models in epochs.begun():
        deciders.prepare(models)
        assert len(deciders._loaded) <= 5
    assert 1 in deciders.lacking([("content", 0, 15)])
    deciders.prepare(epochs.models(1))
    pipeline.choose(deciders.decider_of)
    (found,) = pipeline.publications([event(15)])
    assert isinstance(found.outcome, Tagged | NeedsReview)
    assert found.outcome.decision.model.digest == names[0].digest


class Raising:
    """A classifier that raises for some texts, or for all."""

    def __init__(self, inner: Classifier, word: str) -> None:
        """Raise for texts with this word."""
        self._inner, self._word = inner, word
        self.labels = inner.labels
        self.calls = 0

    def classify(self, texts: Sequence[str]) -> Sequence[Prediction]:
        """As the inner one, if it does not raise."""
        self.calls += 1
        if any(self._word in text for text in texts):
            raise ValueError(self._word)
        return self._inner.classify(texts)


@pytest.mark.parametrize(
    ("word", "arms"), [("4", ["challenger"] * 3 + ["fallback"] + ["challenger"] * 2), ("", ["fallback"] * 6)]
)
def test_the_champion_decides_what_its_challenger_cannot(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path, word: str, arms: list[str]
) -> None:
    """One text for which it raises, or all of them: no event is refused, and the record says so."""
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    epochs = begun(bundle_name(pipeline.decider), pipeline.decider, 0, Challenger(bundle=new, share=1, unit="id", salt="s"))
    deciders = rolled(settings, pipeline.decider, epochs)
    _, challenger = deciders.prepare(epochs.models(1))
    assert challenger is not None
    broken = replace(challenger, classifier=Raising(challenger.classifier, word))
    pipeline.choose(lambda _: broken)
    found = pipeline.decide([titled(at) for at in range(1, 7)])
    models = [one.decision.model for one in found if isinstance(one, Tagged | NeedsReview)]
    assert [model.arm for model in models] == arms
    assert {model.version for model in models if model.arm == "fallback"} == {"1"}


@pytest.mark.parametrize("events", [16, 256])
def test_a_challenger_that_fails_on_every_event_does_not_hold_the_stream(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path, events: int
) -> None:
    """It decides its probe, and of a batch of any size the first few texts are tried alone."""
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    epochs = begun(bundle_name(pipeline.decider), pipeline.decider, 0, Challenger(bundle=new, share=1, unit="id", salt="s"))
    _, challenger = rolled(settings, pipeline.decider, epochs).prepare(epochs.models(1))
    assert challenger is not None
    raising = Raising(challenger.classifier, "Title")
    failing = replace(challenger, classifier=raising)
    pipeline.choose(lambda _: failing)
    found = pipeline.decide([titled(at) for at in range(events)])
    assert {one.decision.model.arm for one in found if isinstance(one, Tagged | NeedsReview)} == {"fallback"}
    assert len(found) == events
    assert raising.calls < 40


def decided_by(pipeline: Pipeline, offset: int) -> tuple[str, str | None]:
    """Version and arm of the model that decides the event at this offset."""
    decider = pipeline.decider_for(event(offset))
    assert decider is not None
    return decider.model.version, decider.model.arm


def test_an_event_that_has_ended_a_process_is_not_given_to_the_challenger_again(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """The champion stands in; the other events stay the challenger's."""
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    epochs = begun(bundle_name(pipeline.decider), pipeline.decider, 0, Challenger(bundle=new, share=1, unit="id", salt="s"))
    deciders = rolled(settings, pipeline.decider, epochs)
    champion, _ = deciders.prepare(epochs.models(1))
    pipeline.choose(deciders.decider_of)
    pipeline.replace(champion)
    assert decided_by(pipeline, 3) == ("2", "challenger")
    pipeline.distrust(event(3))
    assert decided_by(pipeline, 3) == (champion.model.version, "fallback")
    found = pipeline.decide([event(at) for at in (2, 3, 4)])
    arms = [one.decision.model.arm for one in found if isinstance(one, Tagged | NeedsReview)]
    assert arms == ["challenger", "fallback", "challenger"]


def test_an_epoch_that_asks_people_publishes_nothing_of_the_model(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """The threshold in the records is the one that means always."""
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    champion, _ = rolled(settings, pipeline.decider, Epochs()).prepare(Models(epoch=1, champion=new, asks_people=True))
    pipeline.replace(champion)
    (found,) = pipeline.decide([event(1)])
    assert isinstance(found, NeedsReview)
    assert found.decision.threshold > 1


def test_one_threshold_for_two_models_is_refused(
    settings: Settings, pipeline: Pipeline, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Their comparison would be of something that neither bundle promises."""
    new = stored(settings, tiny_bundle, tmp_path / "new", version="2")
    models = Models(epoch=1, champion=new, challenger=Challenger(bundle=new, share=0.5, unit="key", salt="s"))
    one = settings.model_copy(update={"confidence_threshold": 0.9})
    with pytest.raises(NotReadyError, match=r"confidence_threshold = 0.9 .*Next:"):
        rolled(one, pipeline.decider, Epochs()).prepare(models)
