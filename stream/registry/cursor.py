"""The bytes of one Avro value, taken in their order, and a budget for what is made of them. Pure."""

from monitoring.vocabulary import Reason
from stream.contract.refusal import Refused, undecodable

# A number of 64 bits has 10 bytes of 7 bits each.
MOST_VARINT_BYTES = 10
# The highest bit of a byte: another one follows.
MORE = 0x80
# Fields of records and items of arrays and maps in one value. A null takes no byte, and one of four digits as a name and in JSON.
MOST_VALUES = 10_000
# So many bytes of JSON come from names and values that take no byte, and so many from each byte of the payload. A batch is cut by the
# bytes on the topic, and all of its events are held as JSON at once.
FREE_BYTES, MOST_GROWTH = 64 * 1024, 4


class Cursor:
    r"""
    Reads one payload, once. Every method raises `Refused` where the bytes are not what they should be, or end.

    >>> cursor = Cursor(b"\4Hi\3", max_bytes=100)
    >>> cursor.string(), cursor.long()
    ('Hi', -2)
    """

    def __init__(self, payload: bytes, max_bytes: int) -> None:
        """`max_bytes`: the most that any value may take as JSON; that of few bytes may take less, `self.max_bytes`."""
        self._payload = payload
        self._at = 0
        self.max_bytes = min(max_bytes, FREE_BYTES + MOST_GROWTH * len(payload))
        # No comma follows the outermost value, which is counted as if one did.
        self._left = self.max_bytes + 1
        self._values_left = MOST_VALUES

    def end(self) -> None:
        """No byte may be left."""
        if self._at != len(self._payload):
            raise wrong(len(self._payload) - self._at, "bytes follow the value")

    def take(self, count: int) -> bytes:
        """So many bytes."""
        until = self._at + count
        if count < 0 or until > len(self._payload):
            raise undecodable(Reason.INVALID_AVRO, f"the value ends after {len(self._payload)} bytes, in the middle of a field")
        taken = self._payload[self._at : until]
        self._at = until
        return taken

    def long(self) -> int:
        """A number of Avro's types `int` and `long`: seven bits a byte, the lowest first, signs in zigzag."""
        found = 0
        for position in range(MOST_VARINT_BYTES):
            byte = self.take(1)[0]
            found |= (byte & ~MORE) << (7 * position)
            if byte < MORE:
                return (found >> 1) ^ -(found & 1)
        raise wrong(MOST_VARINT_BYTES, "bytes of a number say that more follow")

    def boolean(self) -> bool:
        """One byte, 0 or 1."""
        byte = self.take(1)[0]
        if byte > 1:
            raise wrong(byte, "stands where a boolean is 0 or 1")
        return byte == 1

    def string(self) -> str:
        """Its length, then its UTF-8."""
        try:
            return self.take(self.long()).decode("utf-8")
        except UnicodeDecodeError:
            raise undecodable(Reason.INVALID_UTF8, "a string of the Avro value is not UTF-8") from None

    def block(self) -> int:
        """The number of items of an array or a map that follow; 0 after the last. A negative one stands before their size."""
        count = self.long()
        if count < 0:
            self.long()
        self.hold(abs(count))
        return abs(count)

    def hold(self, count: int) -> None:
        """Count fields or items, before they are read."""
        self._values_left -= count
        if self._values_left < 0:
            raise undecodable(
                Reason.TOO_LARGE, f"the Avro value has more than {MOST_VALUES} fields and items, which is the limit"
            )

    def spend(self, count: int) -> None:
        """Count bytes that the JSON will have at least, so that a few bytes cannot become a large value."""
        self._left -= count
        if self._left < 0:
            raise self.too_large()

    def too_large(self) -> Refused:
        """The value takes more than `max_bytes` as JSON."""
        return undecodable(
            Reason.TOO_LARGE,
            f"as JSON the value has more than {self.max_bytes} bytes, which is the limit for {len(self._payload)} bytes of Avro",
        )


def wrong(number: int, what: str) -> Refused:
    """The bytes are not of their schema."""
    return undecodable(Reason.INVALID_AVRO, f"{number} {what}")
