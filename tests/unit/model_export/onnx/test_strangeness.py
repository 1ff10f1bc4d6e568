"""The output `strangeness` of a file: it is what its columns say of a text, whatever else is in the batch, and no logit changes beside it."""

import numpy as np
import onnx
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tagstream.model_export.bundle.model import STRANGENESS, open_session
from tagstream.model_export.data.madewithml import LABELS
from tagstream.model_export.onnx import export, heads, ngrams, parity, quantize, strangeness
from tagstream.model_export.onnx.heads import HeadError
from tagstream.model_export.onnx.ngrams import Learned, Ngrams
from tagstream.model_export.onnx.strangeness import Columns, StrangenessRecipe, Words
from tagstream.model_export.train import batches
from tagstream.model_export.train.head import Head
from tagstream.model_export.train.network import Shape, TagNetwork

VOCABULARY, WIDTH = 64, 32
SHAPE = Shape(vocabulary=VOCABULARY, positions=64, width=WIDTH, inner=64, heads=4, layers=2, labels=len(LABELS))
PLANTED = 50


def rows(count: int, seed: int, least: int = 4, most: int = 30) -> list[list[int]]:
    """Random token ids of several lengths, without the planted one."""
    generator = np.random.default_rng(seed)
    return [[2, *generator.integers(4, PLANTED, generator.integers(least, most)).tolist(), 3] for _ in range(count)]


@pytest.fixture(scope="module")
def model() -> bytes:
    """A random int8 network."""
    torch.manual_seed(0)
    plain = export.to_onnx(TagNetwork(SHAPE).for_export(), LABELS, longest=SHAPE.positions)
    return quantize.quantize(plain, rows(64, 1), LABELS)


def columns(several: int, *, words: bool, centres: int = 0, seed: int = 3) -> Columns:
    """Columns of some scale, with a weight for every token or without words, and with some centres."""
    generator = np.random.default_rng(seed)
    lines = Head(weight=4 * generator.normal(size=(several, WIDTH)), bias=generator.normal(size=several))
    table = generator.integers(-127, 128, (VOCABULARY, several + 1)).astype(np.int8)
    table[:, -1] = np.abs(table[:, -1].astype(np.int64)).clip(1)
    near = 3 * generator.normal(size=(centres, WIDTH)) if centres else None
    return Columns(lines=lines, words=Words(table=table, step=0.02) if words else None, centres=near)


@pytest.mark.parametrize(
    ("several", "words", "centres"), [(1, True, 0), (1, False, 0), (7, True, 0), (7, False, 0), (7, True, 20), (7, False, 20)]
)
def test_the_file_says_what_the_columns_say_and_no_logit_changes(
    model: bytes, several: int, *, words: bool, centres: int
) -> None:
    """Any number of columns, with words and centres or without: up to seven bits of weight the file gives their figure, and the logits are the same bits."""
    fitted = columns(several, words=words, centres=centres)
    given, made = rows(100, 2), strangeness.add(model, fitted, LABELS)
    wanted = fitted.strangeness(heads.embed(model, given), given)
    found = parity.run(made, given, output=STRANGENESS)
    assert found.shape == (100, 1)
    assert np.abs(found[:, 0] - wanted).max() < 0.03 * np.abs(wanted).max()
    assert np.array_equal(parity.run(made, given), parity.run(model, given))


@pytest.mark.parametrize(("words", "centres"), [(True, 0), (False, 0), (True, 20)])
def test_a_text_is_as_strange_in_any_company(model: bytes, *, words: bool, centres: int) -> None:
    """Alone, among longer ones whose padding is garbage, and in another order: the same bits."""
    made = strangeness.add(model, columns(3, words=words, centres=centres), LABELS)
    texts = [[2, 3], *rows(40, 3, least=1, most=60)]
    alone = parity.run(made, texts, output=STRANGENESS).astype(np.float32)
    ids, mask = (tensor.numpy() for tensor in batches.pad(texts, filler=9))
    running = open_session(made)
    (together,) = running.run([STRANGENESS], {"input_ids": ids, "attention_mask": mask})
    (backwards,) = running.run([STRANGENESS], {"input_ids": ids[::-1].copy(), "attention_mask": mask[::-1].copy()})
    assert np.array_equal(together, alone)
    assert np.array_equal(backwards[::-1], alone)


def test_it_is_replaced_and_leaves_no_trace(model: bytes) -> None:
    """A second one takes the place of the first, and without it the file is as it was before, to the byte; a reader and a second head stay beside it."""
    made = strangeness.add(model, columns(2, words=True, centres=5), LABELS)
    assert strangeness.add(made, columns(1, words=False), LABELS) == strangeness.add(model, columns(1, words=False), LABELS)
    graph = export.load(made)
    strangeness.drop(graph)
    assert export.finish(graph, LABELS) == model
    table = np.ones((VOCABULARY + 8, len(LABELS) + 1), dtype=np.int8)
    reader = Learned(
        ngrams=Ngrams(table=table, vocabulary=VOCABULARY, step=0.1, bias=(0.0,) * len(LABELS)), share=0.3, record={}
    )
    head = Head(weight=np.ones((len(LABELS), WIDTH)), bias=np.zeros(len(LABELS)))
    full = heads.with_label_head(ngrams.add(made, reader, LABELS), head, LABELS)
    assert {output.name for output in onnx.load_model_from_string(full).graph.output} == {"logits", "label_logits", STRANGENESS}
    assert np.array_equal(parity.run(full, rows(9, 5), output=STRANGENESS), parity.run(made, rows(9, 5), output=STRANGENESS))


