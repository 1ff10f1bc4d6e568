"""What a reviewer's browser gets, without script: one item at a time, and a sentence for all that can go wrong."""

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import msgspec
import pytest

from tagstream.stream.contract.reports import Report
from tagstream.stream.kafka.producer import TooLateError, UndeliveredError
from tagstream.stream.review.console import views
from tagstream.stream.review.console.access import COOKIE
from tagstream.stream.review.store.queue import LEASE_MS
from tagstream.stream.review.store.records import Door
from tests.console.real_console import ReviewDesk, item
from tests.replacing import replace
from tests.unit.stream.review.console.conftest import Client

BLIND_SECRETS = ("0.97", "is 0.97 sure", "low_confidence", "The model says", "Reported", "they say it is other")


def token(page: httpx.Response) -> str:
    """The token of the item on the page."""
    found = re.search(r'name="token" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def complaint(event_id: str) -> Report:
    """A reader's report."""
    note, at = "they say it is other", "2026-11-27T10:00:00.000Z"
    return Report(event_id=event_id, reporter=None, suggested_tag="other", note=note, reported_at=at)


def answer(client: Client, event: str, tag: str, **more: str) -> httpx.Response:
    """Answer the item on the next page."""
    held = token(client.get("/"))
    return client.post("/answer", data={"event": event, "token": held, "tag": tag} | more)


def test_each_action_has_a_key_of_its_own_and_a_row_on_the_page_of_the_documents() -> None:
    """Of an item's actions no two have one key, and a reader of the documents finds each that the list of keys names."""
    for door in Door:
        keys = [one.key for one in views.ACTIONS if one.offered(door)]
        assert len(keys) == len(set(keys)) > 0
        assert not set(keys) & {*views.DIGITS, views.OFF_SUBJECT_KEY, *"ualng?"}
    page = (Path(__file__).parents[5] / "docs" / "review.md").read_text(encoding="utf-8")
    assert [one.name for one in views.ACTIONS if one.meaning and f"| `{one.key.upper()}` |" not in page] == []


def test_an_item_is_shown_with_what_the_model_said_and_why_a_person_is_asked(client: Client, queue: ReviewDesk) -> None:
    """Title, description, source, link, every probability, the reason and decided neighbours are on the page."""
    queue.add(item("n", "Batching in production", "A post on models."))
    queue.answer("n", "mlops", "grace")
    queue.add(item("a", "Serving models", "A post on batching.", source="rss", link="https://blog.example/x?y=1"))
    page = client.get("/")
    assert page.status_code == 200
    for text in (
        "Serving models",
        "A post on batching.",
        ">rss<",
        "blog.example/x",
        "0.62",
        "0.13",
        "Not sure",
        "Batching in production",
    ):
        assert text in page.text
    assert 'href="https://blog.example/x?y=1" target="_blank" rel="noopener noreferrer nofollow"' in page.text
    assert "It publishes this tag without a person from 0.95 on." in page.text


def test_the_keys_of_the_labels_are_in_the_bundles_order(client: Client, queue: ReviewDesk) -> None:
    """A label has the same key on every item, whatever the model says; the tenth and later ones have none."""
    labels = [f"label-{number}" for number in range(11)]
    queue.add(item("a", "Any", tag="label-9", labels=labels))
    found = re.findall(r'name="tag" value="([^"]+)"(?: data-key="(.)")?', client.get("/").text)
    assert found == [(f"label-{n}", str(n + 1) if n < 9 else "") for n in range(11)] + [("off_subject", "0")]


def test_a_blind_item_gives_nothing_away(client: Client, queue: ReviewDesk) -> None:
    """Neither prediction nor confidence nor reason nor report is in the page, so that no curious eye finds it in the source."""
    queue.add(item("a", "Blind", tag="mlops", confidence=0.97, reasons=()), Door.AUDIT)
    text = client.get("/").text
    assert [secret for secret in BLIND_SECRETS if secret in text] == []
    assert "guess" not in text
    assert "What the model said is hidden until you have answered." in text


def test_a_blind_item_with_a_report_gives_nothing_away(queue: ReviewDesk) -> None:
    """A reader's words on a drawn item would lead the reviewer."""
    asked = item("a", "Blind", tag="mlops", confidence=0.97, reasons=())
    queue.add(asked, report=complaint("a"))
    queue.add(asked, Door.AUDIT)
    claim = queue.claim("ada")
    view = views.item(replace(claim, door=Door.AUDIT, reports=(complaint("a"),)), (), ())
    assert (view.reports, view.said, view.earlier) == ((), "", "")
    assert [secret for secret in BLIND_SECRETS if secret in repr(view)] == []


def test_both_blind_doors_look_the_same(queue: ReviewDesk) -> None:
    """A second opinion is asked for when the first answer contradicts the model: a page that says so would give it away."""
    queue.add(item("a", "Blind"), Door.AUDIT)
    claim = queue.claim("ada")
    audit, second = (views.item(replace(claim, door=door), (), ()) for door in (Door.AUDIT, Door.SECOND_OPINION))
    assert audit == second


def test_after_the_answer_the_model_is_no_secret(client: Client, queue: ReviewDesk) -> None:
    """The next page says what was saved and what the model had said."""
    queue.add(item("a", "Blind", tag="mlops"), Door.AUDIT)
    queue.add(item("b", "Next"))
    answered = answer(client, "a", "other", note=" why ")
    assert (answered.status_code, answered.headers["location"]) == (303, "/")
    assert queue.saved["a"].tag == "other"
    assert queue.saved["a"].note == "why"
    assert queue.saved["a"].blind
    text = client.get("/").text
    assert "Saved: other." in text
    assert "The model says mlops." in text
    assert ">Next<" in text


def test_not_about_this_subject_is_an_answer(client: Client, queue: ReviewDesk) -> None:
    """The reserved tag is saved, and shown in words."""
    queue.add(item("a", "Buy now"))
    answer(client, "a", "off_subject")
    assert queue.saved["a"].tag == "off_subject"
    assert "Saved: Not about this subject." in client.get("/").text


def test_a_skipped_item_goes_to_others(client: Client, queue: ReviewDesk) -> None:
    """The reviewer gets another item and no answer is saved."""
    queue.add(item("a", "First"))
    queue.add(item("b", "Second"))
    held = token(client.get("/"))
    assert client.post("/answer", data={"event": "a", "token": held, "back": "skip", "note": "hm"}).status_code == 303
    assert ">Second<" in client.get("/").text
    assert queue.saved == {}
    assert queue.claim("grace").item.event.id == "a"


def undone(client: Client) -> httpx.Response:
    """The page on the newest answer, by the form that the page has for it."""
    found = re.search(r'action="/again" id="undo"><input type="hidden" name="event" value="([^"]+)"', client.get("/").text)
    assert found is not None
    assert client.post("/again", data={"event": html.unescape(found[1])}).headers["location"] == "/"
    return client.get("/")


def test_undo_shows_the_answer_and_the_new_one_replaces_it(client: Client, queue: ReviewDesk) -> None:
    """The earlier answer stands until the new one is saved, which is its next version."""
    queue.add(item("a", "First"))
    answer(client, "a", "other", note="first thought")
    page = undone(client)
    assert "You answered other. That answer stands until you give another one." in page.text
    assert ">first thought</textarea>" in page.text
    assert queue.saved["a"].version == 1
    first = queue.saved["a"].answer_id
    client.post("/answer", data={"event": "a", "token": token(page), "tag": "mlops", "note": "second thought"})
    assert (queue.saved["a"].tag, queue.saved["a"].version, queue.saved["a"].supersedes) == ("mlops", 2, first)


def test_an_undo_that_changes_nothing_goes_on_with_the_next_item(client: Client, queue: ReviewDesk) -> None:
    """The answer is left as it is, and its item does not stay in the reviewer's hands."""
    queue.add(item("a", "First"))
    queue.add(item("b", "Second"))
    answer(client, "a", "other")
    held = token(undone(client))
    assert "Leave it so" in client.get("/").text
    assert client.post("/answer", data={"event": "a", "token": held, "back": "leave"}).status_code == 303
    assert ">Second<" in client.get("/").text
    assert queue.saved["a"].version == 1


def test_an_id_with_any_characters_can_be_corrected(client: Client, queue: ReviewDesk) -> None:
    """Ids are the producers' own: the address of a correction must carry them."""
    event_id = 'https://x.example/?a=1&b="2"#<3> ü'
    queue.add(item(event_id, "Odd"))
    answer(client, event_id, "other")
    assert "You answered other." in undone(client).text


def test_an_item_that_another_has_taken_is_refused_and_the_note_is_kept(client: Client, queue: ReviewDesk) -> None:
    """A lapsed lease: nothing is saved, 409, and the words that were typed are on the page."""
    queue.add(item("a", "First"))
    held = token(client.get("/"))
    queue.now_ms += LEASE_MS + 1
    queue.claim("grace")
    page = client.post("/answer", data={"event": "a", "token": held, "tag": "other", "note": "a <long> thought"})
    assert page.status_code == 409
    assert "Your answer is not saved" in page.text
    assert "a &lt;long&gt; thought</textarea>" in page.text
    assert queue.saved == {}


def test_a_lapsed_lease_that_nobody_took_is_still_good(client: Client, queue: ReviewDesk) -> None:
    """The reviewer was away, and so was everybody else."""
    queue.add(item("a", "First"))
    held = token(client.get("/"))
    queue.now_ms += LEASE_MS + 1
    assert client.post("/answer", data={"event": "a", "token": held, "tag": "other"}).status_code == 303
    assert queue.saved["a"].tag == "other"


def test_anothers_token_does_not_answer(client: Client, queue: ReviewDesk) -> None:
    """A token that has leaked does not let another person answer under its holder's name."""
    queue.add(item("a", "First"))
    held = queue.claim("grace").token
    page = client.post("/answer", data={"event": "a", "token": held, "tag": "other"})
    assert page.status_code == 409
    assert queue.saved == {}


@pytest.mark.parametrize(
    ("error", "heading"),
    [
        (TooLateError("no broker answers"), "What is it about?"),
        (UndeliveredError("no answer came"), "It is not known whether your answer is saved"),
    ],
)
def test_a_broker_that_is_away_loses_nothing_that_was_typed(
    client: Client, queue: ReviewDesk, error: UndeliveredError, heading: str
) -> None:
    """503 with a sentence and the note; where it is sure that nothing was written, the same form again."""
    queue.add(item("a", "First"))
    queue.away = error
    page = answer(client, "a", "other", note="my words")
    assert page.status_code == 503
    assert heading in page.text
    assert "Next:" in page.text
    assert "my words</textarea>" in page.text
    assert queue.records == []


@pytest.mark.parametrize("form", [{"tag": "no-label"}, {"tag": ""}, {"tag": "other", "note": "x" * 2001}])
def test_a_wrong_form_is_refused_with_a_sentence(client: Client, queue: ReviewDesk, form: dict[str, str]) -> None:
    """An unknown label and a note that is too long change nothing, and the page has the note again."""
    queue.add(item("a", "First"))
    page = client.post("/answer", data={"event": "a", "token": token(client.get("/"))} | form)
    assert page.status_code == 422
    assert 'role="alert"' in page.text
    assert f"{form.get('note', '')}</textarea>" in page.text
    assert queue.saved == {}


def test_a_form_without_its_fields_is_refused(client: Client) -> None:
    """A form that no page of ours sent gets a page and not JSON."""
    page = client.post("/answer", data={"tag": "other"})
    assert page.status_code == 400
    assert "nothing was changed" in page.text


def test_one_answer_settles_near_duplicates_that_were_chosen(client: Client, queue: ReviewDesk) -> None:
    """The page offers them, and only those that were ticked get the answer."""
    for name in ("a", "b", "c"):
        queue.add(item(name, f"Ten words of a title that two feeds carry, number {name}"))
    page = client.get("/")
    assert sorted(re.findall(r'name="twin" value="(.)"', page.text)) == ["b", "c"]
    client.post("/answer", data={"event": "a", "token": token(page), "tag": "other", "twin": ["c"]})
    assert queue.saved.keys() == {"a", "c"}


def test_an_empty_queue_says_so(client: Client, queue: ReviewDesk) -> None:
    """Nothing waits: the page says whether that is so for everybody."""
    assert "Every item of the queue has an answer." in client.get("/").text
    queue.add(item("a", "First"))
    queue.claim("grace")
    assert "1 wait for others" in client.get("/").text
    assert client.post("/standing.json").json() == {"next": False, "waiting": 1}


def test_hidden_characters_are_written_out(client: Client, queue: ReviewDesk) -> None:
    """A reader sees the character that hides or reorders text, and markup of an event is text."""
    queue.add(item("a", "Att\u200bention\u202e <script>alert(1)</script>", text_flags=("invisible_characters",)))
    text = client.get("/").text
    assert "U+200B" in text
    assert "U+202E" in text
    assert "\u202e" not in text
    assert "<script>alert" not in text
    assert "The text has invisible characters." in text


class Directions(HTMLParser):
    """Runs of text of a page whose direction is that of the page, not their own."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._own: list[bool] = []
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that ends."""
        if tag not in {"meta", "link", "input", "rect"}:
            self._own.append(tag in {"bdi", "title"} or ("dir", "auto") in attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element without content."""

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the base class names it
        """The innermost element ends."""
        self._own.pop()

    def handle_data(self, data: str) -> None:
        """A run of text."""
        if not any(self._own):
            self.found.append(data)


def test_a_text_from_right_to_left_has_its_own_direction(client: Client, queue: ReviewDesk) -> None:
    """Wherever a title, a text, a label, a note or a report stands, its letters say how it runs; a sentence of the page keeps the page's way."""
    labels = ("\u0641\u0648\u0627\u062a\u064a\u0631", "\u062f\u062e\u0648\u0644", "\u0634\u062d\u0646")
    title, text = (
        "\u062f\u0641\u0639\u062a \u0627\u0644\u0641\u0627\u062a\u0648\u0631\u0629 \u0645\u0631\u062a\u064a\u0646",
        "\u0623\u0631\u064a\u062f \u0627\u0633\u062a\u0631\u062f\u0627\u062f\u0627 " * 400,
    )
    first, second, third = (item(name, f"{title} {name}", text, tag=labels[0], labels=labels) for name in "abc")
    report = msgspec.structs.replace(complaint("b"), suggested_tag=labels[1], note=title)
    queue.add(first)
    answer(client, "a", labels[1], note=text[:30])
    queue.add(second, Door.USER_REPORT, report=report)
    queue.add(third)
    pages = [client.get(path).text for path in ("/", "/answers", "/quality")]
    pages.insert(2, undone(client).text)
    assert [title in page for page in pages] == [True, True, True, False]
    for page in pages:
        found = [run.strip() for run in Directions(page).found if re.search("[\u0600-\u06ff]", run)]
        assert [run for run in found if not run.startswith(("The model ", "You answered "))] == []


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "//x", "http://[bad", None])
def test_only_a_link_of_the_web_can_be_followed(client: Client, queue: ReviewDesk, link: str | None) -> None:
    """Another scheme could run a script or open a program."""
    queue.add(item("a", "First", link=link))
    assert 'id="link"' not in client.get("/").text


