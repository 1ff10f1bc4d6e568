"""A network as the file of a bundle: the sources of a network, and the distance of the file from the trained network."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tokenizers import Tokenizer

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import Manifest
from tagstream.model_export.bundle.model import Prediction, limits_in, predict
from tagstream.model_export.calibrate.temperature import Floats
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.onnx import export, heads, ngrams, operators, parity, quantize
from tagstream.model_export.train import base_model, batches, checkpoint
from tagstream.model_export.train.checkpoint import Trained
from tagstream.model_export.train.examples import examples
from tagstream.model_export.train.head import HeadRecipe, fit_head
from tagstream.model_export.train.network import TagNetwork
from tagstream.model_export.train.work import Work

logger = logging.getLogger(__name__)

PARITY_ROWS = 256
INVARIANCE_SEED = 11
QUANTISE_SEED = 11
# The entry of `training` in a manifest with the origin of a network that was trained elsewhere.
IMPORTED = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """
    Logits of calibration rows by networks that have not seen the rows' labels, for a bundle whose own network has seen them.

    Attributes:
        logits: The logits, [rows, labels].
        tokens: By row, the number of tokens that the network reads.
        truncated: By row, whether the text has more tokens.
        unfamiliar: By row, the share of its words, 0 to 1, that do not occur in the training texts of the row's network.
    """

    logits: Floats
    tokens: Sequence[int]
    truncated: Sequence[bool]
    unfamiliar: Sequence[float]

    def predictions(self, labels: Sequence[str], temperature: float, offsets: Sequence[float] = ()) -> list[Prediction]:
        """
        Return the predictions of a bundle with this temperature and these offsets.

        Args:
            labels: The bundle's labels, in its order.
            temperature: The divisor of the logits, over 0.
            offsets: The offsets of a prior, one for each label; added to the divided logits.
        """
        return [
            predict(
                logits.tolist(),
                labels=labels,
                temperature=temperature,
                offsets=offsets,
                tokens=tokens,
                truncated=truncated,
                unfamiliar=unfamiliar,
            )
            for logits, tokens, truncated, unfamiliar in zip(
                self.logits, self.tokens, self.truncated, self.unfamiliar, strict=True
            )
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """
    The distances between a trained network, its float32 file and its int8 file.

    Attributes:
        logits: The logits of the float32 and of the int8 file for the same rows, each [rows, labels]. None if only the int8 file is left:
            then the effect of rounding at another threshold cannot be measured.
        export: The distance between the trained network and the float32 file.
        quantisation: The distance between the float32 file and the int8 file.
    """

    logits: tuple[Floats, Floats] | None
    export: parity.Difference
    quantisation: parity.Difference


def compared_before(manifest: Manifest) -> Compared:
    """Return the distances that were measured when the network of this bundle was exported."""
    return Compared(
        logits=None,
        export=parity.Difference(**manifest.parity["export"]),
        quantisation=parity.Difference(**manifest.parity["quantised"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondHead:
    """
    The network's file with a second head.

    Attributes:
        model: The file.
        training: The record of how the head was fitted.
        thresholds: By label, the threshold in the bundle that the head comes from, 0 to 1; None for a new head.
    """

    model: bytes
    training: dict[str, Any]
    thresholds: dict[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """
    A network that is ready to calibrate.

    Attributes:
        model: The network's file, with the first head only.
        tokenizer: The network's tokenizer, which truncates at `max_length` tokens.
        trained: The network's labels and the record of its training.
        compared: The distance of the file from the trained network.
        rows: The rows in their parts: the rows that the network has learned from, and the rows to calibrate on.
        out_of_fold: Other networks' logits of the calibration rows; None if this network has not learned from these rows.
        second_head: The network's second head; None without a second head.
        max_length: The longest text, in tokens.
        alone: The network reads one text at a time; see `Manifest`.
        strangeness_limit: The limit of the strangeness gate that came with the file from another bundle; None without a gate.
    """

    model: bytes
    tokenizer: Tokenizer
    trained: Trained
    compared: Compared
    rows: Splits
    out_of_fold: OutOfFold | None = None
    second_head: SecondHead | None = None
    max_length: int = batches.MAX_LENGTH
    alone: bool = False
    strangeness_limit: float | None = None


class NetworkSource(Protocol):
    """The source of a network, as a plain value: source and rows together identify the kept stages of a stopped training."""

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Return the network.

        Args:
            rows: The rows that the network may learn from.
            limits: The limits of the gates.
            work: Keeps finished stages, and is told their progress.

        Raises:
            ParityError: A gate refuses the network.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The file of a network that was trained before, in full precision."""

    path: Path

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Export the network. Arguments are those of `NetworkSource.network`.

        Raises:
            CheckpointError: The file is not a checkpoint.
            ParityError: As `exported`.
        """
        del work
        network, trained = checkpoint.load(self.path)
        return exported(network, trained, base_model.load().tokenizer, rows, limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHead:
    """
    The encoder of a bundle, with a new head and a new reader of n-grams. This takes minutes; training takes an hour.

    An encoder often stays useful longer than its head, which was fitted to earlier labels. The int8 file gives the vector of every
    training text, as production computes it, and logistic regression fits a head to these vectors.
    """

    bundle: Bundle
    head: HeadRecipe

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Fit the head and the reader. Arguments are those of `NetworkSource.network`.

        Raises:
            HeadError: The head in the bundle's file is not one that `quantize` writes.
            ParityError: The head in seven bits differs too much from the fitted head.
        """
        del work
        old, labels = self.bundle.manifest, self.bundle.manifest.labels
        tokenizer = batches.load_tokenizer(self.bundle.tokenizer)
        train, calibration = (examples(tokenizer, part, labels) for part in (rows.train, rows.calibration))
        fitted = fit_head(heads.embed(self.bundle.model, train.rows), train, self.head, len(labels))
        model = heads.with_head(self.bundle.model, fitted, labels)
        first = calibration.rows[:PARITY_ROWS]
        exact = heads.embed(self.bundle.model, first) @ fitted.weight.T + fitted.bias
        compared = Compared(
            logits=(exact, found := parity.run(model, first)),
            # The encoder passed the gates when it was exported; only the head is new.
            export=compared_before(old).export,
            quantisation=parity.check_quantised(exact, found, limits),
        )
        learned = ngrams.learn(model, train=train, calibration=calibration, vocabulary=tokenizer.get_vocab_size())
        record: dict[str, object] = {
            "head": asdict(self.head),
            "data": rows.as_record(),
            "encoder": {"bundle": self.bundle.digest, "parity": old.parity, **old.training},
        }
        return Network(
            model=ngrams.add(model, learned, labels),
            tokenizer=tokenizer,
            trained=Trained(labels=labels, record=ngrams.recorded(record, learned)),
            compared=compared,
            rows=rows,
            strangeness_limit=limits_in(old.reference).strangeness,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNgrams:
    """
    The network and the head of a bundle, with a new reader of n-grams.

    The proofs from the network's export are kept, except the share of texts that rounding sends to another topic. This share depends on
    the thresholds, and cannot be measured again, because the network before rounding is gone.
    """

    bundle: Bundle

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """Fit the reader, and choose its share on the calibration rows. Arguments are those of `NetworkSource.network`."""
        del limits, work
        labels = self.bundle.manifest.labels
        graph = export.load(self.bundle.model)
        heads.drop_label_head(graph)
        ngrams.drop(graph)
        model = export.finish(graph, labels)
        tokenizer = batches.load_tokenizer(self.bundle.tokenizer)
        train, calibration = (examples(tokenizer, part, labels) for part in (rows.train, rows.calibration))
        learned = ngrams.learn(model, train=train, calibration=calibration, vocabulary=tokenizer.get_vocab_size())
        # The record of the network names the network's own rows.
        learned = replace(learned, record=learned.record | {"data": rows.as_record()})
        return Network(
            model=ngrams.add(model, learned, labels),
            tokenizer=tokenizer,
            trained=Trained(labels=labels, record=ngrams.recorded(self.bundle.manifest.training, learned)),
            compared=compared_before(self.bundle.manifest),
            rows=rows,
            strangeness_limit=limits_in(self.bundle.manifest.reference).strangeness,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SameNetwork:
    """
    The network of a bundle, to be calibrated anew. Weights, tokenizer and second head do not change.

    A network with older operators gets the operators of `operators`: with them, decisions depend neither on the width of the processor nor
    on the padding of a text. An imported network keeps its form, which has passed the checks. The proofs are kept as by `NewNgrams`.
    """

    bundle: Bundle

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Return the bundle's network. Arguments are those of `NetworkSource.network`.

        Raises:
            ParityError: The new operators change too many labels.
        """
        del work
        old = self.bundle.manifest
        tokenizer = batches.load_tokenizer(self.bundle.tokenizer, old.max_length)
        imported = IMPORTED in old.training
        model, second = self.bundle.model if imported else operators.rewrite(self.bundle.model, old.labels), None
        if model != self.bundle.model:
            texts = batches.encode(tokenizer, [row.text for row in rows.calibration])
            found = parity.check_quantised(parity.run(self.bundle.model, texts), parity.run(model, texts), limits)
            logger.info(
                "operators_rewritten agreement=%s max_logit=%s mean_logit=%s",
                found.agreement,
                found.max_logit,
                found.mean_logit,
            )
        if old.multilabel is not None:
            second = SecondHead(model=model, training=old.multilabel.training, thresholds=old.multilabel.thresholds)
            model = heads.without_label_head(model, old.labels)
        record = {**old.training, "calibrated": {"bundle": self.bundle.digest, "data": rows.as_record()}}
        return Network(
            model=model,
            tokenizer=tokenizer,
            trained=Trained(labels=old.labels, record=record),
            compared=compared_before(old),
            rows=rows,
            second_head=second,
            max_length=old.max_length,
            alone=old.alone,
            strangeness_limit=limits_in(old.reference).strangeness,
        )


def exported(network: TagNetwork, trained: Trained, tokenizer: bytes, rows: Splits, limits: parity.GateLimits) -> Network:
    """
    Export a trained network to an int8 file, and add a reader of n-grams.

    Args:
        network: The trained network.
        trained: The network's labels and the record of its training.
        tokenizer: The tokenizer file of the base model.
        rows: Training rows to measure activations on, and calibration rows.
        limits: The limits of the gates.

    Raises:
        ParityError: The logits of the file differ too much from the trained network's.
        ExportError: A bundle may not hold the graph.
    """
    own = batches.load_tokenizer(tokenizer)
    files = two_files(network, own_rows(rows.train, own), trained.labels)
    train, calibration = (examples(own, part, trained.labels) for part in (rows.train, rows.calibration))
    learned = ngrams.learn(files.quantised, train=train, calibration=calibration, vocabulary=own.get_vocab_size())
    plain, quantised = (ngrams.add(model, learned, trained.labels) for model in (files.plain, files.quantised))
    return Network(
        model=quantised,
        tokenizer=own,
        trained=Trained(labels=trained.labels, record=ngrams.recorded(trained.record, learned)),
        compared=Compared(
            logits=(before := parity.run(plain, calibration.rows), after := parity.run(quantised, calibration.rows)),
            # The n-grams are the same whole numbers in both files: only the network can differ.
            export=files.check(calibration.rows, limits),
            quantisation=parity.check_quantised(before, after, limits),
        ),
        rows=rows,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """One network in three forms: as trained, as a float32 file, and as an int8 file."""

    trained: TagNetwork
    plain: bytes
    quantised: bytes

    def check(self, tokens: Sequence[Sequence[int]], limits: parity.GateLimits) -> parity.Difference:
        """
        Return the distance of the float32 file from the trained network on tokenised texts.

        Raises:
            ParityError: The distance is above the limits.
        """
        trained = batches.logits(self.trained, tokens).double().numpy()
        return parity.check_export(trained, parity.run(self.plain, tokens), limits)


def two_files(network: TagNetwork, rows: Sequence[Sequence[int]], labels: Sequence[str]) -> Files:
    """
    Export and quantise a network.

    Args:
        network: The trained network.
        rows: Tokenised texts to measure activation ranges on, as `own_rows` draws them.
        labels: The labels in the order of the logits.

    Raises:
        ExportError: A bundle may not hold the graph.
    """
    final = network.for_export()
    plain = export.to_onnx(final, labels, longest=final.shape.positions)
    logger.info("network_exported bytes=%d", len(plain))
    quantised = operators.rewrite(quantize.quantize(plain, rows, labels), labels)
    logger.info("network_quantised bytes=%d", len(quantised))
    return Files(trained=final, plain=plain, quantised=quantised)


def own_rows(rows: Sequence[Row], tokenizer: Tokenizer) -> list[list[int]]:
    """Return tokenised texts to measure activation ranges on, drawn from all rows. The draw is the same each time."""
    generator = np.random.default_rng(QUANTISE_SEED)
    places = generator.permutation(len(rows))[: quantize.CALIBRATION_TEXTS]
    return batches.encode(tokenizer, [rows[place].text for place in places])
