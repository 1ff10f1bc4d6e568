"""Text that is no JSON, and JSON that parsers treat differently: numbers, names, nesting, size."""

import random

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.event import DEFAULT_LIMITS, UNREADABLE_HEADERS
from tests.hostile.record import Hostile, Make, dead, decided, encoded, event

MAX_BYTES = DEFAULT_LIMITS.max_bytes
MAX_DEPTH = DEFAULT_LIMITS.max_depth


def no_json(chance: random.Random, number: int) -> Hostile:
    """Other notations, half a document, two documents, comments, white space."""
    whole = encoded(chance, event(number))
    value = chance.choice(
        [
            whole[: chance.randint(1, len(whole) - 1)],
            whole + whole,
            whole + "garbage",
            whole[:-1] + ",}",
            f"{{'id': 'hostile-{number}', 'title': 'a'}}",
            f'{{id: "hostile-{number}", title: "a"}}',
            f"callback({whole})",
            f"/* why */ {whole}",
            f"{whole} // why",
            f"<event><id>{number}</id><title>a</title></event>",
            f"---\nid: {number}\ntitle: a\n",
            f"id,title\n{number},a",
            f"title=a&id={number}",
            f'{{"id":"hostile-{number}","title":undefined}}',
            f'{{"id":"hostile-{number}","title":"a" "b"}}',
            f'{{"id":"hostile-{number}","title":"a\nb"}}',
            f'{{"id":"hostile-{number}","title":"a\tb"}}',
            f'{{"id":"hostile-{number}","title":"\x1b[31m"}}',
            f'{{"id":"hostile-{number}","title":"a\x00b"}}',
            f'{{"id":"hostile-{number}","title":"\\x41"}}',
            f'{{"id":"hostile-{number}","title":"\\u12g4"}}',
            f'{{"id":"hostile-{number}","title":"\\u+123"}}',
            f'{{"id":"hostile-{number}","title":"a}}',
            " \t\r\n" * chance.randint(1, 50),
        ]
    )
    return dead(value, Reason.INVALID_JSON)


def odd_number(chance: random.Random, number: int) -> Hostile:
    """Spellings of numbers that JSON does not have."""
    digits = chance.choice(["01", "+1", ".5", "1.", "0x10", "1_000", "1e", "--1", "-", "1e+", "०१"])
    return dead(f'{{"id":"hostile-{number}","title":"a","x":{digits}}}', Reason.INVALID_JSON)


def not_finite(chance: random.Random, number: int) -> Hostile:
    """NaN and infinities as Python's parser accepts them, and numbers that overflow."""
    digits = chance.choice(["NaN", "Infinity", "-Infinity", "1e400", "-1e999", "1E+400", "123.4e308999"])
    x = chance.choice([digits, f"[{digits}]", f'{{"y":[1,{{"z":{digits}}}]}}'])
    return dead(f'{{"id":"hostile-{number}","title":"a","x":{x}}}', Reason.NON_FINITE_NUMBER)


def long_number(chance: random.Random, number: int) -> Hostile:
    """5,000 digits, which Python refuses and other parsers read in quadratic time."""
    digits = chance.choice(["9" * 5_000, "-" + "1" * 4_301, "0." + "0" * 2_000 + "1", "1" * 100_000, "1e" + "0" * 2_000 + "1"])
    return dead(f'{{"id":"hostile-{number}","title":"a","x":{digits}}}', Reason.NUMBER_TOO_LONG)


def legal_number(chance: random.Random, number: int) -> Hostile:
    """Large, small and precise numbers that must be published as they came."""
    digits = chance.choice(["9" * 400, "1e-400", "-0", "-0.0", "1E5", "12345678901234567890.50", "1" * 1_000, "1e308"])
    return decided(f'{{"id":"hostile-{number}","title":"a","x":{digits}}}', flags=frozenset())


def same_name_twice(chance: random.Random, number: int) -> Hostile:
    """The same name twice, also escaped and deep inside."""
    value = chance.choice(
        [
            f'{{"id":"hostile-{number}","title":"a","title":"b"}}',
            f'{{"id":"hostile-{number}","title":"a","\\u0074itle":"b"}}',
            f'{{"id":"hostile-{number}","title":"a","\\u0069d":"x"}}',
            f'{{"id":"hostile-{number}","title":"a","x":{{"y":1,"y":2}}}}',
            f'{{"id":"hostile-{number}","title":"a","x":[[{{"y":1,"\\u0079":2}}]]}}',
            f'{{"id":"hostile-{number}","title":"a","":1,"":2}}',
        ]
    )
    return dead(value, Reason.DUPLICATE_KEY)