def test_a_long_description_opens_on_demand(client: Client, queue: ReviewDesk) -> None:
    """The first part is enough for most answers; all of it is in the page."""
    queue.add(item("a", "First", "word " * 400))
    text = client.get("/").text
    assert "more characters</summary>" in text
    assert text.count("word") == 400


def test_the_name_of_a_reviewer_without_login_is_remembered(client: Client, queue: ReviewDesk) -> None:
    """The cookie carries any name, cannot be read by a script, and is not sent by other sites."""
    queue.add(item("a", "First"))
    renamed = client.post("/name", data={"name": " Grace  Höpper "})
    cookie = renamed.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    answer(client, "a", "other")
    assert queue.saved["a"].reviewer == "Grace Höpper"


@pytest.mark.parametrize("name", ["", "   ", "a\u202eb", "x" * 101])
def test_what_is_no_name_is_refused(client: Client, name: str) -> None:
    """A name that is not seen would stand on the topic for ever."""
    refused = client.post("/name", data={"name": name})
    assert refused.status_code == 422
    assert COOKIE not in refused.cookies


def test_a_cookie_of_a_stranger_is_no_name(client: Client, queue: ReviewDesk) -> None:
    """Bytes that are no name leave the name of who started the console."""
    queue.add(item("a", "First"))
    client.cookies.set(COOKIE, "zz not hex")
    answer(client, "a", "other")
    assert queue.saved["a"].reviewer == "ada"


