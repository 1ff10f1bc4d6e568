"""The contract of the queue, on SQLite and on PostgreSQL: order, leases, skipping, correcting."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tagstream.model_export.data import random_half
from tagstream.stream.review.store import queue
from tagstream.stream.review.store.queue import LEASE_MS, SAVING_MS, SKIP_MS
from tagstream.stream.review.store.records import Claim, Door, Lapsed
from tagstream.stream.review.store.store import Store
from tests.console.real_console import answers_in
from tests.unit.stream.review.store.conftest import Open
from tests.unit.stream.review.store.making import (
    DOUBT,
    HOUR_MS,
    START_MS,
    Clock,
    answer,
    answer_to,
    audit,
    claimed,
    report,
    review,
    served,
)

DAY_MS = 24 * HOUR_MS
SURE = {"mlops": 0.9, "other": 0.1}


def test_an_empty_queue_has_nothing(store: Store) -> None:
    """There is nothing to do, which is no error."""
    assert store.queue.claim("ann") is None
    assert store.queue.figures().length == 0


def test_the_order_of_the_queue(store: Store) -> None:
    """Audits come in the order of their draw, whatever the doubt; then reports; then what an answer teaches most, and what waits long."""
    store.writer.fill(
        [
            review("sure", probabilities=SURE, tagged_ms=START_MS),
            review("doubtful", probabilities=DOUBT, tagged_ms=START_MS),
            review("sure and old", probabilities=SURE, tagged_ms=START_MS - 6 * DAY_MS),
            review("reported", probabilities=SURE, tagged_ms=START_MS),
            report("reported"),
            audit("second audit", probabilities=DOUBT, tagged_ms=START_MS + 1),
            audit("first audit", probabilities=SURE, tagged_ms=START_MS),
        ],
        {},
    )
    assert served(store) == ["first audit", "second audit", "reported", "sure and old", "doubtful", "sure"]


@pytest.mark.parametrize("by_doubt", [0, 1])
def test_what_nothing_certifies_is_asked_by_lot_and_by_doubt_in_turn(
    store: Store, monkeypatch: pytest.MonkeyPatch, by_doubt: int
) -> None:
    """A turn by lot takes the least place of the lot, one by doubt the closest labels; audits come first, and nothing is left over."""
    monkeypatch.setattr(queue.secrets, "randbelow", lambda _: by_doubt)
    ids = [f"e{number}" for number in range(12)]
    drawn = sorted(filter(random_half.is_drawn, ids), key=random_half.place)
    others = [one for one in ids if one not in drawn]
    sure = {one: {"mlops": 0.5 + place / 100, "other": 0.5 - place / 100} for place, one in enumerate(reversed(ids))}
    asked = [review(one, probabilities=sure[one], threshold=1.0001) for one in ids]
    store.writer.fill([*asked, audit("audit")], {})
    turns = [drawn, others[::-1]]
    assert served(store) == ["audit", *turns[by_doubt], *turns[1 - by_doubt]]


def test_a_reviewer_who_returns_gets_the_same_item(store: Store, opened: Open) -> None:
    """A reload, another window and a console that was started anew show the item that is held, with the same token."""
    store.writer.fill([review("a"), review("b")], {})
    first = claimed(store)
    assert claimed(store).token == first.token
    assert claimed(opened()).token == first.token


def test_two_reviewers_get_different_items(store: Store) -> None:
    """What one holds the other is not given."""
    store.writer.fill([review("a"), review("b")], {})
    assert {claimed(store, "ann").item.event.id, claimed(store, "bob").item.event.id} == {"a", "b"}
    assert store.queue.claim("cid") is None


def test_reviewers_who_race_never_share_an_item(store: Store, opened: Open) -> None:
    """Twelve reviewers on three consoles take 36 items at once: each item goes to exactly one of them."""
    store.writer.fill([review(str(number)) for number in range(36)], {})
    consoles = [opened() for _ in range(3)]

    def work(number: int) -> list[str]:
        console, reviewer = consoles[number % 3], f"reviewer {number}"
        taken = []
        for _ in range(3):
            claim = claimed(console, reviewer)
            taken.append(claim.item.event.id)
            console.writer.fill([answer_to(claim, START_MS + number)], {})
        return taken

    with ThreadPoolExecutor(12) as threads:
        taken = Counter(event_id for found in threads.map(work, range(12)) for event_id in found)
    assert taken == Counter(str(number) for number in range(36))
    assert store.queue.figures().length == 0


def test_two_windows_of_one_reviewer_race_for_one_item(store: Store, opened: Open) -> None:
    """Both show the same item: a reviewer never holds one that nobody looks at."""
    store.writer.fill([review(str(number)) for number in range(8)], {})
    windows = [store, opened()]
    with ThreadPoolExecutor(8) as threads:
        tokens = set(threads.map(lambda number: claimed(windows[number % 2]).token, range(8)))
    assert len(tokens) == 1


def test_a_lapsed_lease_goes_to_the_next_reviewer(store: Store, clock: Clock) -> None:
    """The first token then saves nothing, and says so."""
    store.writer.fill([review("a")], {})
    first = claimed(store, "ann")
    clock.pass_ms(LEASE_MS - 1)
    assert store.queue.claim("bob") is None
    clock.pass_ms(1)
    second = claimed(store, "bob")
    assert second.item.event.id == "a"
    for late in (store.queue.renew("a", first.token), store.queue.hold_for_saving("a", first.token)):
        assert isinstance(late, Lapsed)
        assert late.reason == "taken"
        assert "Next:" in late.message


def test_a_lapsed_lease_that_nobody_took_still_saves(store: Store, clock: Clock) -> None:
    """A long telephone call costs nothing as long as nobody else took the item."""
    store.writer.fill([review("a")], {})
    claim = claimed(store)
    clock.pass_ms(10 * LEASE_MS)
    renewed = store.queue.renew("a", claim.token)
    assert isinstance(renewed, Claim)
    assert renewed.until_ms == clock.now_ms + LEASE_MS
    assert isinstance(store.queue.hold_for_saving("a", claim.token), Claim)


def test_every_request_moves_the_end_of_the_lease(store: Store, clock: Clock) -> None:
    """A reviewer who is at work does not lose the item."""
    store.writer.fill([review("a")], {})
    claim = claimed(store)
    for _ in range(3):
        clock.pass_ms(LEASE_MS - 1)
        assert isinstance(store.queue.renew("a", claim.token), Claim)
        assert store.queue.claim("bob") is None


def test_an_answer_closes_the_item(store: Store) -> None:
    """A second answer by the same token is told that there is one: a double click saves once."""
    store.writer.fill([review("a")], {})
    claim = claimed(store)
    assert (claim.version, claim.supersedes) == (1, None)
    assert isinstance(store.queue.hold_for_saving("a", claim.token), Claim)
    store.writer.fill([answer_to(claim, START_MS, tag="other")], {})
    assert store.queue.claim("ann") is None
    again = store.queue.hold_for_saving("a", claim.token)
    assert isinstance(again, Lapsed)
    assert again.reason == "answered"
    assert [given.tag for given in store.queue.own("ann")] == ["other"]


def test_an_item_that_is_being_saved_is_shown_to_nobody(store: Store, clock: Clock, opened: Open) -> None:
    """A console that dies between the broker's word and the mark leaves no item twice open: not even its reviewer gets it."""
    store.writer.fill([review("a")], {})
    claim = claimed(store)
    assert isinstance(store.queue.hold_for_saving("a", claim.token), Claim)
    restarted = opened()
    assert restarted.queue.claim("ann") is None
    under_way = restarted.queue.hold_for_saving("a", claim.token)
    assert isinstance(under_way, Lapsed)
    assert under_way.reason == "saving"
    # The topic says that the answer arrived.
    restarted.writer.fill([answer_to(claim, START_MS)], {})
    clock.pass_ms(2 * SAVING_MS)
    assert restarted.queue.claim("ann") is None
    assert restarted.queue.figures().length == 0


