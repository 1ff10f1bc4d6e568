"""How a worker process of a cluster makes its pipeline: what the program that starts the work sends to it.

Only the settings that a pipeline reads are sent, none of which is a secret; a worker process reads no setting of its own machine.
A pipeline is made once in each process. It is made there, not sent, since a loaded network cannot be.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, BundleError
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.decide.from_settings import decider_of, pipeline_of
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings

# All that `pipeline_of` reads.
DECIDING = (
    "bundle",
    "decider",
    "rules",
    "confidence_threshold",
    "model_attempts",
    # No decision depends on it, but a process that must be small must be so there too.
    "repeats_bytes",
    "max_event_bytes",
    "max_outcome_bytes",
    "max_dead_letter_bytes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRecipe:
    """
    What makes the same pipeline in every process. It can be pickled, and has a hash.

    Attributes:
        settings: Values of settings by name; no bundle means the one that lies in the package, wherever that is installed.
        model: The model that must be found there.
    """

    settings: tuple[tuple[str, Any], ...]
    model: ModelRef

    def pipeline(self) -> Pipeline:
        """
        This process's pipeline: made at the first call, and the same one at every later call.

        Raises:
            BundleError: The bundle is refused, or is another one than the recipe's.
        """
        return _pipeline(self)


def recipe_of(settings: Settings | None = None, *, environ: Mapping[str, str] = os.environ) -> PipelineRecipe:
    """
    The recipe of these settings; without any, of the environment and of `tagstream.toml`.

    The model is loaded once here, so that a bundle that is refused is an error before any work is handed out.

    Raises:
        SettingsError: A setting cannot be used.
        BundleError: The bundle is refused.
    """
    chosen = load(environ).settings if settings is None else settings
    values = {name: getattr(chosen, name) for name in DECIDING}
    if chosen.bundle == DEFAULT_BUNDLE:
        del values["bundle"]
    return PipelineRecipe(settings=tuple(values.items()), model=decider_of(chosen).model)


@cache
def _pipeline(recipe: PipelineRecipe) -> Pipeline:
    settings = Settings.model_validate(dict(recipe.settings))
    pipeline = pipeline_of(settings)
    found, expected = pipeline.decider.model, recipe.model
    # Not the arithmetic: it belongs to the machine, and a decision names it.
    if (found.name, found.version, found.digest) != (expected.name, expected.version, expected.digest):
        msg = (
            f"the bundle {settings.bundle} of this worker process is {found.name} {found.version} ({found.digest[:12]}); the program "
            f"that started the work has {expected.name} {expected.version} ({expected.digest[:12]}). Next: install the same version of "
            f"tagstream, or the same bundle folder, on every machine."
        )
        raise BundleError(msg)
    return pipeline
