"""The regression of the adviser: its closed form is the fit without the group, and words count beside vectors."""

import numpy as np
import pytest
import torch

from tagstream.model_export.train.kernel import KernelRecipe, Texts, regress


def spread(count: int, seed: int = 5) -> Texts:
    """Texts of words that repeat, with random unit vectors."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(count, 4))
    words = [f"word{number % 5} word{number % 3} sign{number % 7}" for number in range(count)]
    return Texts(texts=words, vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32))


def some(texts: Texts, places: list[int]) -> Texts:
    """The texts at these places."""
    return Texts(texts=[texts.texts[place] for place in places], vectors=texts.vectors[places])


@pytest.mark.parametrize("ridge", [0.05, 1.0])
def test_a_group_is_scored_as_by_a_fit_without_it(ridge: float) -> None:
    """For groups of one text and of several, whatever the texts' weights: the closed form and a fit without the group agree."""
    # Without words: their weights by rarity come from all texts.
    recipe = KernelRecipe(words=0.0, ridge=ridge)
    texts, groups = spread(30), [f"group {min(number // 4, 5)}" if number < 24 else f"alone {number}" for number in range(30)]
    targets = torch.nn.functional.one_hot(torch.arange(30) % 3, 3).float()
    # Scores start from the shares of the labels, which differ without a group: these are equal.
    weights = torch.where(torch.arange(30) % 2 == 0, 0.5, 1.5)
    whole = regress(texts, some(texts, []), targets=targets, weights=weights, groups=groups, recipe=recipe)
    shares = (targets * weights[:, None]).sum(dim=0) / weights.sum()
    for group in set(groups):
        held = [place for place, name in enumerate(groups) if name == group]
        kept = [place for place in range(30) if place not in held]
        # The shares of all texts, as a text far from all others would get them.
        near = torch.from_numpy(texts.vectors)
        kernel = torch.exp(-2 * recipe.sharpness * (1 - near @ near.T))
        ridged = kernel[kept][:, kept] + torch.diag(ridge / weights[kept])
        scores = kernel[held][:, kept] @ torch.linalg.solve(ridged, targets[kept] - shares) + shares
        assert torch.allclose(whole.known[held], scores, atol=1e-4)


def test_further_texts_are_scored_by_the_whole_fit() -> None:
    """A text that was learned from, given again, is scored near its own label where the ridge is small."""
    texts = spread(24)
    targets = torch.nn.functional.one_hot(torch.arange(24) % 3, 3).float()
    found = regress(
        texts,
        some(texts, [0, 5, 7]),
        targets=targets,
        weights=torch.ones(24),
        groups=[str(place) for place in range(24)],
        recipe=KernelRecipe(sharpness=20.0, ridge=0.01),
    )
    assert found.others.argmax(dim=1).tolist() == [0, 2, 1]


def test_words_tell_texts_apart_that_the_vectors_do_not() -> None:
    """With equal vectors the words decide."""
    texts = [f"{word} number{place}" for place in range(12) for word in ("kettle", "spoon")]
    known = Texts(texts=texts, vectors=np.ones((24, 1), dtype=np.float32))
    targets = torch.nn.functional.one_hot(torch.arange(24) % 2, 2).float()
    others = Texts(texts=["a kettle", "a spoon"], vectors=np.ones((2, 1), dtype=np.float32))
    found = regress(
        known,
        others,
        targets=targets,
        weights=torch.ones(24),
        groups=[str(place // 2) for place in range(24)],
        recipe=KernelRecipe(),
    )
    assert found.others.argmax(dim=1).tolist() == [0, 1]
    assert torch.equal(found.known.argmax(dim=1), torch.arange(24) % 2)