def test_own_answers_can_be_changed_later(client: Client, queue: ReviewDesk) -> None:
    """The page has each answer with a form that opens it again."""
    queue.add(item("a", "First one"))
    answer(client, "a", "other", note="mine")
    text = client.get("/answers").text
    assert "First one" in text
    assert re.search(r'action="/again"><button name="event" value="a">Change', text)
    assert "You have given none yet." in client.get("/answers", headers={"Cookie": f"{COOKIE}={b'ab'.hex()}"}).text


def test_a_page_is_bounded_whatever_the_event_has(client: Client, queue: ReviewDesk) -> None:
    """Of a long text in each field the page has the beginning, and says how much it leaves out; an address of that length is no link."""
    long = "word " * 60_000
    queue.add(item("a", long, long, source=long, link=f"https://blog.example/{long}"))
    queue.add(item("b", long, long))
    page = client.get("/").text
    assert len(page) < 40_000
    assert f"The text goes on for {len(long) - views.MOST_CHARACTERS:,} characters" in page
    assert f"({len(long) - views.MOST_TITLE_CHARACTERS:,} more characters)" in page
    assert 'id="link"' not in page
    assert 'name="twin" value="b"' in page
    answer(client, "a", "other", twin="b")
    assert queue.saved.keys() == {"a", "b"}
    assert len(client.get("/answers").text) < 10_000