@pytest.mark.parametrize("words", [True, False])
def test_it_learns_vectors_and_words(*, words: bool) -> None:
    """Texts of one side of the space are told from the others, and with words those of a planted token whose vectors are the same."""
    generator = np.random.default_rng(5)
    texts = rows(400, 6)
    vectors = generator.normal(size=(400, WIDTH))
    familiar = np.arange(400) % 2 == 0
    if words:
        for text, known in zip(texts, familiar, strict=True):
            text[1] = PLANTED + 1 if known else PLANTED + 2
    else:
        vectors[familiar, 0] += 4
    tokens = strangeness.counts(texts, VOCABULARY)
    found = strangeness.fit(vectors[:300], tokens[:300], familiar[:300, None], StrangenessRecipe(words=words))
    strange = found.strangeness(vectors[300:], texts[300:]) > 0
    assert (strange == ~familiar[300:]).mean() > 0.9


def test_a_column_without_texts_finds_nothing_familiar() -> None:
    """A fold may hold all texts of a label back; the other columns then decide."""
    vectors = np.concatenate([np.full((20, 2), 1.0), np.full((20, 2), -1.0)])
    familiar = np.stack([np.arange(40) < 20, np.zeros(40, dtype=bool)], axis=1)
    found = strangeness.fit(vectors, strangeness.counts([[1]] * 40, 4), familiar, StrangenessRecipe(words=False))
    assert (found.strangeness(vectors, [[1]] * 40) > 0).tolist() == [False] * 20 + [True] * 20


def test_columns_that_are_fitted_together_are_those_of_one_fit_each() -> None:
    """Each line is that of scikit-learn's logistic regression of its column alone."""
    generator = np.random.default_rng(7)
    vectors, of = generator.normal(size=(300, WIDTH)), generator.integers(0, 4, 300)
    vectors[np.arange(300), of] += 2
    familiar = of[:, None] == np.arange(3)
    found = strangeness.fit(vectors, strangeness.counts([[1]] * 300, 4), familiar, StrangenessRecipe(words=False))
    for place, known in enumerate(familiar.T):
        alone = LogisticRegression(C=StrangenessRecipe().strength, max_iter=1000).fit(vectors, known)
        gap = vectors @ (found.lines.weight[place] - alone.coef_[0]) + found.lines.bias[place] - alone.intercept_[0]
        assert np.abs(gap).max() < 0.05


def test_centres_find_what_lies_beyond_the_texts_of_a_label() -> None:
    """A line calls familiar what lies far out on its side; the centres of the texts do not."""
    generator = np.random.default_rng(8)
    around = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-1.0, 0.0, 0.0]])
    vectors = np.concatenate([place + 0.05 * generator.normal(size=(60, 3)) for place in around])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    of = np.repeat(np.arange(3), 60)
    beyond, tokens = np.array([[0.8, -0.6, 0.0]]), [[1]]
    plain, near = (
        strangeness.fit(
            vectors,
            strangeness.counts([[1]] * 180, 4),
            of[:, None] == np.arange(2),
            StrangenessRecipe(words=False, centres=centres, centre_share=2.0),
        )
        for centres in (0, 4)
    )
    ours = vectors[:60], [[1]] * 60
    assert plain.strangeness(beyond, tokens)[0] < np.quantile(plain.strangeness(*ours), 0.05)
    assert near.strangeness(beyond, tokens)[0] > near.strangeness(*ours).max()


def test_words_that_no_text_had_take_weight_from_the_others() -> None:
    """With `rare_count` a text is stranger for a word that the fit has not seen; without it the word counts for nothing."""
    texts = [[1, 2]] * 50 + [[1, 3]] * 50
    vectors, familiar = np.zeros((100, 2)), (np.arange(100) < 50)[:, None]
    tokens = strangeness.counts(texts, 8)
    counted, ignored = (
        strangeness.fit(vectors, tokens, familiar, StrangenessRecipe(rare_count=count)).strangeness(
            np.zeros((2, 2)), [[1, 2], [1, 2, 7, 7]]
        )
        for count in (True, False)
    )
    assert counted[1] > counted[0] + 0.5
    assert ignored[1] == ignored[0]


def test_lines_of_another_width_are_refused(model: bytes) -> None:
    """Columns that were fitted to another network's vectors do not get into the file."""
    narrow = Columns(lines=Head(weight=np.ones((1, 8)), bias=np.zeros(1)), words=None)
    with pytest.raises(HeadError, match=r"vectors of 32 numbers, not of 8.*Next: train anew"):
        strangeness.add(model, narrow, LABELS)
