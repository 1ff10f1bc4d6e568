"""What an endpoint may cost in a day, in calls and in money, and the turns of its requests. Pure but for locks: clocks are arguments."""

import threading
from dataclasses import dataclass

from tagstream.stream.contract.second_opinions import SecondOpinion

DAY_MS = 86_400_000
TOKENS_OF_A_PRICE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The prices of 1,000 tokens that are read and written."""

    input: float
    output: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """
        The price of a request.

        >>> Prices(input=0.5, output=2.0).of(2000, 100)
        1.2
        """
        return (self.input * input_tokens + self.output * output_tokens) / TOKENS_OF_A_PRICE


class Budget:
    """
    Calls and money of a day (UTC). A request is paid for before it is sent, with the most that it can cost; the rest comes back afterwards.

    A day's spending survives a restart: `seen` takes each record that was on `second` before this process asked. What a process had spent
    and not yet written when it was killed is not known: at most two items for each request at once.
    """

    def __init__(self, *, calls: int, cost: float) -> None:
        """Take the most calls and the most money of a day."""
        self._calls, self._cost = calls, cost
        self._lock = threading.Lock()
        self._day = -1
        self._spent_calls, self._spent_cost = 0, 0.0

    def seen(self, opinion: SecondOpinion) -> None:
        """Count what an earlier process spent on this opinion. Opinions of any order; only the newest day counts."""
        with self._lock:
            if self._on(opinion.decided_ms // DAY_MS):
                self._spent_calls += opinion.calls
                self._spent_cost += opinion.cost

    def take(self, now_ms: int, most: float) -> bool:
        """
        Pay for one request.

        Args:
            now_ms: The time, Unix milliseconds.
            most: The most that the request can cost.

        Returns:
            False if the day's calls or money do not suffice; nothing is paid then.
        """
        with self._lock:
            # A clock that was set back pays from the newest day.
            self._on(now_ms // DAY_MS)
            if self._spent_calls + 1 > self._calls or self._spent_cost + most > self._cost:
                return False
            self._spent_calls += 1
            self._spent_cost += most
            return True

    def give_back(self, now_ms: int, cost: float) -> None:
        """Take back money of a request that cost less. After midnight (`now_ms` is the time of `take`) nothing comes back."""
        with self._lock:
            if self._on(now_ms // DAY_MS):
                self._spent_cost = max(0.0, self._spent_cost - cost)

    def _on(self, day: int) -> bool:
        """Begin a new day if this is one; True if the day is the newest."""
        if day > self._day:
            self._day, self._spent_calls, self._spent_cost = day, 0, 0.0
        return day == self._day


class Turns:
    """The times at which requests may begin: one after another, at a rate, and later if the endpoint asks for a pause."""

    def __init__(self, a_minute: float) -> None:
        """Take the most requests a minute."""
        self._seconds = 60 / a_minute
        self._next = float("-inf")
        self._lock = threading.Lock()

    def take(self, now: float, until: float) -> float | None:
        """
        The seconds to wait for the next turn; None, without taking one, if that turn is not before `until`.

        >>> turns = Turns(60)
        >>> turns.take(10.0, 20.0), turns.take(10.0, 20.0), turns.take(10.0, 11.5)
        (0.0, 1.0, None)
        """
        with self._lock:
            at = max(now, self._next)
            if at >= until:
                return None
            self._next = at + self._seconds
            return at - now

    def pause(self, until: float) -> None:
        """Begin no request before this time."""
        with self._lock:
            self._next = max(self._next, until)