@pytest.mark.parametrize("truncated", [True, False])
def test_a_long_text_is_called_unread_only_where_the_decision_says_so(
    client: Client, queue: ReviewDesk, *, truncated: bool
) -> None:
    """A model that runs in another program may have read all of it."""
    found = item("a", "Long", "word " * 60_000)
    queue.add(replace(found, decision=msgspec.structs.replace(found.decision, truncated=truncated)))
    assert ("which the model has not read" in client.get("/").text) is truncated


def test_an_event_without_an_answer_cannot_be_corrected(client: Client) -> None:
    """409 with the store's sentence."""
    page = client.post("/again", data={"event": "nobody"})
    assert page.status_code == 409
    assert "It cannot be changed now" in page.text


def test_typing_holds_the_item(client: Client, queue: ReviewDesk) -> None:
    """A renewal moves the end of the lease; a lost one says so."""
    queue.add(item("a", "First"))
    held = token(client.get("/"))
    queue.now_ms += 1000
    renewed = client.post("/renew", data={"event": "a", "token": held}).json()["until_ms"]
    assert queue.now_ms - 1000 < renewed - LEASE_MS <= queue.now_ms
    lost = client.post("/renew", data={"event": "a", "token": "old"})
    assert lost.status_code == 409
    assert lost.json()["message"]
