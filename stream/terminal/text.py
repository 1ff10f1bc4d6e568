r"""Text for a terminal: a number with its noun, and escapes for foreign text (from events, brokers, files and users).

A terminal obeys control characters, and direction marks reorder the text that a person reads.
"""

BEYOND_BMP = 0x10000


def escaped(text: str, *, lines: bool = False) -> str:
    r"""
    Return the text with an escape for each character that is invisible, moves the cursor or reorders text.

    Args:
        text: Any text.
        lines: Keep line breaks.

    >>> print(escaped("a\x1b[2Jb \u202ec"))
    a\x1b[2Jb \u202ec
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or (lines and c == "\n") else c.encode("unicode_escape").decode() for c in text)


def escaped_json(line: str) -> str:
    r"""
    Return the same JSON value with an escape for each character that a terminal could obey.

    Args:
        line: JSON. Outside its strings, spaces are the only white space.

    >>> print(escaped_json('{"a":"\x9b2J"}'))
    {"a":"\u009b2J"}
    """
    return line if line.isprintable() else "".join(c if c.isprintable() else _json_escape(c) for c in line)


def counted(number: int, thing: str) -> str:
    """
    Return a number and a regular noun, in the singular for 1.

    >>> counted(1, "event"), counted(0, "event"), counted(2, "dead letter")
    ('1 event', '0 events', '2 dead letters')
    """
    return f"{number} {thing}{'s' * (number != 1)}"


def _json_escape(character: str) -> str:
    code = ord(character)
    if code < BEYOND_BMP:
        return f"\\u{code:04x}"
    high, low = divmod(code - BEYOND_BMP, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
