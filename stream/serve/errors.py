"""Errors for requests that get no decision. Each error has an HTTP status and a sentence with the next step."""

import math

RETRY_SECONDS = 1


class RequestError(Exception):
    """A request is refused. The client gets the HTTP `status`, the message and the `headers`."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        """
        Store the answer.

        Args:
            status: The HTTP status.
            sentence: The reason and the next step, for the client.
            headers: Headers of this answer, beside the headers of every answer.
        """
        super().__init__(sentence)
        self.status = status
        self.headers = headers or {}


class BusyError(RequestError):
    """The queue is full, or its rows would take longer than the deadline."""

    def __init__(self, waiting: int, wait_seconds: float = 0.0) -> None:
        """`waiting` is the number of waiting rows. `wait_seconds` is the estimated time until they are decided; 0 if it is not known."""
        sentence = f"{waiting} rows wait for the model, so nothing was decided. Next: send the request again after Retry-After."
        super().__init__(503, sentence, {"Retry-After": str(max(RETRY_SECONDS, math.ceil(wait_seconds / 2)))})


class LateError(RequestError):
    """The deadline passed before the decisions were made."""

    def __init__(self, seconds: float) -> None:
        sentence = f"No decision came within {seconds:g} s (--deadline-seconds). Next: send the request again, with fewer rows."
        super().__init__(504, sentence, {"Retry-After": str(RETRY_SECONDS)})


class BrokenError(RequestError):
    """The model, the broker's client or the machine is broken. The process ends and must be started again."""

    def __init__(self) -> None:
        sentence = "The model or the broker's client is broken, and this server ends. Next: send the request again when /readyz says ready."
        super().__init__(503, sentence, {"Retry-After": str(RETRY_SECONDS)})
