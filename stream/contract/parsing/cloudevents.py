"""CloudEvents 1.0: in structured mode the envelope is the value, in binary mode it is in `ce_*` headers."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from monitoring.vocabulary import Reason
from stream.contract.limits import Limits
from stream.contract.parsing.strict_json import Fields, checked_object, encoded, fields_of, json_name
from stream.contract.record import Headers
from stream.contract.refusal import invalid

STRUCTURED_CONTENT_TYPE = b"application/cloudevents+json"
CLOUDEVENT_PREFIX = "ce_"


def binary_attributes(headers: Headers) -> dict[str, str] | None:
    """
    The attributes of a CloudEvent in binary mode; None if the record is not one.

    Raises:
        Refused: An attribute is missing, not UTF-8, or holds U+0000.
    """
    if not any(name == "ce_specversion" for name, _ in headers):
        return None
    attributes: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(CLOUDEVENT_PREFIX) and value is not None:
            try:
                text = value.decode("utf-8")
            except UnicodeDecodeError:
                raise invalid(Reason.INVALID_CLOUDEVENT, f"header {_known_attribute(name)} is not UTF-8") from None
            if "\0" in name + text:
                raise invalid(Reason.INVALID_CLOUDEVENT, f"header {_known_attribute(name)} holds U+0000")
            attributes[name.removeprefix(CLOUDEVENT_PREFIX)] = text
    _check_attributes(attributes)
    return attributes


def is_structured(headers: Headers, checked: Mapping[str, Any]) -> bool:
    """Is the value an envelope? Its content type says so, or it has a `specversion` and no `title`."""
    declared = any(
        name.lower() == "content-type" and value and value.startswith(STRUCTURED_CONTENT_TYPE) for name, value in headers
    )
    return declared or ("specversion" in checked and "title" not in checked)


def open_envelope(checked: Mapping[str, Any], fields: Fields, limits: Limits) -> tuple[dict[str, str], dict[str, Any], Fields]:
    """
    Attributes, checked data and fields of a CloudEvent in structured mode; the envelope becomes the field `cloudevent`.

    Raises:
        Refused: An attribute is missing, or the data is no object that may be read.
    """
    attributes = {name: value for name, value in checked.items() if isinstance(value, str) and name != "data_base64"}
    _check_attributes(attributes)
    # From the bytes that came, since an extension attribute may be a number or a boolean.
    whole = {"cloudevent": encoded({name: value for name, value in fields.items() if name not in ("data", "data_base64")})}
    if "data_base64" in checked:
        decoded = _base64(checked["data_base64"])
        return attributes, checked_object(decoded, limits), whole | fields_of(decoded)
    data = checked.get("data")
    if not isinstance(data, dict):
        raise invalid(Reason.INVALID_CLOUDEVENT, f"the envelope's data is a JSON {json_name(data)}, an object is expected")
    return attributes, data, whole | fields_of(fields["data"])


def _check_attributes(attributes: Mapping[str, str]) -> None:
    if attributes.get("specversion") != "1.0":
        raise invalid(Reason.INVALID_CLOUDEVENT, "specversion is not 1.0")
    for name in ("id", "source", "type"):
        if not attributes.get(name):
            raise invalid(Reason.INVALID_CLOUDEVENT, f"the CloudEvents attribute {name} is missing or not a string")


def _base64(text: object) -> bytes:
    if not isinstance(text, str):
        raise invalid(Reason.INVALID_CLOUDEVENT, "data_base64 is not a string")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(Reason.INVALID_CLOUDEVENT, "data_base64 is not base64") from None


def _known_attribute(name: str) -> str:
    return name if name in {"ce_id", "ce_source", "ce_type", "ce_time", "ce_subject"} else "of an extension"