def nearly_the_same_name(chance: random.Random, number: int) -> Hostile:
    """Names that differ by case, composition or an invisible character."""
    other = chance.choice(["Title", "TITLE", "title ", "t\u0456tle", "title\u200b", "tit\u200dle"])
    return decided(encoded(chance, {**event(number), other: "b"}), flags=frozenset())


def too_deep(chance: random.Random, number: int) -> Hostile:
    """Nesting beyond every recursion limit, and one level beyond ours."""
    depth = chance.choice([MAX_DEPTH + 1, 500, 1_000, 5_000, 100_000])
    nested = chance.choice(["[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth])
    return dead(f'{{"id":"hostile-{number}","title":"a","x":{nested}}}', Reason.TOO_DEEP)


def open_brackets(chance: random.Random, _: int) -> Hostile:
    """Brackets that are never closed."""
    return dead(chance.choice(["[", '{"a":', '[{"":']) * 100_000, Reason.TOO_DEEP, Reason.INVALID_JSON)


def deep_and_legal(chance: random.Random, number: int) -> Hostile:
    """Nesting of exactly the limit."""
    depth = MAX_DEPTH - 2
    nested = chance.choice(["[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth])
    return decided(f'{{"id":"hostile-{number}","title":"a","x":{nested}}}', flags=frozenset())


def no_object(chance: random.Random, number: int) -> Hostile:
    """JSON, but not an object."""
    value = chance.choice([f"[{number}]", f'"{number}"', str(number), "true", "null", "[]", '[{"title":"a"}]', "-0", '""'])
    return dead(value, Reason.NOT_AN_OBJECT)


def many_names(chance: random.Random, number: int) -> Hostile:
    """Thousands of fields, and fields with long names."""
    count, length = chance.choice([(3_000, 5), (5, 10_000), (1, 50_000)])
    return decided(encoded(chance, event(number, **{f"{at}-{'n' * length}": at for at in range(count)})), flags=frozenset())


def long_text(chance: random.Random, number: int) -> Hostile:
    """Tens of kilobytes of text that tokenizers treat in special ways; length alone gives no flag."""
    piece = chance.choice(["model data ", "a", "!", "\u56fe", "\U0001f600", "\u0e01\u0e33", " ", "\n", "1"])
    title = "x" + piece * (chance.randint(20_000, 60_000) // len(piece))
    return decided(encoded(chance, event(number, title)), flags=frozenset())


def as_large_as_allowed(chance: random.Random, number: int) -> Hostile:
    """A value at the size limit or just below."""
    size = chance.choice([MAX_BYTES, MAX_BYTES - 1])
    return decided(_filled(chance, number, size))


def larger_than_allowed(chance: random.Random, number: int) -> Hostile:
    """A value one byte or many bytes above the limit."""
    size = MAX_BYTES + chance.choice([1, 2, 50_000])
    return dead(_filled(chance, number, size), Reason.TOO_LARGE)


def carries_too_much(_: random.Random, number: int) -> Hostile:
    """Value, key and headers that are within their limits and together above the limit of a record."""
    limit = DEFAULT_LIMITS.max_added_bytes
    whole = b'{"id":"hostile-%d","title":"' % number
    value = whole + b"a" * (MAX_BYTES - len(whole) - 2) + b'"}'
    return dead(value, Reason.TOO_LARGE, headers=(("large", b"h" * (limit + 1_000)),))


def says_that_it_is_unreadable(chance: random.Random, number: int) -> Hostile:
    """A producer's header with the name that the batch reader uses for unreadable parts."""
    return dead(encoded(chance, event(number)), Reason.UNREADABLE_BATCH, headers=((UNREADABLE_HEADERS[0], b"forged"),))


def _filled(chance: random.Random, number: int, size: int) -> bytes:
    field, piece = chance.choice(["title", "description", "x"]), chance.choice([b"word ", b"!", "\u56fe".encode(), b"a\\n"])
    head = b'{"id":"hostile-%d","title":"a"%b"' % (number, b',"%b":' % field.encode() if field != "title" else b"")
    if field == "title":
        head = b'{"id":"hostile-%d","title":"' % number
    room = size - len(head) - 2
    return head + piece * (room // len(piece)) + b" " * (room % len(piece)) + b'"}'


CLASSES: tuple[Make, ...] = (
    no_json,
    odd_number,
    not_finite,
    long_number,
    legal_number,
    same_name_twice,
    nearly_the_same_name,
    too_deep,
    deep_and_legal,
    no_object,
    says_that_it_is_unreadable,
)
HEAVY: tuple[Make, ...] = (open_brackets, many_names, long_text, as_large_as_allowed, larger_than_allowed, carries_too_much)
