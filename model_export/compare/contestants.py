"""The models of an evaluation (bundles, full-precision networks and simpler rivals) with a common interface."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from tagstream.model_export.bundle.bundle import Bundle, BundleError
from tagstream.model_export.bundle.model import NO_LIMITS, OnnxClassifier, OodLimits, Prediction, limits_in, predict
from tagstream.model_export.calibrate import temperature
from tagstream.model_export.data.madewithml import DataError
from tagstream.model_export.data.row import Row
from tagstream.model_export.measure.speed import Predict
from tagstream.model_export.train import batches, checkpoint
from tagstream.model_export.train.checkpoint import CheckpointError
from tagstream.model_export.train.network import TagNetwork

# The names of the rivals of `baselines` in tables.
RIVALS = {"rules": "keyword rules", "tfidf": "TF-IDF", "frozen head": "frozen head"}
BUNDLE, NETWORK, RIVAL = "bundle", "network", "rival"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """
    One model of an evaluation.

    Attributes:
        name: The unique name of the model in tables.
        kind: `bundle` (int8, as in production), `network` (a checkpoint in full precision) or `rival`.
        labels: The labels of the model. All contestants have the same labels, but each may have its own order.
        predict: Maps texts to predictions.
        asked_below: The confidence below which a person would be asked, by predicted label.
        limits: The limits above which a text is out of distribution; none for a network or a rival.
        megabytes: The size of the model's file; None if the model has no file.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    predict: Predict
    asked_below: Mapping[str, float]
    limits: OodLimits = NO_LIMITS
    megabytes: float | None = None

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Return the predictions of texts. The behaviour suites call this method."""
        return self.predict(texts)


def of_bundle(bundle: Bundle, labels: Collection[str], name: str | None = None) -> Contestant:
    """
    Return a bundle as a contestant, with the same classifier as in production.

    Args:
        bundle: A verified bundle.
        labels: The labels of the rows to measure on.
        name: The name in tables; None: the name and the version in the manifest.

    Raises:
        BundleError: The labels of the bundle differ from `labels`.
    """
    manifest = bundle.manifest
    if set(manifest.labels) != set(labels):
        msg = (
            f"bundle {bundle.path} cannot be measured here: its labels are {', '.join(manifest.labels)}, those of the rows "
            f"{', '.join(sorted(labels))}. Next: give a bundle with these labels."
        )
        raise BundleError(msg)
    return Contestant(
        name=name or f"{manifest.name} {manifest.version}",
        kind=BUNDLE,
        labels=manifest.labels,
        predict=OnnxClassifier(bundle).classify,
        asked_below=asked_below(bundle),
        limits=limits_in(manifest.reference),
        megabytes=round(len(bundle.model) / 1e6, 1),
    )


def of_checkpoint(name: str, path: Path, *, bundle: Bundle, calibration: Sequence[Row]) -> Contestant:
    """
    Return a full-precision network as a contestant. Its temperature is fitted as for a bundle.

    Args:
        name: The name in tables.
        path: The file that `train --checkpoint` wrote.
        bundle: The bundle whose tokenizer and thresholds are used. A checkpoint has no thresholds.
        calibration: The rows for fitting the temperature.

    Raises:
        CheckpointError: The file is not a checkpoint, or its labels or its vocabulary do not fit the bundle.
        CalibrationError: There are no calibration rows.
    """
    network, trained = checkpoint.load(path)
    labels, tokenizer = bundle.manifest.labels, batches.load_tokenizer(bundle.tokenizer, bundle.manifest.max_length)
    if set(trained.labels) != set(labels) or network.shape.vocabulary < tokenizer.get_vocab_size():
        msg = (
            f"{path} cannot be measured beside {bundle.path}: it has labels {', '.join(trained.labels)} and {network.shape.vocabulary} "
            f"words, the bundle {', '.join(labels)} and {tokenizer.get_vocab_size()}. Next: give the network that the bundle is made of, "
            f"or its teacher."
        )
        raise CheckpointError(msg)
    temperature = _temperature(network, tokenizer, trained.labels, calibration)

    def ask(texts: Sequence[str]) -> list[Prediction]:
        encodings = tokenizer.encode_batch(list(texts))
        logits = batches.logits(network, [list(encoding.ids) for encoding in encodings]) if texts else ()
        return [
            predict(
                [float(value) for value in row],
                labels=trained.labels,
                temperature=temperature,
                tokens=len(encoding.ids),
                truncated=bool(encoding.overflowing),
            )
            for row, encoding in zip(logits, encodings, strict=True)
        ]

    return Contestant(
        name=name,
        kind=NETWORK,
        labels=trained.labels,
        predict=ask,
        asked_below=asked_below(bundle),
        megabytes=round(path.stat().st_size / 1e6, 1),
    )


def asked_below(bundle: Bundle) -> dict[str, float]:
    """Return the confidence below which the stream asks a person, by predicted label."""
    return bundle.manifest.asked_below()


def of_rivals(train: Sequence[Row], bundle: Bundle) -> list[Contestant]:
    """
    Return keyword rules, TF-IDF and a frozen head as contestants with the thresholds of the bundle. The training on `train` takes a minute
    or two.

    Raises:
        BaseModelError: The base model of the frozen head is missing.
    """
    from tagstream.model_export.compare import baselines

    labels = bundle.manifest.labels
    return [
        Contestant(
            name=RIVALS.get(name, name),
            kind=RIVAL,
            labels=labels,
            predict=rival,
            asked_below=asked_below(bundle),
        )
        for name, rival in baselines.rivals(train, labels).items()
    ]


def distinct(contestants: Sequence[Contestant]) -> list[Contestant]:
    """
    Return the contestants if their names are distinct.

    Raises:
        DataError: Two contestants have the same name.
    """
    names = [contestant.name for contestant in contestants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = (
            f"two models are called {twice[0]!r}, so that no table could tell them apart. Next: name them: --against "
            f"NAME=FOLDER, --checkpoint NAME=FILE."
        )
        raise DataError(msg)
    return list(contestants)


def _temperature(network: TagNetwork, tokenizer: Tokenizer, labels: Sequence[str], rows: Sequence[Row]) -> float:
    answers = np.array([labels.index(row.tag) for row in rows], dtype=np.int64)
    if not len(rows):
        return temperature.fit_temperature(np.empty((0, len(labels))), answers)
    logits = batches.logits(network, batches.encode(tokenizer, [row.text for row in rows])).double().numpy()
    return temperature.fit_temperature(logits, answers, temperature.level_sources([row.source for row in rows]))
