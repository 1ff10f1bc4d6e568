"""A new head, and a new reader of n-grams, on an encoder that stays as it is: a minute or two where training takes an hour.

What the encoder of a bundle sees is often right where its head is not: the head was fitted together with it, on the labels of that
day. So the int8 file is asked for the vector of every training text, as production would compute it, and logistic regression
draws the lines anew (`train.HeadRecipe`). What stands beside the network, `ngrams`, is learned anew with it, or alone.
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
from model_export.train.tuning import HeadRecipe, examples, fit_head

logger = logging.getLogger(__name__)


def refit_bundle(folder: Path, *, bundle: Bundle, splits: Splits, target: Target, recipe: HeadRecipe | None = None) -> Built:
    """
    Fit a head anew and write the bundle that has it.

    Args:
        folder: Where the new bundle goes.
        bundle: The one whose encoder is kept.
        splits: What `data.load` returned.
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
    fitted = fit_head(heads.embed(bundle.model, train.rows), train, recipe)
    model = heads.with_head(bundle.model, fitted, labels)
    rows = calibration.rows[: assemble.PARITY_ROWS]
    wanted = heads.embed(bundle.model, rows) @ fitted.weight.T + fitted.bias
    compared = assemble.Compared(
        logits=(wanted, found := parity.run(model, rows)),
        # The encoder's own gates were passed when it was exported; what is new here is the head.
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
    """What the new manifest says of its making: the head's recipe and data, and all that the old one said of the encoder's."""
    return {
        "head": asdict(recipe),
        "data": splits.as_record(),
        "encoder": {"bundle": bundle.digest, "parity": bundle.manifest.parity, **bundle.manifest.training},
    }


def teach_ngrams(folder: Path, *, bundle: Bundle, splits: Splits, target: Target) -> Built:
    """
    Keep the network of a bundle with its head, and learn the n-grams beside it anew, or for the first time.

    What was proved of the network when it was exported is kept. How often rounding sends a text through another door is not: it depends on
    the thresholds, and the network that was rounded is gone. Arguments and errors as of `refit_bundle`.
    """
    labels = bundle.manifest.labels
    graph = export.load(bundle.model)
    heads.drop_label_head(graph)
    ngrams.drop(graph)
    model = export.finish(graph, labels)
    tokenizer = batches.load_tokenizer(bundle.tokenizer, target.max_length)
    train, calibration = (examples(tokenizer, rows, labels) for rows in (splits.train, splits.calibration))
    learned = ngrams.learn(model, train=train, calibration=calibration, vocabulary=tokenizer.get_vocab_size())
    # The network's own record says which rows that learned from.
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
