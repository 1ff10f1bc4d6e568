"""`tagstream review` without a broker: which options go together, and what the console is started with."""

import re
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tagstream.stream.cli import main
from tagstream.stream.review.console.access import Proxy, Remembered
from tagstream.stream.review.console.run import ConsolePlan


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[ConsolePlan]:
    """The plans that consoles were started with."""
    started: list[ConsolePlan] = []
    monkeypatch.setenv("TAGSTREAM_STATE_FOLDER", str(tmp_path / "state"))
    monkeypatch.setattr("tagstream.stream.review.console.run.run", lambda _, plan, **__: started.append(plan))
    monkeypatch.setattr("tagstream.stream.logs.configure", lambda **_: None)
    return started


def review(*words: str) -> Result:
    """`tagstream review` with these words."""
    return CliRunner().invoke(main.app, ["review", *words])


def test_without_options_it_listens_on_this_machine(plans: list[ConsolePlan], tmp_path: Path) -> None:
    """The store is a file in the state folder, which is made."""
    assert review("--reviewer", "ada").exit_code == 0
    [plan] = plans
    assert (plan.host, plan.port, plan.access) == ("127.0.0.1", 8090, Remembered(name="ada"))
    assert re.fullmatch(rf"sqlite:///{tmp_path}/state/review-[0-9a-f]{{16}}\.sqlite", plan.store)
    assert (tmp_path / "state").is_dir()


def test_each_cluster_and_group_has_a_store_of_its_own(plans: list[ConsolePlan], monkeypatch: pytest.MonkeyPatch) -> None:
    """A console on a second Kafka, or for a second group, begins with a store of its own; the first one finds its own again."""
    assert review().exit_code == 0
    assert review("--brokers", "elsewhere:9092").exit_code == 0
    monkeypatch.setenv("TAGSTREAM_GROUP", "another")
    assert review().exit_code == 0
    monkeypatch.delenv("TAGSTREAM_GROUP")
    assert review().exit_code == 0
    stores = [plan.store for plan in plans]
    assert stores[0] == stores[3]
    assert len(set(stores)) == 3


def test_behind_a_proxy_it_may_listen_anywhere(plans: list[ConsolePlan]) -> None:
    """The proxy's header and addresses are taken, and so are the names and sites."""
    words = (
        "--host",
        "192.168.0.1",
        "--proxy-header",
        "X-User",
        "--trusted-proxy",
        "10.0.0.0/8",
        "--host-name",
        "review.example",
    )
    assert review(*words, "--report-origin", "https://news.example/").exit_code == 0
    [plan] = plans
    assert isinstance(plan.access, Proxy)
    assert (plan.names, plan.origins) == (["review.example"], ["https://news.example"])


def test_without_login_must_be_said(plans: list[ConsolePlan]) -> None:
    """An address beyond this machine is refused, unless a person says so."""
    refused = review("--host", "192.168.0.1")
    assert refused.exit_code == 2
    assert "whoever reaches the console could answer" in refused.stderr
    assert review("--host", "192.168.0.1", "--without-login").exit_code == 0
    assert len(plans) == 1


@pytest.mark.parametrize("words", [("--proxy-header", "X-User"), ("--trusted-proxy", "10.0.0.1")])
def test_header_and_address_of_a_proxy_belong_together(plans: list[ConsolePlan], words: tuple[str, str]) -> None:
    """A header that every client may set would let each be anybody."""
    refused = review(*words)
    assert refused.exit_code == 2
    assert "belong together" in refused.stderr
    assert plans == []


@pytest.mark.parametrize(
    "words", [("--report-origin", "news.example"), ("--proxy-header", "X-User", "--trusted-proxy", "proxy.example")]
)
def test_a_wrong_value_is_an_error_of_usage(plans: list[ConsolePlan], words: tuple[str, ...]) -> None:
    """The error carries exit code 2."""
    failed = review(*words)
    assert getattr(failed.exception, "exit_code", None) == 2
    assert plans == []


def test_a_folder_that_cannot_be_made_is_said(plans: list[ConsolePlan], tmp_path: Path) -> None:
    """A file in the way of the state folder."""
    (tmp_path / "state").write_text("", encoding="utf-8")
    refused = review()
    assert refused.exit_code == 2
    assert "give --store" in refused.stderr
    assert plans == []
