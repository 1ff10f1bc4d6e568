"""Which texts are nearly equal: the digests find what the words say."""

import random

from tagstream.model_export.data.duplicates import SIMILARITY_LIMIT, digest, prints, shared, weighed, word_digests


def test_texts_with_nearly_the_same_words_share_a_print() -> None:
    """Of pairs that share nine words in ten, at least 19 in 20 are found; of unlike ones, at most 1 in 20."""
    chance = random.Random(5)  # noqa: S311 - texts, not secrets
    alike = unlike = 0
    for number in range(300):
        text = [chance.getrandbits(63) for _ in range(40)]
        changed = [*text[:38], -2 * number - 1, -2 * number - 2]
        another = [chance.getrandbits(63) for _ in range(20)] + text[:20]
        assert shared(frozenset(text), frozenset(changed)) > SIMILARITY_LIMIT
        alike += bool(set(prints(text)) & set(prints(changed)))
        unlike += bool(set(prints(text)) & set(prints(another)))
    assert alike >= 285
    assert unlike <= 60


def test_prints_depend_on_the_words_alone() -> None:
    """Order, case, punctuation and repetition do not count, and no run of the program makes others."""
    assert set(prints(word_digests("Fast, fast vision", None))) == set(prints(word_digests("vision", "FAST!")))
    assert prints(()) == ()
    assert min(prints(word_digests("a b", None))) == -6957144651147597928
    assert digest("a") == 4681665781835383343


def test_a_text_without_words_is_like_no_other() -> None:
    """Two titles of signs alone are not one."""
    assert shared(word_digests("?!", None), word_digests("...", None)) == 0.0
    assert weighed(frozenset(), word_digests("a", None), {}, 1) == 0.0


def test_rare_words_count_more() -> None:
    """Sharing a word that half of the texts have says less than sharing one that no other has."""
    known = {digest("the"): 50, digest("kubeflow"): 1}
    one = word_digests("the kubeflow", None)
    assert weighed(one, word_digests("kubeflow x", None), known, 100) > weighed(one, word_digests("the x", None), known, 100)


def test_only_the_beginning_of_a_text_counts() -> None:
    """A megabyte of title or description costs no more than its first four thousand characters."""
    begin = "rolling out a model " * 400
    assert word_digests(begin, None) == word_digests(begin, "others " * 100_000) == word_digests(begin + "more words", None)
    assert word_digests("a", "b " * 2_000 + "c") == word_digests("a", "b")
