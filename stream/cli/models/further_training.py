"""`tagstream model train --from`: makes a bundle with the encoder of an existing bundle, and trains the rest again on today's rows."""

from pathlib import Path
from typing import TYPE_CHECKING

from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.models.train_options import TrainOptions
from tagstream.stream.cli.options import settings
from tagstream.stream.terminal import console

if TYPE_CHECKING:
    from tagstream.model_export.bundle.bundle import Bundle
    from tagstream.model_export.data.splits import Splits
    from tagstream.model_export.make.strangers import Strangers


def train_further(options: TrainOptions, begun: Path) -> None:
    """
    Fit a bundle's head and n-grams to today's labelled rows.

    Args:
        options: The options of the training, without a file of the user's own rows.
        begun: The bundle whose encoder is kept.

    Raises:
        BundleError: The bundle is missing or cannot be used.
        ExtraMissingError: PyTorch or scikit-learn is not installed.
        DataError: The rows cannot be read.
        ParityError: A gate refuses the network.
    """
    from tagstream.model_export.bundle import bundle
    from tagstream.stream.cli.models import needs

    chosen = settings(data=options.data, bundle=begun)
    if options.layers is not None:
        fail("--from keeps the encoder and its layers. Next: leave out --layers, or --from.", EXIT_USAGE)
    if options.work is not None:
        fail("--from takes minutes, and keeps nothing of a stopped training. Next: leave out --work.", EXIT_USAGE)
    kept = bundle.read(chosen.bundle)
    needs.note_replaced(options.folder)
    needs.require_export(level="info")
    from tagstream.model_export.data import splits
    from tagstream.model_export.make import recipe, steps

    rows = splits.load(needs.data_folder(chosen), answers_file=options.answers, real_folder=chosen.real)
    of = recipe.refitted(
        kept,
        rows,
        options.promise.asked(),
        keep_head=options.keep_head,
        multilabel=options.multilabel,
        strangers=_new_gate(kept, rows, chosen.real),
    )
    console.show(steps.make(options.folder, options.named.on(of)).as_text())


def _new_gate(kept: "Bundle", rows: "Splits", real: Path | None) -> "Strangers | None":
    """
    Return the texts from which a new gate learns.

    The result is None if the bundle has a gate and there are no real texts: a gate trained on the project's own texts would be weaker.

    Args:
        kept: The bundle whose encoder is kept.
        rows: The project's own rows.
        real: The folder with real texts; None if the settings name none.
    """
    from tagstream.model_export.bundle.model import limits_in
    from tagstream.model_export.make import strangers

    has_one = limits_in(kept.manifest.reference).strangeness is not None
    return None if real is None and has_one else strangers.of_shipped(rows, real)
