"""A bundle for a user's labels in minutes: the unchanged base encoder, a head on its vectors, and calibration on every row of the user.

The encoder has not seen a label, so a head scores a row without bias if it has not learned from the row. Heads and readers of n-grams are
fitted in folds, each fold without a part of the topics. The logits of the folds stand for the logits of the shipped head and reader, which
learn from all rows. Temperature, thresholds, certificates and drift reference rest on the logits of the folds. All heads, those of the
folds too, learn from people's answers, but nothing is calibrated on these.

All heads learn from the rows of `always`, and no head is judged on them: these rows are labels in words, used with the first answers of
people.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.text import known_words, unfamiliar_share
from tagstream.model_export.calibrate import temperature
from tagstream.model_export.calibrate.crossfit import cross_fit
from tagstream.model_export.calibrate.temperature import Floats, Ints
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make.network import PARITY_ROWS, Compared, Network, OutOfFold, compared_before, own_rows, two_files
from tagstream.model_export.onnx import heads, ngrams, parity
from tagstream.model_export.onnx.ngrams import Learned, NgramRecipe, Ngrams
from tagstream.model_export.train import base_model, batches, multilingual
from tagstream.model_export.train.base_model import BaseModel
from tagstream.model_export.train.checkpoint import Trained
from tagstream.model_export.train.examples import Examples, examples, natural_shares
from tagstream.model_export.train.head import Head, HeadRecipe, fit_head
from tagstream.model_export.train.network import TagNetwork
from tagstream.model_export.train.work import Work, libraries

logger = logging.getLogger(__name__)

Model = TypeVar("Model")
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickRecipe:
    """
    The numbers of the procedure.

    The fit of the head is stronger than with `HeadRecipe`, because this encoder has not memorised the labels. Few buckets keep the file
    small if there are many labels.
    """

    seed: int = 20261103
    folds: int = 5
    threads: int = 2
    head: HeadRecipe = field(default_factory=lambda: HeadRecipe(strength=10.0, source_shares={}, class_levelling=0.0))
    ngrams: NgramRecipe = field(default_factory=lambda: NgramRecipe(buckets=1 << 16, source_shares={}, class_levelling=0.0))


class EncoderFile(msgspec.Struct, frozen=True, kw_only=True):
    """The int8 file of the base encoder with an unfitted head, and the distance of the float32 file from the network."""

    model: bytes
    export: parity.Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """
    An unchanged encoder, with a head and a reader of n-grams that are fitted to every training and calibration row.

    Attributes:
        recipe: The numbers of the procedure.
        multilingual: Use the base encoder that reads many languages; see `data.multilingual`.
        always: Further rows to learn from, on which nothing is calibrated. If there are any, every label has some.
        counts: The weight of each row of `always`, in rows.
        texts: Further texts to measure activation ranges on, if there are too few rows.
        encoder: The bundle whose encoder is used; None for the base encoder.
    """

    recipe: QuickRecipe
    multilingual: bool = False
    always: tuple[Row, ...] = ()
    counts: float = 1.0
    texts: tuple[Row, ...] = ()
    encoder: Bundle | None = None

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Fit the head and the reader. Arguments are those of `NetworkSource.network`.

        Raises:
            BaseModelError: The pretrained encoder is missing or differs from its checksum.
            EncoderFileError: The multilingual encoder is missing or differs from its checksum.
            CalibrationError: A label has rows of one topic only.
            ParityError: The exported encoder differs too much from the given encoder.
        """
        recipe, base = self.recipe, self._encoder()
        torch.set_num_threads(recipe.threads)
        pool = (*rows.train, *rows.calibration, *self.always)
        labels = tuple(sorted({*rows.labels, *(row.tag for row in self.always)}))
        known = len(pool) - len(self.always)
        counted = np.array([place for place, row in enumerate(pool[:known]) if not row.answered])
        judged = tuple(pool[place] for place in counted)
        tokenizer = batches.load_tokenizer(base.tokenizer)
        seen = examples(tokenizer, pool, labels)
        # This call refuses rows that cannot be judged, before minutes of work.
        unfamiliar = _unfamiliar(pool, np.array(seen.targets), recipe, len(self.always))
        if isinstance(base, BaseModel):
            encoder = _encoder(base, own_rows((*pool, *self.texts), tokenizer), seen, labels, limits, recipe, work)
        else:
            encoder = EncoderFile(model=base.model, export=compared_before(base.manifest).export)
        vectors = work.stage(
            "vectors.npy", lambda: _embed(encoder.model, seen, recipe, work), save=_save_array, load=_load_array
        )
        further = {row.source for row in self.always}
        shares = {source: rows * (self.counts if source in further else 1.0) for source, rows in natural_shares(seen).items()}
        fitting = _Fitting(
            seen=seen,
            vectors=vectors,
            vocabulary=tokenizer.get_vocab_size(),
            labels=len(labels),
            always=len(self.always),
            head=replace(recipe.head, source_shares=shares),
            ngrams=replace(recipe.ngrams, source_shares=shares),
        )
        logits, share, losses = _judged(fitting, pool, counted, recipe, work)
        head, learned = _of_all(fitting, share, asdict(recipe.ngrams) | {"share": share} | losses, work)
        plain = heads.with_head(encoder.model, head, labels)
        return Network(
            model=ngrams.add(plain, learned, labels),
            tokenizer=tokenizer,
            trained=Trained(labels=labels, record=ngrams.recorded(self._record(rows, base), learned)),
            compared=_compared(fitting, head, plain, encoder.export, limits),
            rows=replace(rows, train=pool, calibration=judged),
            out_of_fold=OutOfFold(
                logits=logits,
                tokens=[len(seen.rows[place]) for place in counted],
                truncated=[bool(encoding.overflowing) for encoding in tokenizer.encode_batch([row.text for row in judged])],
                unfamiliar=[unfamiliar[place] for place in counted],
            ),
        )

    def _encoder(self) -> BaseModel | Bundle:
        if self.encoder is not None:
            return self.encoder
        return multilingual.load() if self.multilingual else base_model.load()

    def _record(self, rows: Splits, encoder: BaseModel | Bundle) -> dict[str, object]:
        if isinstance(encoder, BaseModel):
            record: dict[str, object] = {"base_model": encoder.record}
        else:
            record = {"base_model": encoder.manifest.training.get("base_model"), "encoder": {"bundle": encoder.digest}}
        return {**record, "quick": asdict(self.recipe), "data": rows.as_record(), "libraries": libraries()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitting:
    """Rows and settings for fitting head and reader: to some rows, in order to be judged on other rows, or to all rows."""

    seen: Examples
    vectors: Vectors
    vocabulary: int
    labels: int
    always: int
    head: HeadRecipe
    ngrams: NgramRecipe

    def lines(self, places: Ints) -> Head:
        return fit_head(self.vectors[places], self._some(places), self.head, self.labels)

    def by_lines(self, head: Head, places: Ints) -> Floats:
        found: Floats = self.vectors[places] @ head.weight.T + head.bias
        return found

    def reader(self, places: Ints) -> Ngrams:
        return ngrams.fit(self._some(places), self.vocabulary, self.ngrams, self.labels)

    def by_reader(self, reader: Ngrams, places: Ints) -> Floats:
        return reader.logits([self.seen.rows[place] for place in places])

    def _some(self, places: Ints) -> Examples:
        seen = self.seen
        return Examples(
            rows=[seen.rows[place] for place in places],
            targets=[seen.targets[place] for place in places],
            sources=[seen.sources[place] for place in places],
        )


def _of_all(fitting: _Fitting, share: float, record: dict[str, object], work: Work) -> tuple[Head, Learned]:
    """Fit the shipped head and reader: they learn from every row."""
    every = np.arange(len(fitting.seen.rows))
    work.tell("head and n-grams of all rows", 0, 1)
    learned = Learned(ngrams=fitting.reader(every), share=share, record=record)
    head = fitting.lines(every)
    work.tell("head and n-grams of all rows", 1, 1)
    return head, learned


def _compared(fitting: _Fitting, head: Head, plain: bytes, export: parity.Difference, limits: parity.GateLimits) -> Compared:
    """Measure the rounding of the head. The head was fitted to the vectors of the int8 file, so nothing else can differ."""
    first = fitting.seen.rows[:PARITY_ROWS]
    exact = fitting.by_lines(head, np.arange(len(first)))
    found = parity.run(plain, first)
    return Compared(logits=(exact, found), export=export, quantisation=parity.check_quantised(exact, found, limits))


def _judged(
    fitting: _Fitting, pool: Sequence[Row], counted: Ints, recipe: QuickRecipe, work: Work
) -> tuple[Floats, float, dict[str, object]]:
    """Return the out-of-fold logits of the `counted` rows, the reader's share with the least log loss, and the loss at every share."""
    topics, targets = [row.topic for row in pool], np.array(fitting.seen.targets)

    def judged(what: str, fit: Callable[[Ints], Model], score: Callable[[Model, Ints], Floats]) -> Floats:
        done = 0

        def told(places: Ints) -> Model:
            nonlocal done
            work.tell(what, done, recipe.folds)
            done += 1
            return fit(places)

        found = cross_fit(topics, targets, fit=told, score=score, folds=recipe.folds, seed=recipe.seed, always=fitting.always)
        work.tell(what, recipe.folds, recipe.folds)
        return found

    theirs = judged("heads in folds", fitting.lines, fitting.by_lines)[counted]
    ours = judged("n-grams in folds", fitting.reader, fitting.by_reader)[counted]
    right = targets[counted]
    losses: dict[float, float] = {}
    for share in recipe.ngrams.shares:
        mixed = (1 - share) * theirs + share * ours
        losses[share] = temperature.log_loss(mixed, right, temperature.fit_temperature(mixed, right))
    best = min(losses, key=lambda share: losses[share])
    logger.info("ngrams_learned share=%s calibration_losses=%s", best, losses)
    rounded = {str(share): round(loss, ngrams.LOSS_DECIMALS) for share, loss in losses.items()}
    return (1 - best) * theirs + best * ours, best, {"calibration_losses": rounded}


def _unfamiliar(pool: Sequence[Row], targets: Ints, recipe: QuickRecipe, always: int) -> list[float]:
    """Return, by text, the share of its words, 0 to 1, that do not occur in the texts of the other folds."""
    texts = [row.text for row in pool]

    def known(places: Ints) -> frozenset[str]:
        return frozenset(known_words(texts[place] for place in places))

    def share(words: frozenset[str], places: Ints) -> Floats:
        return np.array([[unfamiliar_share(texts[place], words)] for place in places])

    topics = [row.topic for row in pool]
    found = cross_fit(topics, targets, fit=known, score=share, folds=recipe.folds, seed=recipe.seed, always=always)
    shares: list[float] = found[:, 0].tolist()
    return shares


def _encoder(
    base: BaseModel,
    ranges: Sequence[Sequence[int]],
    seen: Examples,
    labels: Sequence[str],
    limits: parity.GateLimits,
    recipe: QuickRecipe,
    work: Work,
) -> EncoderFile:
    def make() -> EncoderFile:
        work.tell("export of the encoder", 0, 1)
        torch.manual_seed(recipe.seed)
        networks = two_files(TagNetwork.from_bert(base.bert, labels=len(labels)), ranges, labels)
        made = EncoderFile(model=networks.quantised, export=networks.check(seen.rows[:PARITY_ROWS], limits))
        work.tell("export of the encoder", 1, 1)
        return made

    return work.stage(
        "encoder.msgpack",
        make,
        save=lambda path, made: _write(path, msgspec.msgpack.encode(made)),
        load=lambda path: msgspec.msgpack.decode(path.read_bytes(), type=EncoderFile),
    )


def _embed(model: bytes, seen: Examples, recipe: QuickRecipe, work: Work) -> Vectors:
    total = len(seen.rows)
    found = heads.embed(model, seen.rows, threads=recipe.threads, progress=lambda done: work.tell("vectors", done, total))
    # The runtime computed in single precision, so no bit is lost.
    return found.astype(np.float32)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _save_array(path: Path, values: Vectors) -> None:
    with path.open("wb") as file:
        np.save(file, values)


def _load_array(path: Path) -> Vectors:
    found: Vectors = np.load(path, allow_pickle=False)
    return found
