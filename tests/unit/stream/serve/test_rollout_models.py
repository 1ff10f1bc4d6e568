"""A service under a rollout: what it says where the topic is not there any more."""

import asyncio
from pathlib import Path

import pytest

from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.rollout.deciders import NotReadyError, bundle_name
from tagstream.stream.rollout.epochs import Models
from tagstream.stream.serve import rollout_models
from tagstream.stream.serve.rollout_models import ServeRollout
from tagstream.stream.settings.settings import Settings


def test_a_topic_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch, tiny_bundle_folder: Path) -> None:
    """Without a rollout all is well; once one decides here, the stream may have gone on to another model."""
    monkeypatch.setattr(rollout_models, "rollout_topic", lambda _: None)
    settings = Settings(bundle=tiny_bundle_folder)
    pipeline = pipeline_of(settings)
    found = ServeRollout(settings, pipeline, decides_by=lambda _: None)
    asyncio.run(found._follow())
    assert found.unknown is None
    found._models = Models(epoch=3, champion=bundle_name(pipeline.decider))
    with pytest.raises(NotReadyError, match=r"is not there any more.*Next:"):
        asyncio.run(found._follow())
