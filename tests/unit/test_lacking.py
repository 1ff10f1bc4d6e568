"""A test whose needs are not met is skipped on a person's machine and fails in CI."""

import pytest

from tests.lacking import lacking


@pytest.mark.parametrize("environ", [{}, {"CI": ""}, {"CI": "false"}, {"CI": "0"}])
def test_a_persons_machine_skips(environ: dict[str, str]) -> None:
    """The reason is the message of the skip."""
    with pytest.raises(pytest.skip.Exception, match="no broker"):
        lacking("no broker", environ)


def test_ci_fails() -> None:
    """A run in CI that tested less than all is not green."""
    with pytest.raises(pytest.fail.Exception, match="CI must not skip this test: no broker"):
        lacking("no broker", {"CI": "true"})
