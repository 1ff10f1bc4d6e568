"""What a worker process of a cluster is sent: enough for the same decisions, and nothing secret."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tagstream.model_export.bundle.bundle import BundleError
from tagstream.stream.batch import recipe as module
from tagstream.stream.batch.recipe import DECIDING, PipelineRecipe, recipe_of
from tagstream.stream.contract.event import Record
from tagstream.stream.decide import from_settings
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.settings import Settings
from tests.replacing import replace

SECRET = "the-name-of-a-secret"  # noqa: S105 - looked for, and not found


@pytest.fixture(autouse=True)
def _nothing_is_loaded_yet() -> Iterator[None]:
    """Every test is a process that has just started."""
    module._pipeline.cache_clear()
    yield
    module._pipeline.cache_clear()


@pytest.fixture
def settings(tiny_bundle_folder: Path) -> Settings:
    """Settings with a bundle, a threshold, and things that no worker process needs."""
    return Settings(
        bundle=tiny_bundle_folder,
        confidence_threshold=0.6,
        group=SECRET,
        security={"protocol": "SASL_SSL", "username": SECRET, "password_file": f"/{SECRET}"},
    )


def sent(recipe: PipelineRecipe) -> PipelineRecipe:
    """The recipe as it arrives in another process."""
    arrived = pickle.loads(pickle.dumps(recipe))  # noqa: S301 - our own bytes
    assert isinstance(arrived, PipelineRecipe)
    return arrived


def test_a_recipe_makes_the_pipeline_of_its_settings(settings: Settings) -> None:
    """The pipeline decides as the one that the settings make here, also after the way to another process."""
    records = [Record(key=None, value=msgspec.json.encode({"id": str(at), "title": f"words of {at}"})) for at in range(20)]
    found = sent(recipe_of(settings)).pipeline().publications(records, clock=lambda: 1.0)
    expected = pipeline_of(settings).publications(records, clock=lambda: 1.0)
    assert [one.value for one in found] == [one.value for one in expected]
    assert found[0].value is not None
    assert msgspec.json.decode(found[0].value)["threshold"] == 0.6


def test_every_setting_that_a_pipeline_reads_is_sent(settings: Settings) -> None:
    """A setting that `pipeline_of` reads and the recipe leaves out would make other decisions on a cluster."""
    read: set[str] = set()

    class Noting(Settings):
        def __getattribute__(self, name: str) -> object:
            read.add(name)
            return super().__getattribute__(name)

    pipeline_of(Noting.model_validate(settings.model_dump()))
    asked = read & set(Settings.model_fields)
    # The topic is named in a sentence for people, and decides nothing; rows with columns have the names of the contract.
    assert asked - {"topics", "fields", "contents"} <= set(DECIDING)
    assert {"bundle", "decider", "confidence_threshold", "max_event_bytes"} <= asked


def test_no_user_and_no_file_of_a_password_is_sent(settings: Settings) -> None:
    """The bytes that go to the workers hold none of the settings by which brokers are reached."""
    assert SECRET.encode() not in pickle.dumps(recipe_of(settings))


def test_a_pipeline_is_made_once_in_a_process(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each task of a process gets the same pipeline: a model is not loaded for every task."""
    first, second = sent(recipe_of(settings)), sent(recipe_of(settings))
    made = []
    monkeypatch.setattr(module, "pipeline_of", lambda chosen: made.append(chosen) or pipeline_of(chosen))
    assert first.pipeline() is second.pipeline()
    assert len(made) == 1


def test_another_bundle_on_a_worker_is_refused(settings: Settings) -> None:
    """A worker with another bundle in the same place would answer otherwise: it ends with both names and the next step."""
    recipe = recipe_of(settings)
    other = replace(recipe, model=msgspec.structs.replace(recipe.model, version="another", digest="e" * 64))
    with pytest.raises(BundleError, match=r"another \(e{12}\).*Next: install the same version"):
        sent(other).pipeline()


def test_the_bundle_of_the_package_is_not_sent_as_a_path(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine may have the package in another folder; there it takes the bundle of its own package."""
    monkeypatch.setattr(module, "DEFAULT_BUNDLE", settings.bundle)
    assert "bundle" not in dict(recipe_of(settings).settings)


def test_a_bundle_that_is_refused_is_an_error_before_the_work_begins(settings: Settings, tmp_path: Path) -> None:
    """The program that starts the work says so, not the hundredth worker."""
    with pytest.raises(BundleError):
        recipe_of(settings.model_copy(update={"bundle": tmp_path}))


def test_the_settings_are_those_of_the_environment(tiny_bundle_folder: Path) -> None:
    """Without settings, `TAGSTREAM_*` of the program that starts the work counts."""
    recipe = recipe_of(environ={"TAGSTREAM_BUNDLE": str(tiny_bundle_folder), "TAGSTREAM_CONFIDENCE_THRESHOLD": "0.5"})
    assert dict(recipe.settings)["confidence_threshold"] == 0.5
    assert recipe.model == from_settings.decider_of(Settings(bundle=tiny_bundle_folder)).model
