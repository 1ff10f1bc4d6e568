"""The follower without brokers: it says so, goes on trying, and ends when it is asked to."""

import threading

from tagstream.stream.review.follower import StoreFollower
from tagstream.stream.review.store.store import Store
from tagstream.stream.settings.settings import Settings
from tests.waiting import until


def test_brokers_that_are_away_are_told_and_tried_again(store: Store) -> None:
    """Nothing is shown as filled, and the console can say why."""
    settings = Settings(brokers="127.0.0.1:1", startup_timeout_seconds=0.1)
    with StoreFollower(store, settings) as follower:
        assert "127.0.0.1:1" in (until(lambda: follower.trouble, "the trouble is told") or "")
    assert not follower.ready.is_set()
    assert not any(thread.name == "follower" for thread in threads())


def threads() -> list[threading.Thread]:
    """Those that run."""
    return threading.enumerate()
