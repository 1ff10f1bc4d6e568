"""The scripted second model of the demo, asked as `tagstream second` asks."""

import http.client
import json
import time
from urllib.parse import urlsplit

import pytest

from tagstream.monitoring.vocabulary import NoOpinion
from tagstream.stream.contract.answers import OFF_SUBJECT
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.contract.second_opinions import SecondOpinion
from tagstream.stream.demo.endpoint import MODEL, RIGHT, completion, endpoint
from tagstream.stream.demo.samples import known_labels
from tagstream.stream.demo.second import with_second
from tagstream.stream.second.budget import Budget
from tagstream.stream.second.by_endpoint import EndpointAdviser
from tagstream.stream.second.completion import said
from tagstream.stream.second.prompt import Prompt
from tagstream.stream.settings.settings import Settings
from tests.answering import decided

LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")
PROMPT = Prompt(model=MODEL, labels=LABELS, guidelines="", fields=("title", "description"), answer_tokens=100)


def item(title: str, name: str = "e-1") -> DecidedEvent:
    """An item of `review` with this title."""
    found = read_decision(decided(json.dumps({"id": name, "title": title}).encode()))
    assert isinstance(found, DecidedEvent)
    return found


def label_of(title: str, known: dict[str, str], name: str = "e-1") -> str | None:
    """The label that the script gives; None if it is unsure."""
    asked = PROMPT.asked(item(title, name))
    assert asked is not None
    found = said(completion(asked.body, known, LABELS), LABELS, asked.mark)
    assert found.reason in {None, NoOpinion.UNSURE}
    return found.label


def test_the_script_is_right_as_often_as_it_says_and_the_same_each_time() -> None:
    """Over 4,000 titles its share of right labels is within four standard deviations; the same title gets the same label under any id."""
    known = {f"Title {number}": "mlops" for number in range(4_000)}
    labels = [label_of(title, known) for title in known]
    assert abs(labels.count("mlops") / len(labels) - RIGHT) < 0.011
    assert set(labels) == set(LABELS)
    wrong = [title for title, label in zip(known, labels, strict=True) if label != "mlops"]
    again = [label for title, label in zip(known, labels, strict=True) if label != "mlops"]
    assert [label_of(title, known, "e-2") for title in wrong] == again


@pytest.mark.parametrize("title", ["A title of nobody", "A recipe"])
def test_the_script_is_unsure_where_no_label_is_right(title: str) -> None:
    """Of a title that it does not know, and of a text that is off the subject, it gives no label."""
    assert label_of(title, {"A recipe": OFF_SUBJECT}) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"messages":[]}',
        b'{"messages":[{"content":"BEGIN x"}]}',
        b'{"messages":[{"content":"BEGIN x\\n[\\nEND x"}]}',
    ],
)
def test_what_is_no_request_for_an_item_is_refused(body: bytes) -> None:
    """Any bytes are an answer or a ValueError with a sentence."""
    with pytest.raises(ValueError, match="no request for an item"):
        completion(body, {}, LABELS)


def test_the_endpoint_is_asked_as_any_other_and_ends_with_the_demo() -> None:
    """With the demo's settings `tagstream second` gets the script's label in one request; a request that is none is refused; then nobody listens."""
    [(title, label), *_] = [(title, label) for title, label in known_labels().items() if label in LABELS]
    with endpoint({title: label}, LABELS) as url:
        second = with_second(Settings(), url).second
        adviser = EndpointAdviser(second, PROMPT, Budget(calls=second.calls_a_day, cost=second.cost_a_day), clock=time.time)
        found = adviser.ask(item(title))
        assert isinstance(found, SecondOpinion)
        assert (found.label, found.score, found.calls, found.cost) == (label_of(title, {title: label}), RIGHT, 1, 0.0)
        assert found.endpoint is not None
        assert found.endpoint.model == MODEL
        for length in ("2", "x"):
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
            connection.request("POST", "/v1/chat/completions", body=b"[]", headers={"Content-Length": length})
            assert connection.getresponse().status == http.client.BAD_REQUEST
            connection.close()
    assert adviser.ask(item("Another title")).reason == NoOpinion.DOWN
