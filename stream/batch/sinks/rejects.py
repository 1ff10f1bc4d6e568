"""The side file of a batch: a line of JSON for each row that is no event, with its place, the reason and its bytes."""

import base64

import msgspec

from monitoring.vocabulary import Stage
from stream.batch.rows.row import Row
from stream.contract.refusal import Refusal


def rejected_line(source: str, row: Row, number: int, refusal: Refusal | None) -> bytes:
    r"""
    The line of a row, with its end. The row's bytes are in `value` where they are UTF-8, else in `value_base64`.

    Args:
        source: The file or table that it is from.
        row: The row.
        number: Its place among all rows of the input, from 0.
        refusal: Why it is no event; None where the row's own fault says it.

    >>> from stream.batch.rows.row import Fault
    >>> rejected_line("a.csv", Row(3, b"\xff", Fault("not_csv", "too wide")), 1, None)
    b'{"source":"a.csv","line":3,"row":1,"stage":"decode","code":"not_csv","message":"too wide","value_base64":"/w=="}\n'
    """
    fault = row.fault
    if fault is not None:
        said = {"stage": Stage.DECODE.value, "code": fault.code, "message": fault.message}
    elif refusal is not None:
        said = {"stage": refusal.stage.value, "code": refusal.reason.value, "message": refusal.message}
    else:
        msg = "a row that is rejected has a reason"
        raise ValueError(msg)
    return msgspec.json.encode({"source": source, "line": row.line, "row": number, **said, **_bytes(row.value)}) + b"\n"


def _bytes(value: bytes) -> dict[str, str]:
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(value).decode()}
