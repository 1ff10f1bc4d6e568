"""`tagstream model`: the verbs of `model_export`, with the stream's own classifier and a person at the terminal."""

import importlib.util
import logging
import sys
from pathlib import Path

import msgspec

from model_export import commands, madewithml, suites
from model_export.bundle import Bundle
from stream import logs, view
from stream.classifier import OnnxClassifier
from stream.settings import Settings


class ExtraMissingError(Exception):
    """The command needs packages that a worker does not: the message says how to get them."""

    exit_code = 2


def train(settings: Settings, *, folder: Path, checkpoint: Path | None, precision: float, corpus_only: bool) -> None:
    """Train and write a bundle; prints its figures."""
    _require_export()
    logs.configure(level="info", form="console")
    logging.getLogger("onnx_ir").setLevel(logging.WARNING)
    made = commands.train(
        folder,
        load=OnnxClassifier,
        data_folder=None if corpus_only else data_folder(settings),
        target_precision=precision,
        checkpoint=checkpoint,
    )
    if corpus_only:
        view.talk("trained on the authored corpus alone: Made With ML's rows were left out as told")
    view.show(made.render())


def export(settings: Settings, *, checkpoint: Path, folder: Path, precision: float) -> None:
    """Make a bundle of a checkpoint; prints its figures."""
    _require_export()
    logs.configure(level="info", form="console")
    logging.getLogger("onnx_ir").setLevel(logging.WARNING)
    made = commands.export(
        folder, checkpoint=checkpoint, load=OnnxClassifier, data_folder=data_folder(settings), target_precision=precision
    )
    view.show(made.render())


def refit(settings: Settings, *, folder: Path, precision: float) -> None:
    """Fit a new head on the encoder of the settings' bundle; prints the figures of the bundle that is written."""
    _require_export()
    logs.configure(level="info", form="console")
    made = commands.refit(
        folder,
        source=settings.bundle,
        load=OnnxClassifier,
        data_folder=data_folder(settings),
        target_precision=precision,
    )
    view.show(made.render())


def calibrate(settings: Settings, *, folder: Path, precision: float) -> None:
    """Make the promises of the settings' bundle anew; prints the figures of the bundle that is written."""
    _require_export()
    logs.configure(level="info", form="console")
    made = commands.calibrate(
        folder,
        source=settings.bundle,
        load=OnnxClassifier,
        data_folder=data_folder(settings),
        target_precision=precision,
    )
    view.show(made.render())


def evaluate(settings: Settings, *, baselines: bool, as_json: bool) -> None:
    """Measure a bundle on rows that it never saw, and ask it the behaviour suites; with `baselines`, its simpler rivals too."""
    _require_export()
    found = commands.evaluate_bundle(settings.bundle, load=OnnxClassifier, data_folder=data_folder(settings))
    evaluations = found.evaluations
    if baselines:
        thresholds = commands.inspect(settings.bundle).manifest.asked_below()
        evaluations |= commands.compare(data_folder=data_folder(settings), thresholds=thresholds)
    for part, evaluation in evaluations.items():
        if as_json:
            sys.stdout.buffer.write(msgspec.json.encode({"part": part, **evaluation.as_json()}) + b"\n")
        else:
            view.show(evaluation.render(part))
    if found.gate is not None and as_json:
        sys.stdout.buffer.write(msgspec.json.encode({"part": "out_of_distribution", **found.gate.as_json()}) + b"\n")
    elif found.gate is not None:
        view.show(found.gate.render())
    behaviour = commands.behaviour(settings.bundle, load=OnnxClassifier)
    if as_json:
        for report in behaviour:
            sys.stdout.buffer.write(msgspec.json.encode(report.as_json()) + b"\n")
    else:
        view.show(suites.render(behaviour))


def verify(settings: Settings, *, as_json: bool) -> None:
    """Every check of a bundle; an exception says what is wrong."""
    verified = commands.verify(settings.bundle, load=OnnxClassifier)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(verified) + b"\n")
        return
    view.show(f"{settings.bundle}: verified, digest {verified.digest}")
    view.show(
        f"{verified.model_bytes / 1e6:.1f} MB, labels {', '.join(verified.labels)}; {verified.golden_texts} golden texts agree; "
        "no prediction depends on its batch"
    )


def inspect(settings: Settings, *, as_json: bool) -> None:
    """What a bundle says of itself."""
    bundle: Bundle = commands.inspect(settings.bundle)
    shown = {"digest": bundle.digest, **msgspec.to_builtins(bundle.manifest)}
    text = msgspec.json.encode(shown)
    view.show((text if as_json else msgspec.json.format(text, indent=2)).decode())
    for label, threshold in bundle.manifest.thresholds.items():
        view.talk(threshold.sentence(label))


def data_folder(settings: Settings) -> Path:
    """The folder with Made With ML's files: the settings', else a checked download that is kept."""
    return settings.data if settings.data is not None else madewithml.download()


def _require_export() -> None:
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("sklearn") is None:
        msg = "this command needs PyTorch and scikit-learn, which a worker does not. Next: pip install 'tagstream[export]'."
        raise ExtraMissingError(msg)
