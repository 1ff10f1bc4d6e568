"""A new head, and a new reader of n-grams, on an encoder that stays: minutes where training takes an hour.

An encoder often outlives its head, which was fitted to the labels of its day. The int8 file gives the vector of every
training text, as production computes it, and logistic regression fits a head to them (`head.HeadRecipe`). The n-grams
beside the network are learned anew too, or alone.
"""

import logging
from dataclasses import asdict, replace
from pathlib import Path

from model_export.bundle.bundle import Bundle
from model_export.data.splits import Splits
from model_export.make import assemble
from model_export.make.assemble import Built, Target
from model_export.onnx import export, heads, ngrams, parity
from model_export.train import batches
from model_export.train.checkpoint import Trained
from model_export.train.head import HeadRecipe, fit_head
from model_export.train.lessons import examples

logger = logging.getLogger(__name__)


def refit_bundle(folder: Path, *, bundle: Bundle, splits: Splits, target: Target, recipe: HeadRecipe | None = None) -> Built:
    """
    Fit a head anew and write the bundle that has it.

    Args:
        folder: Where the new bundle goes.
        bundle: The one whose encoder is kept.
        splits: The rows, from `splits.load`.
        target: The new bundle's name and promise.
        recipe: Every number of the procedure.

    Raises:
        HeadError: The bundle's file has another head than `quantize` writes.
        ParityError: The head in seven bits is not the one that was fitted, or predictions depend on their batch.
        CalibrationError: The promise cannot be kept on the calibration rows.
    """
    recipe = recipe or HeadRecipe()
    labels = bundle.manifest.labels
    tokenizer = batches.load_tokenizer(bundle.tokenizer, target.max_length)
    train, calibration = (examples(tokenizer, rows, labels) for rows in (splits.train, splits.calibration))
    fitted = fit_head(heads.embed(bundle.model, train.rows), train, recipe, len(labels))
    model = heads.with_head(bundle.model, fitted, labels)
    rows = calibration.rows[: assemble.PARITY_ROWS]
    wanted = heads.embed(bundle.model, rows) @ fitted.weight.T + fitted.bias
    compared = assemble.Compared(
        logits=(wanted, found := parity.run(model, rows)),
        # The encoder passed its own gates when it was exported; only the head is new.
        export=parity.Difference(**bundle.manifest.parity["export"]),
        quantisation=parity.check_quantised(wanted, found, target.limits),
    )
    learned = ngrams.learn(model, train=train, calibration=calibration, vocabulary=tokenizer.get_vocab_size())
    return assemble.finish(
        folder,
        model=ngrams.add(model, learned, labels),
        compared=compared,
        trained=Trained(labels=labels, record=ngrams.recorded(record(bundle, splits, recipe), learned)),
        tokenizer=tokenizer,
        splits=splits,
        target=target,
    )


def record(bundle: Bundle, splits: Splits, recipe: HeadRecipe) -> dict[str, object]:
    """The training record of the new manifest: the head's recipe and data, and the old manifest's record of the encoder."""
    return {
        "head": asdict(recipe),
        "data": splits.as_record(),
        "encoder": {"bundle": bundle.digest, "parity": bundle.manifest.parity, **bundle.manifest.training},
    }


def teach_ngrams(folder: Path, *, bundle: Bundle, splits: Splits, target: Target) -> Built:
    """
    Keep the network of a bundle with its head, and learn the n-grams beside it anew, or for the first time.

    The proofs from the network's export are kept, but for the share of texts that rounding sends to another topic: it
    depends on the thresholds, and the network before rounding is gone. Arguments and errors as of `refit_bundle`.
    """
    labels = bundle.manifest.labels
    graph = export.load(bundle.model)
    heads.drop_label_head(graph)
    ngrams.drop(graph)
    model = export.finish(graph, labels)
    tokenizer = batches.load_tokenizer(bundle.tokenizer, target.max_length)
    train, calibration = (examples(tokenizer, rows, labels) for rows in (splits.train, splits.calibration))
    learned = ngrams.learn(model, train=train, calibration=calibration, vocabulary=tokenizer.get_vocab_size())
    # The rows of the network itself stand in its own record.
    learned = replace(learned, record=learned.record | {"data": splits.as_record()})
    compared = assemble.Compared(
        logits=None,
        export=parity.Difference(**bundle.manifest.parity["export"]),
        quantisation=parity.Difference(**bundle.manifest.parity["quantised"]),
    )
    return assemble.finish(
        folder,
        model=ngrams.add(model, learned, labels),
        compared=compared,
        trained=Trained(labels=labels, record=ngrams.recorded(bundle.manifest.training, learned)),
        tokenizer=tokenizer,
        splits=splits,
        target=target,
    )
