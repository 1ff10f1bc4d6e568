"""The requests that get no answer of the model: a status, and a sentence with the next step."""

import math

RETRY_SECONDS = 1


class RequestError(Exception):
    """A request is refused: `status` is HTTP's, the message is for the client, and `headers` go with it."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        """
        Refuse a request.

        Args:
            status: Of HTTP.
            sentence: For the client, with the next step.
            headers: Of the answer, beside those of every answer.
        """
        super().__init__(sentence)
        self.status = status
        self.headers = headers or {}


class BusyError(RequestError):
    """So many rows wait already that these would not be decided in time."""

    def __init__(self, waiting: int, wait_seconds: float = 0.0) -> None:
        """`waiting`: the rows that wait; `wait_seconds`: the time in which they are decided, if it is known."""
        sentence = f"{waiting} rows wait for the model, so nothing was decided. Next: send the request again after Retry-After."
        super().__init__(503, sentence, {"Retry-After": str(max(RETRY_SECONDS, math.ceil(wait_seconds / 2)))})


class LateError(RequestError):
    """The decisions were not there within the deadline."""

    def __init__(self, seconds: float) -> None:
        sentence = f"No decision came within {seconds:g} s (--deadline-seconds). Next: send the request again, with fewer rows."
        super().__init__(504, sentence, {"Retry-After": str(RETRY_SECONDS)})


class BrokenError(RequestError):
    """The model, the broker's client or the machine is broken: the process ends and is to be started again."""

    def __init__(self) -> None:
        sentence = "The model or the broker's client is broken, and this server ends. Next: send the request again when /readyz says ready."
        super().__init__(503, sentence, {"Retry-After": str(RETRY_SECONDS)})
