"""The modules of others that are not public and that we import: what each is for, and whether it still has what we take from it."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.sources import parsed

ROOT = Path(__file__).parents[2]
# Libraries whose makers promise only some modules: what they document, and the errors and records that their functions give.
PUBLIC = {
    "aiokafka": {"aiokafka", "aiokafka.abc", "aiokafka.errors", "aiokafka.structs"},
    "faust": {"faust", "faust.auth", "faust.events", "faust.exceptions", "faust.types"},
    "mode": {"mode"},
    "uvicorn": {"uvicorn"},
}
# Module -> what we do with it.
PRIVATE = {
    "aiokafka.client": "probes ask the coordinator of a group and of a transaction",
    "aiokafka.codec": "record batches are inflated within a budget of bytes",
    "aiokafka.conn": "sessions are renewed before a token ends; a connection reads into a buffer of its own",
    "aiokafka.consumer.consumer": "a worker's consumer gets our coordinator and our fetcher",
    "aiokafka.consumer.fetcher": "fetches wait for the model; records are parsed within a budget",
    "aiokafka.consumer.group_coordinator": "commits carry the group's notes, and are refused once the worker is out of its group",
    "aiokafka.producer.message_accumulator": "one confirmation ends the wait of a whole batch",
    "aiokafka.protocol.admin": "a session tells the two requests of signing in from all others",
    "aiokafka.protocol.commit": "the coordinator's answers about commits are read",
    "aiokafka.protocol.group": "a probe asks for the rights on a group",
    "aiokafka.protocol.metadata": "before the worker starts, a request on one connection shows whether the broker lets it in",
    "aiokafka.protocol.offset": "the end of committed records is asked for",
    "aiokafka.protocol.transaction": "a probe asks for the rights on transactions",
    "aiokafka.record.default_records": "a batch is read after it is inflated",
    "aiokafka.record.memory_records": "the batches of a fetch are told apart",
    "faust.streams": "a worker says whether Faust's compiled streams are there",
    "faust.tables": "a worker has no tables, and starts without their services",
    "faust.tables.recovery": "a seek that a rebalance broke off is tried again",
    "faust.transport.drivers.aiokafka": "consumer and producer of Faust's driver are extended",
    "faust.transport.producer": "the buffer of Faust's producer stays empty",
    "faust.transport.utils": "the order in which Faust takes partitions",
    "faust.types.transports": "an order of our own for transactions",
    "faust.types.tuples": "the lock under which Faust counts what is done",
    "mode.services": "what a service waited for",
    "mode.utils.futures": "whoever waits for an acknowledgement is woken",
    "uvicorn.protocols.http.h11_impl": "a connection has bounds",
    "uvicorn.server": "connections are counted",
}


def taken(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Each name that a file takes from a library of `PUBLIC`, with its module; "" for the module itself."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PUBLIC:
            yield from ((str(node.module), alias.name) for alias in node.names)
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in PUBLIC:
                    modules[alias.asname or alias.name] = alias.name
                    yield alias.name, ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in modules:
            yield modules[ast.unparse(node.value)], node.attr


def all_taken() -> dict[str, set[str]]:
    """The names that the installed source takes, by module."""
    found: dict[str, set[str]] = {}
    for room in ("stream", "model_export", "monitoring"):
        for path in (ROOT / room).rglob("*.py"):
            for module, name in taken(parsed(path.read_text(encoding="utf-8"))):
                found.setdefault(module, set()).add(name)
    return found


def missing(module: str, names: set[str]) -> list[str]:
    """What the installed library has no longer."""
    try:
        there = import_module(module)
    except ModuleNotFoundError:
        return [module]
    return sorted(f"{module}.{name}" for name in names - {""} if not (hasattr(there, name) or is_module(f"{module}.{name}")))


def is_module(name: str) -> bool:
    """Whether a module of this name can be imported: a package need not have it as an attribute before."""
    try:
        import_module(name)
    except ModuleNotFoundError:
        return False
    return True


def test_every_private_module_is_listed_with_its_use() -> None:
    """And none is listed that nobody imports."""
    public = {name for names in PUBLIC.values() for name in names}
    assert set(all_taken()) - public == set(PRIVATE)


@pytest.mark.parametrize("module", sorted(all_taken()))
def test_the_library_still_has_what_is_taken_from_it(module: str) -> None:
    """A newer version that moved a name is named here, before a worker fails on it."""
    assert missing(module, all_taken()[module]) == []


def test_a_name_that_moved_is_found() -> None:
    """A module that left, and a name that left a module."""
    assert missing("aiokafka.no_such_module", {"One"}) == ["aiokafka.no_such_module"]
    assert missing("aiokafka.conn", {"AIOKafkaConnection", "Gone"}) == ["aiokafka.conn.Gone"]
