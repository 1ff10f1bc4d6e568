"""`from tagstream import Tagger` in the installed wheel, beside packages of the user's own."""

from pathlib import Path

import pytest

from deploy.release.environment import Environment
from deploy.release.failure import ReleaseError
from tagstream import Tagger
from tagstream.model_export.extras import OF_WORKER

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
TITLES = ("Feature stores in production", "Attention is all you need", " ", "Zero\u200bwidth")
PROGRAM = f"""
from tagstream import Tagger
for result in Tagger(settings={{"audit_rate": 0.5}}, clock=lambda: 1_700_000_000).decide({TITLES!r}):
    print(result, result.records[0].value)
"""


def test_a_program_gets_the_decisions_of_the_checkout(installed: Environment) -> None:
    """Every field and every byte of them."""
    here = [
        f"{one} {one.records[0].value!r}"
        for one in Tagger(settings={"audit_rate": 0.5}, clock=lambda: 1_700_000_000).decide(TITLES)
    ]
    assert installed.run("python", "-c", PROGRAM).decode().splitlines() == here


def test_a_type_checker_sees_the_types(package: Path) -> None:
    """The package says that it has them."""
    assert (package / "py.typed").is_file()


def test_the_page_of_the_library_is_true_of_the_wheel(installed: Environment) -> None:
    """As it is printed."""
    assert installed.run("python", "-m", "doctest", ROOT / "docs" / "library.md") == b""


# An import of a module that stands as None fails as if nothing had installed it.
BASE = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(OF_WORKER)!r}))
from tagstream.stream.cli.main import main
"""


def test_without_an_extra_it_decides(installed: Environment) -> None:
    """`Tagger` and `classify` load nothing that only the extra `worker` installs."""
    title = "Feature stores in production"
    program = BASE + f"from tagstream import Tagger; print(Tagger().tag({title!r}).tag, flush=True)\n"
    program += f"sys.argv = ['tagstream', 'classify', {title!r}]; main()"
    assert [line.split()[0] for line in installed.run("python", "-c", program).decode().splitlines()[:2]] == ["mlops", "tagged"]


@pytest.mark.parametrize(
    ("words", "extras"),
    [
        (["worker"], "worker"),
        (["doctor"], "worker"),
        (["tail", "tagged"], "worker"),
        (["rollout", "status"], "worker"),
        (["demo"], "worker"),
        (["serve"], "http"),
        (["review"], "review"),
        (["tags", "--table", "sqlite:///x.db#tags"], "worker,batch"),
    ],
    ids=lambda one: one if isinstance(one, str) else one[0],
)
def test_what_asks_brokers_names_its_extra(installed: Environment, words: list[str], extras: str) -> None:
    """In a sentence with the command that installs it from this wheel, and with exit code 2."""
    program = BASE + f"sys.argv = ['tagstream', *{words!r}]; main()"
    with pytest.raises(ReleaseError, match=rf"(?s)code 2\..*Next: .* -m pip install 'tagstream\[{extras}\] @ file://") as found:
        installed.run("python", "-c", program)
    assert "Traceback" not in str(found.value)