def test_an_answer_that_never_arrived_opens_the_item_again(store: Store, clock: Clock) -> None:
    """After the bound of a send the same reviewer has the item back, with the same token."""
    store.writer.fill([review("a")], {})
    claim = claimed(store)
    store.queue.hold_for_saving("a", claim.token)
    clock.pass_ms(SAVING_MS)
    assert claimed(store).token == claim.token


def test_an_answer_that_surely_was_not_written_can_be_sent_again(store: Store) -> None:
    """The page keeps its token and its text."""
    store.writer.fill([review("a")], {})
    claim = claimed(store)
    store.queue.hold_for_saving("a", claim.token)
    store.queue.not_saved(claim)
    assert isinstance(store.queue.hold_for_saving("a", claim.token), Claim)


def test_a_skipped_item_is_for_others(store: Store, clock: Clock) -> None:
    """The reviewer is given it again after an hour."""
    store.writer.fill([review("a")], {})
    claim = claimed(store, "ann")
    store.queue.skip("a", claim.token)
    assert store.queue.claim("ann") is None
    other = claimed(store, "bob")
    store.queue.release("a", other.token)
    assert store.queue.claim("ann") is None
    clock.pass_ms(SKIP_MS)
    assert claimed(store, "ann").item.event.id == "a"
    gone = store.queue.renew("a", other.token)
    assert isinstance(gone, Lapsed)


