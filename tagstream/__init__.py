"""
tagstream as a library: decisions for a program of yours, and the topics' records. docs/library.md is its page.

The names in `__all__` are stable; everything below `tagstream.stream`, `tagstream.model_export` and `tagstream.monitoring` is not.
Each is imported when it is first asked for, so that `import tagstream` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagstream.model_export.bundle.bundle import BundleError
    from tagstream.monitoring.vocabulary import Reason, Stage
    from tagstream.stream.contract.answers import Answer, AnsweredEvent, Before
    from tagstream.stream.contract.dead_letter import DeadLetter, Place
    from tagstream.stream.contract.distinct import ConflictError, Distinct, distinct
    from tagstream.stream.contract.event import ContentEvent, Record
    from tagstream.stream.contract.outcome import Decision, ModelRef, ReviewerDecision
    from tagstream.stream.contract.published import DecidedEvent, ModelDecision, PublishedDecision
    from tagstream.stream.contract.refusal import Refusal
    from tagstream.stream.library.foreign import Answers, ForeignModel
    from tagstream.stream.library.readers import read_answer, read_dead_letter, read_decision
    from tagstream.stream.library.results import Decided, Event, Rejected, RejectedError, Result
    from tagstream.stream.library.tagger import AsyncTagger, ModelTimeoutError, Tagger
    from tagstream.stream.rollout.errors import AsOfError
    from tagstream.stream.settings.loading import SettingsError
    from tagstream.stream.settings.secret_files import SecurityError

    __version__: str

_HOMES = {
    "monitoring.vocabulary": ("Reason", "Stage"),
    "model_export.bundle.bundle": ("BundleError",),
    "stream.contract.answers": ("Answer", "AnsweredEvent", "Before"),
    "stream.contract.dead_letter": ("DeadLetter", "Place"),
    "stream.contract.distinct": ("ConflictError", "Distinct", "distinct"),
    "stream.contract.event": ("ContentEvent", "Record"),
    "stream.contract.outcome": ("Decision", "ModelRef", "ReviewerDecision"),
    "stream.contract.published": ("DecidedEvent", "ModelDecision", "PublishedDecision"),
    "stream.contract.refusal": ("Refusal",),
    "stream.library.foreign": ("Answers", "ForeignModel"),
    "stream.library.readers": ("read_answer", "read_dead_letter", "read_decision"),
    "stream.library.results": ("Decided", "Event", "Rejected", "RejectedError", "Result"),
    "stream.library.tagger": ("AsyncTagger", "ModelTimeoutError", "Tagger"),
    "stream.rollout.errors": ("AsOfError",),
    "stream.settings.loading": ("SettingsError",),
    "stream.settings.secret_files": ("SecurityError",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "AnsweredEvent",
    "Answers",
    "AsOfError",
    "AsyncTagger",
    "Before",
    "BundleError",
    "ConflictError",
    "ContentEvent",
    "DeadLetter",
    "Decided",
    "DecidedEvent",
    "Decision",
    "Distinct",
    "Event",
    "ForeignModel",
    "ModelDecision",
    "ModelRef",
    "ModelTimeoutError",
    "Place",
    "PublishedDecision",
    "Reason",
    "Record",
    "Refusal",
    "Rejected",
    "RejectedError",
    "Result",
    "ReviewerDecision",
    "SecurityError",
    "SettingsError",
    "Stage",
    "Tagger",
    "__version__",
    "distinct",
    "read_answer",
    "read_dead_letter",
    "read_decision",
]


def __getattr__(name: str) -> Any:
    """
    The public object of this name.

    Raises:
        AttributeError: There is none.
    """
    found: Any
    if name == "__version__":
        found = import_module("importlib.metadata").version("tagstream")
    elif name in _HOME:
        found = getattr(import_module(f"tagstream.{_HOME[name]}"), name)
    else:
        msg = f"tagstream has no public name {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(msg)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The public names."""
    return __all__
