"""Texts are cut into runs of the network so that they take the least time, and little of it is padding."""

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.bundle.model import TOKENS_OF_A_RUN, TOKENS_PER_RUN, cut_into_runs

Lengths = st.lists(st.integers(2, 128), max_size=40)


def cost(lengths: Sequence[int], runs: Sequence[Sequence[int]]) -> int:
    """The time of runs, in that of a token."""
    return sum(len(run) * max(lengths[place] for place in run) + TOKENS_OF_A_RUN for run in runs)


@given(lengths=Lengths)
def test_every_text_is_in_one_run_of_a_bounded_size(lengths: list[int]) -> None:
    """No text is lost or doubled, and a run of several texts keeps to the bound."""
    runs = cut_into_runs(lengths)
    assert sorted(itertools.chain(*runs)) == list(range(len(lengths)))
    assert all(len(run) == 1 or cost(lengths, [run]) - TOKENS_OF_A_RUN <= TOKENS_PER_RUN for run in runs)


@given(lengths=st.lists(st.integers(2, 128), min_size=1, max_size=9))
def test_no_cut_of_the_sorted_texts_takes_less_time(lengths: list[int]) -> None:
    """Of all ways to cut the texts in their order of length, none is cheaper."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    cuts = [
        [run.tolist() for run in np.split(order, [place + 1 for place, end in enumerate(ends) if end])]
        for ends in itertools.product([False, True], repeat=len(lengths) - 1)
    ]
    allowed = [runs for runs in cuts if all(len(run) == 1 or len(run) * lengths[run[0]] <= TOKENS_PER_RUN for run in runs)]
    best = min(cost(lengths, runs) for runs in allowed)
    assert cost(lengths, cut_into_runs(lengths)) == best


def test_padding_is_at_most_8_percent_of_a_window_of_titles() -> None:
    """64 texts, the setting's default, of lengths as titles of 20 tokens in the mean have them."""
    lengths = [
        *(
            9,
            10,
            10,
            11,
            11,
            12,
            12,
            12,
            13,
            13,
            13,
            14,
            14,
            14,
            15,
            15,
            15,
            15,
            16,
            16,
            16,
            16,
            17,
            17,
            17,
            17,
            18,
            18,
            18,
            18,
        ),
        *(19, 19, 19, 19, 20, 20, 20, 20, 21, 21, 21, 22, 22, 22, 23, 23, 23, 24, 24, 25, 25, 26, 26, 27, 28, 28, 29, 30, 31),
        *(33, 35, 37, 41, 48),
    ]
    assert (len(lengths), round(sum(lengths) / 64)) == (64, 20)
    shuffled = np.random.default_rng(2).permutation(lengths).tolist()
    runs = cut_into_runs(shuffled)
    padded = sum(len(run) * max(shuffled[place] for place in run) for run in runs)
    assert padded <= 1.08 * sum(lengths)
    # A run for each text would have no padding, and take much longer.
    assert len(runs) <= 10