def test_a_given_back_item_says_so(store: Store) -> None:
    """A second window of the same reviewer that still shows it is not told of another reviewer."""
    store.writer.fill([review("a")], {})
    claim = claimed(store)
    store.queue.release("a", claim.token)
    late = store.queue.renew("a", claim.token)
    assert isinstance(late, Lapsed)
    assert "given back" in late.message


def test_an_unknown_item_is_no_error(store: Store) -> None:
    """The store was made anew and has not read the topic yet."""
    late = store.queue.renew("gone", "token")
    assert isinstance(late, Lapsed)
    assert late.reason == "unknown"
    assert isinstance(store.queue.reopen("gone", "ann"), Lapsed)
    store.queue.skip("gone", "token")
    assert list(store.queue.neighbours("gone")) == list(store.queue.duplicates("gone")) == []


def test_a_correction_replaces_the_answer(store: Store) -> None:
    """Undo holds the item again; the old answer stands until the new one is saved, and the queue's item waits meanwhile."""
    store.writer.fill([review("a", probabilities=DOUBT), review("b", probabilities=SURE)], {})
    first = claimed(store)
    store.writer.fill([answer_to(first, START_MS)], {})
    waiting = claimed(store)
    assert waiting.item.event.id == "b"
    undone = store.queue.reopen("a", "ann")
    assert isinstance(undone, Claim)
    assert (undone.door, undone.version) == (Door.CORRECTION, 2)
    assert undone.before is not None
    assert undone.before.answer_id == undone.supersedes
    assert claimed(store).token == undone.token
    assert answers_in(store)[-1].tag == "mlops"
    store.writer.fill([answer_to(undone, START_MS + 1, tag="other")], {})
    assert [given.tag for given in answers_in(store)] == ["mlops", "other"]
    assert [(given.event_id, given.version) for given in store.queue.own("ann")] == [("a", 2)]
    assert claimed(store).token == waiting.token


def test_what_someone_holds_cannot_be_corrected(store: Store) -> None:
    """Two people do not correct one answer at the same time."""
    store.writer.fill([answer("a")], {})
    assert isinstance(store.queue.reopen("a", "ann"), Claim)
    late = store.queue.reopen("a", "bob")
    assert isinstance(late, Lapsed)
    assert late.reason == "taken"


def test_an_item_without_an_answer_cannot_be_corrected(store: Store) -> None:
    """Undo is for answers."""
    store.writer.fill([review("a")], {})
    assert isinstance(store.queue.reopen("a", "ann"), Lapsed)


def test_a_clock_that_is_set_back_keeps_no_item_from_anybody(store: Store, clock: Clock) -> None:
    """A lease, a skip and a save that were given before end as if they had lapsed; who holds the token goes on."""
    store.writer.fill([review("held"), review("skipped", tagged_ms=START_MS + 1), review("saved", tagged_ms=START_MS + 2)], {})
    held, skipped, saved = claimed(store, "ann"), claimed(store, "bob"), claimed(store, "cid")
    store.queue.skip(skipped.item.event.id, skipped.token)
    assert isinstance(store.queue.hold_for_saving(saved.item.event.id, saved.token), Claim)
    clock.pass_ms(-DAY_MS)
    assert isinstance(store.queue.renew(held.item.event.id, held.token), Claim)
    assert claimed(store, "bob").item.event.id == "skipped"
    assert claimed(store, "cid").token == saved.token
    assert store.queue.figures().held == 3
    clock.pass_ms(-DAY_MS)
    assert store.queue.figures().held == 0
    assert {claimed(store, name).item.event.id for name in ("dan", "eve", "fay")} == {"held", "skipped", "saved"}


def test_consoles_whose_clocks_differ_by_minutes_keep_each_others_leases(opened: Open, clock: Clock) -> None:
    """An item that one of them has just given is not free for the other."""
    one, other = opened(), opened()
    one.writer.fill([review("a"), review("b")], {})
    clock.pass_ms(5 * 60_000)
    first = claimed(one, "ann")
    clock.pass_ms(-5 * 60_000)
    assert claimed(other, "bob").item.event.id != first.item.event.id
    assert other.queue.claim("cid") is None
