"""The reader of n-grams: the file gives its logits for any batch, and the calibration rows choose its share."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tagstream.model_export.bundle.model import open_session
from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.onnx import export, heads, ngrams, parity, quantize
from tagstream.model_export.onnx.ngrams import Learned, NgramRecipe, Ngrams
from tagstream.model_export.train import batches
from tagstream.model_export.train.examples import Examples
from tagstream.model_export.train.head import Head
from tagstream.model_export.train.network import Shape, TagNetwork

VOCABULARY, BUCKETS, WIDTH = 64, 256, 32
SHAPE = Shape(vocabulary=VOCABULARY, positions=64, width=WIDTH, inner=64, heads=4, layers=2, labels=len(LABELS))
RECIPE = NgramRecipe(buckets=BUCKETS)
START, END = 2, 3


def rows(count: int, seed: int, least: int = 4, most: int = 30) -> list[list[int]]:
    """Random token ids of several lengths."""
    generator = np.random.default_rng(seed)
    return [[START, *generator.integers(4, VOCABULARY, generator.integers(least, most)).tolist(), END] for _ in range(count)]


@pytest.fixture(scope="module")
def model() -> bytes:
    """A random int8 network."""
    torch.manual_seed(0)
    plain = export.to_onnx(TagNetwork(SHAPE).for_export(), LABELS, longest=SHAPE.positions)
    return quantize.quantize(plain, rows(64, 1), LABELS)


def reader(seed: int = 7) -> Ngrams:
    """A reader with a weight for every token and pair."""
    generator = np.random.default_rng(seed)
    table = generator.integers(-127, 128, (VOCABULARY + BUCKETS, len(LABELS) + 1)).astype(np.int8)
    table[:, -1] = np.abs(table[:, -1].astype(np.int64)).clip(1)
    return Ngrams(table=table, vocabulary=VOCABULARY, step=0.05, bias=(0.5, -1.0, 0.25, 2.0))


def learned(share: float, seed: int = 7) -> Learned:
    """The same reader, with that share."""
    return Learned(ngrams=reader(seed), share=share, record={})


def planted(count: int, seed: int) -> Examples:
    """The label depends on one of four tokens; for two of them only the order within a pair decides."""
    found, targets = rows(count, seed, least=6, most=12), [place % len(LABELS) for place in range(count)]
    words = ([50, 4], [51, 4], [60, 61], [61, 60])
    for row, target in zip(found, targets, strict=True):
        row[:] = [token for token in row if token not in {50, 51, 60, 61}]
        row[2:2] = words[target]
    return Examples(rows=found, targets=targets, sources=["corpus"] * count)


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_the_file_says_what_network_and_reader_say_in_their_shares(model: bytes, share: float) -> None:
    """The file's logits are the mix of network and reader, up to single precision."""
    given_rows = rows(100, 2)
    wanted = (1 - share) * parity.run(model, given_rows) + share * reader().logits(given_rows)
    found = parity.run(ngrams.add(model, learned(share), LABELS), given_rows)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_what_the_reader_says_depends_on_the_text_alone(model: bytes) -> None:
    """A text has the same logits alone, among longer ones and in another order, to the last bit; two tokens are enough."""
    running = open_session(ngrams.add(model, learned(1.0), LABELS))
    texts = [[START, END], *rows(40, 3, least=1, most=60)]
    alone = parity.run(ngrams.add(model, learned(1.0), LABELS), texts)
    ids, mask = (tensor.numpy() for tensor in batches.pad(texts, filler=9))
    (together,) = running.run(["logits"], {"input_ids": ids, "attention_mask": mask})
    (backwards,) = running.run(["logits"], {"input_ids": ids[::-1].copy(), "attention_mask": mask[::-1].copy()})
    assert np.array_equal(together, alone.astype(np.float32))
    assert np.array_equal(backwards[::-1], together)


def test_a_reader_leaves_no_trace(model: bytes) -> None:
    """A reader that is removed, replaced or given no share leaves the file as it was before, to the byte."""
    heard = ngrams.add(model, learned(0.3), LABELS)
    assert heard != model
    assert ngrams.without(heard, LABELS) == model
    assert ngrams.add(heard, learned(0.0), LABELS) == model
    assert ngrams.add(heard, learned(0.2, seed=8), LABELS) == ngrams.add(model, learned(0.2, seed=8), LABELS)


def test_heads_are_found_behind_a_reader(model: bytes) -> None:
    """Beside a reader the vectors stay, a second head can be added and removed, and a new first head drops the reader."""
    heard, given_rows = ngrams.add(model, learned(0.3), LABELS), rows(20, 4)
    head = Head(weight=np.ones((len(LABELS), WIDTH)), bias=np.zeros(len(LABELS)))
    assert np.array_equal(heads.embed(heard, given_rows), heads.embed(model, given_rows))
    both = heads.with_label_head(heard, head, LABELS)
    assert [output.name for output in onnx.load_model_from_string(both).graph.output] == ["logits", "label_logits"]
    assert np.array_equal(parity.run(both, given_rows), parity.run(heard, given_rows))
    assert heads.without_label_head(both, LABELS) == heard
    assert heads.with_head(heard, head, LABELS) == heads.with_head(model, head, LABELS)


def test_it_learns_words_and_the_order_of_pairs() -> None:
    """The reader labels unseen texts by their words and by the order of pairs."""
    found = ngrams.fit(planted(400, 5), VOCABULARY, RECIPE, len(LABELS))
    unseen = planted(100, 6)
    assert (found.logits(unseen.rows).argmax(axis=1) == unseen.targets).mean() > 0.97


def test_what_too_few_texts_have_says_nothing() -> None:
    """A token of a single text has no weight and no rarity, however often it occurs there."""
    train = planted(100, 5)
    rare = 4
    for row in train.rows:
        row[:] = [5 if token == rare else token for token in row]
    train.rows[0].extend([rare] * 3)
    assert not ngrams.fit(train, VOCABULARY, RECIPE, len(LABELS)).table[rare].any()
    assert ngrams.fit(train, VOCABULARY, NgramRecipe(buckets=BUCKETS, least_texts=1), len(LABELS)).table[rare].any()


def test_calibration_rows_say_how_much_it_counts(model: bytes) -> None:
    """Beside a random network the reader gets the largest share; a reader that learned shuffled labels gets none."""
    train, calibration = planted(400, 5), planted(100, 6)
    assert ngrams.learn(model, train=train, calibration=calibration, vocabulary=VOCABULARY, recipe=RECIPE).share == 0.5
    shuffled = Examples(
        rows=train.rows, targets=np.random.default_rng(1).permutation(train.targets).tolist(), sources=train.sources
    )
    certain = ngrams.add(
        model, Learned(ngrams=ngrams.fit(train, VOCABULARY, RECIPE, len(LABELS)), share=1.0, record={}), LABELS
    )
    unheard = ngrams.learn(certain, train=shuffled, calibration=calibration, vocabulary=VOCABULARY, recipe=RECIPE)
    assert unheard.share == 0.0
    assert unheard.record["calibration_losses"]["0.0"] < unheard.record["calibration_losses"]["0.5"]


@given(row=st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=20))
@settings(max_examples=50)
def test_a_text_has_a_row_a_token_and_a_row_a_pair(row: list[int]) -> None:
    """Tokens where tokens are, pairs behind them, no row out of the table."""
    found = ngrams.places(row, VOCABULARY, BUCKETS)
    assert found[: len(row)].tolist() == row
    assert len(found) == 2 * len(row) - 1
    assert all(VOCABULARY <= place < VOCABULARY + BUCKETS for place in found[len(row) :])
