"""A network as the file that a bundle holds: where it can come from, and how far it is from what was trained."""

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
# The part of `training` in a manifest that says where a network came from that was trained elsewhere.
IMPORTED = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """
    The logits of calibration rows by networks that have not seen their labels, where the bundle's own network has: one entry a row.

    Attributes:
        logits: Shape (rows, labels).
        tokens: The number of tokens that the network reads.
        truncated: Whether the text has more.
        unfamiliar: The share of words, 0 to 1, that none of the texts has which the row's network has seen.
    """

    logits: Floats
    tokens: Sequence[int]
    truncated: Sequence[bool]
    unfamiliar: Sequence[float]

    def predictions(self, labels: Sequence[str], temperature: float, offsets: Sequence[float] = ()) -> list[Prediction]:
        """
        The rows as a bundle with this temperature, and these offsets of a prior, would predict them.

        Args:
            labels: Those of the bundle, in its order.
            temperature: The divisor of the logits, over 0.
            offsets: Added to the scaled logits, one a label: those of a prior.
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
        logits: Of the float32 and of the int8 file for the same rows, each [rows, labels]; None where only the int8
            file is left, so that the effect of rounding at another threshold cannot be measured.
        export: The trained network against the float32 file.
        quantisation: The float32 file against the int8 file.
    """

    logits: tuple[Floats, Floats] | None
    export: parity.Difference
    quantisation: parity.Difference


def compared_before(manifest: Manifest) -> Compared:
    """The distances that were measured when the network of this bundle was exported."""
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
        thresholds: Those of the bundle that it comes from, 0 to 1, one a label; None: it is new.
    """

    model: bytes
    training: dict[str, Any]
    thresholds: dict[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """
    A network that is ready to calibrate.

    Attributes:
        model: Its int8 file, with the first head alone.
        tokenizer: Its tokenizer, which truncates at `max_length` tokens.
        trained: Its labels and the record of its training.
        compared: Its distance from the trained network.
        rows: The rows in the parts that it has used them as, and calibrates on.
        out_of_fold: Other networks' logits of the calibration rows, where this network has learned from these rows.
        second_head: The second head that it has; None: it has none.
        max_length: In tokens.
        alone: It reads one text at a time; see `Manifest`.
        strangeness_limit: The limit of the gate that its file has from the bundle that it comes from; None: it has none.
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
    """Something that a network comes from. A source is a plain value: with the rows it names the work that a stopped training keeps."""

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        The network.

        Args:
            rows: The rows that it may learn from.
            limits: The limits of the gates.
            work: Keeps finished stages, and is told how far they are.

        Raises:
            ParityError: A gate refuses it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A network that was trained before, in full precision, as a file."""

    path: Path

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Export it. Arguments are those of `NetworkSource.network`.

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
    The encoder of a bundle, with a new head and a new reader of n-grams: minutes where training takes an hour.

    An encoder often outlives its head, which was fitted to the labels of its day. The int8 file gives the vector of every
    training text, as production computes it, and logistic regression fits a head to them.
    """

    bundle: Bundle
    head: HeadRecipe

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Fit both. Arguments are those of `NetworkSource.network`.

        Raises:
            HeadError: The bundle's file has another head than `quantize` writes.
            ParityError: The head in seven bits is not the one that was fitted.
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
            # The encoder passed its own gates when it was exported; only the head is new.
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
    The network of a bundle with its head, and a reader of n-grams that is learned anew, or for the first time.

    The proofs from the network's export are kept, but for the share of texts that rounding sends to another topic: it
    depends on the thresholds, and the network before rounding is gone.
    """

    bundle: Bundle

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """Fit the reader, and choose its share by the calibration rows. Arguments are those of `NetworkSource.network`."""
        del limits, work
        labels = self.bundle.manifest.labels
        graph = export.load(self.bundle.model)
        heads.drop_label_head(graph)
        ngrams.drop(graph)
        model = export.finish(graph, labels)
        tokenizer = batches.load_tokenizer(self.bundle.tokenizer)
        train, calibration = (examples(tokenizer, part, labels) for part in (rows.train, rows.calibration))
        learned = ngrams.learn(model, train=train, calibration=calibration, vocabulary=tokenizer.get_vocab_size())
        # The rows of the network itself stand in its own record.
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
    The network of a bundle to calibrate anew: its weights and its tokenizer stay to the byte, its second head too.

    A network with older operators gets those of `operators`: its decisions depend neither on the width of the processor nor on
    the padding of a text. One that was imported has the form that held, and keeps it. The proofs are kept as by `NewNgrams`.
    """

    bundle: Bundle

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Take it over. Arguments are those of `NetworkSource.network`.

        Raises:
            ParityError: Other operators change too many labels.
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
    A trained network as an int8 file, with a reader of n-grams beside it.

    Args:
        network: The trained network.
        trained: Its labels and the record of its training.
        tokenizer: The tokenizer file of its base.
        rows: Training rows to measure activations on, and calibration rows.
        limits: The limits of the gates.

    Raises:
        ParityError: The file is not the trained network.
        ExportError: The graph is not one that a bundle may hold.
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
    """The same network three times: as trained, and as the float32 and the int8 file."""

    trained: TagNetwork
    plain: bytes
    quantised: bytes

    def check(self, tokens: Sequence[Sequence[int]], limits: parity.GateLimits) -> parity.Difference:
        """
        The distance of the float32 file from the trained network on tokenised texts.

        Raises:
            ParityError: The file is another network.
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
        ExportError: The graph is not one that a bundle may hold.
    """
    final = network.for_export()
    plain = export.to_onnx(final, labels, longest=final.shape.positions)
    logger.info("network_exported bytes=%d", len(plain))
    quantised = operators.rewrite(quantize.quantize(plain, rows, labels), labels)
    logger.info("network_quantised bytes=%d", len(quantised))
    return Files(trained=final, plain=plain, quantised=quantised)


def own_rows(rows: Sequence[Row], tokenizer: Tokenizer) -> list[list[int]]:
    """Tokenised training texts to measure activation ranges on: the same ones each time, drawn from all rows."""
    generator = np.random.default_rng(QUANTISE_SEED)
    places = generator.permutation(len(rows))[: quantize.CALIBRATION_TEXTS]
    return batches.encode(tokenizer, [rows[place].text for place in places])
