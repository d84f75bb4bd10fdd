"""The annotators' desk in Chromium: a session from the keyboard alone, a reload in the
middle, the network gone and back, two people at once, and what responses may contain."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.chromium import PASSWORD, first_admin, stored
from tests.server import ROOT, Prefloop

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(180)]
READ_MS = 270  # a press within a quarter of a second of the display is not counted


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    prefloop = Prefloop(tmp_path_factory.mktemp("desk") / "data", PREFLOOP_DEMO="false").start()
    yield prefloop
    prefloop.stop()


@pytest.fixture(scope="module")
def ada(server: Prefloop, browser: Browser):
    """A signed-in browser; each test takes a page of its own in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    first_admin(page, server)
    page.close()
    yield context
    context.close()


def fill(api: httpx.Client, name: str, pairs: int, votes: int = 1, **more) -> str:
    body = {"name": name, "criteria": ["helpful", "kind"], "votes_per_pair": votes, **more}
    project = api.post("/projects", json=body).json()["id"]
    rows = [
        {
            "input": f"Question {i} of {name}",
            "response_a": f"First answer to {i}",
            "response_b": f"Second answer to {i}",
        }
        for i in range(pairs)
    ]
    assert api.post(f"/projects/{project}/comparisons", json=rows).json()["imported"] == pairs
    return project


def cast(api: httpx.Client, project: str) -> list[dict]:
    rows = api.get(f"/projects/{project}/export", params={"format": "comparisons"}).json()
    return [row for row in rows if row.get("annotator")]


def desk(context: BrowserContext, server: Prefloop, project: str) -> Page:
    page = context.new_page()
    page.goto(f"{server.url}/annotate?project={project}")
    page.get_by_text("Response B").wait_for(timeout=30_000)
    return page


def question(page: Page) -> str:
    return page.locator("#desk .example").inner_text()


def press(page: Page, *keys: str) -> None:
    page.wait_for_timeout(READ_MS)
    for key in keys:
        page.keyboard.press(key)


def test_a_session_of_twenty_pairs_from_the_keyboard_alone(ada, server, api):
    project = fill(api, "Keyboard", 22)
    page = desk(ada, server, project)
    press(page, "?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    press(page, "1")  # not while a dialog is open
    press(page, "Escape")
    expect(page.get_by_role("heading", name="Keys")).to_be_hidden()
    # Strength, both criteria, and a reason full of keys; then the choice.
    press(page, "6", "j", "Shift+1", "Shift+3", "n")
    page.keyboard.type("1 2 3 4 s u ?")
    page.keyboard.press("Escape")
    first = question(page)
    press(page, "1")
    stored(page, 1)
    # A skip is taken back as a vote is, before the vote that was cast before it.
    second = page.locator("#desk .pair").inner_text()
    for undone in (True, False):
        press(page, "s")
        expect(page.get_by_role("heading", name="Skip this pair")).to_be_visible()
        press(page, "2")
        stored(page, 1)
        if undone:
            page.keyboard.press("u")
            stored(page, 1)
            assert page.locator("#desk .pair").inner_text() == second
    for done in range(2, 6):
        press(page, "5", "2")  # how much better says nothing of a tie
        expect(page.get_by_text(f"{done} done by you")).to_be_visible()
    stored(page, 5)
    # Undo to the first: what it said stands there again. Before it the pair that was skipped.
    for left in (4, 3, 2, 1, 1, 0):
        page.keyboard.press("u")
        stored(page, left)
    assert question(page) == first and cast(api, project) == []
    for done in range(1, 6):
        press(page, "Enter")  # as it stood
        expect(page.get_by_text(f"{done} done by you")).to_be_visible()
        if done == 1:
            press(page, "s")
            press(page, "2")
            stored(page, 1)
    for done in range(6, 21):
        press(page, "342"[done % 3])
        expect(page.get_by_text(f"{done} done by you")).to_be_visible()
    stored(page, 20)
    votes = cast(api, project)
    assert len(votes) == 20
    one = next(row for row in votes if row.get("reason"))
    assert one["reason"] == "1 2 3 4 s u ?" and one["strength"] == "clearly" and len(one["criteria"]) == 2
    # Four ties came back as they were; of the other fifteen a third each.
    assert not any("strength" in row for row in votes if row["choice"] == "tie")
    choices = [row["choice"] for row in votes]
    assert choices.count("tie") == 4 + 5 and choices.count("both_bad") == 5
    page.close()


def test_held_and_hurried_keys_do_not_vote_for_what_nobody_saw(ada, server, api):
    project = fill(api, "Hurry", 12)
    page = desk(ada, server, project)
    page.wait_for_timeout(READ_MS)
    page.keyboard.down("1")
    for _ in range(8):
        page.keyboard.down("1")  # repeats
    page.keyboard.up("1")
    stored(page, 1)
    page.get_by_role("combobox").first.click()
    page.keyboard.press("3")  # typing elsewhere
    page.keyboard.press("Escape")
    assert len(cast(api, project)) == 1
    page.wait_for_timeout(READ_MS)
    hurried(page, "2", 6)  # the first of them is meant
    stored(page, 2)
    page.wait_for_timeout(2 * READ_MS)
    assert len(cast(api, project)) == 2
    page.close()


def hurried(page: Page, key: str, times: int) -> None:
    """Presses within one moment of the page: sent one by one they may take long enough to be meant."""
    page.evaluate(
        """([key, times]) => { for (let i = 0; i < times; i++) for (const type of ["keydown", "keyup"])
             document.body.dispatchEvent(new KeyboardEvent(type, { key, code: `Digit${key}`, bubbles: true })) }""",
        [key, times],
    )


def test_a_reload_keeps_the_pair_and_the_draft(ada, server, api):
    project = fill(api, "Reload", 6)
    page = desk(ada, server, project)
    press(page, "8", "j", "ArrowLeft", "n")
    page.keyboard.type("half a thought")
    page.keyboard.press("Escape")
    before = question(page), page.locator("#desk .pair").inner_text()
    # While the page is open its leases are kept alive.
    with page.expect_response("**/heartbeat") as beat:
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert beat.value.json()["held"] == beat.value.request.post_data_json["leases"] != []
    page.reload()
    page.get_by_text("Response B").wait_for()
    assert (question(page), page.locator("#desk .pair").inner_text()) == before
    expect(page.get_by_label("Why? Goes with your vote")).to_have_value("half a thought")
    expect(page.get_by_role("button", name="Barely")).to_have_attribute("aria-pressed", "true")
    press(page, "3")
    stored(page, 1)
    [vote] = cast(api, project)
    assert (vote["reason"], vote["strength"], list(vote["criteria"])) == (
        "half a thought",
        "barely",
        ["helpful"],
    )
    page.close()


def test_the_network_goes_and_comes_back(ada, server, api):
    project = fill(api, "Network", 8)
    page = desk(ada, server, project)
    press(page, "1")
    stored(page, 1)
    page.wait_for_timeout(200)
    ada.set_offline(True)
    try:
        skipped = question(page)
        press(page, "s")
        press(page, "3")
        expect(page.get_by_text(re.compile("Offline. 1 vote or skip is kept"))).to_be_visible()
        assert question(page) != skipped
        press(page, "u")  # a skip that was not sent comes back, and no vote goes
        assert question(page) == skipped
        expect(page.get_by_text("1 done by you")).to_be_visible()
        press(page, "n")
        page.keyboard.type("written offline")
        page.keyboard.press("Escape")
        press(page, "2")
        expect(page.get_by_text(re.compile("Offline. 1 vote or skip is kept"))).to_be_visible()
        press(page, "3")  # the next one was here already
        expect(page.get_by_text(re.compile("Offline. 2 votes and skips are kept"))).to_be_visible()
        press(page, "u", "4")  # also what was not sent can be taken back
        page.wait_for_timeout(2_500)
        assert len(cast(api, project)) == 1
    finally:
        ada.set_offline(False)
    page.get_by_text("Response B").wait_for(timeout=20_000)
    stored(page, 3)
    expect(page.get_by_text(re.compile("^Offline[.]"))).to_be_hidden()
    votes = cast(api, project)
    assert [row["choice"] for row in votes][1:] == ["tie", "both_bad"] and votes[1][
        "reason"
    ] == "written offline"
    press(page, "1")
    stored(page, 4)
    page.close()


def test_work_goes_on_offline_for_the_pairs_that_are_here(ada, server, api):
    project = fill(api, "Tunnel", 30)
    page = desk(ada, server, project)
    page.wait_for_timeout(300)
    ada.set_offline(True)
    try:
        for place, left in enumerate((4, 3, 2), start=1):
            press(page, "1")
            expect(
                page.get_by_text(re.compile(f"Offline[.] {place} vote.* {left} pairs are here"))
            ).to_be_visible()
        press(page, "1")
        expect(page.get_by_text("This pair is the last one here.")).to_be_visible()
        press(page, "1")
        expect(page.get_by_text("The next pair comes then, too.")).to_be_visible()
        assert cast(api, project) == []
    finally:
        ada.set_offline(False)
    page.get_by_text("Response B").wait_for(timeout=20_000)
    stored(page, 5)
    assert len({str(row["input"]) for row in cast(api, project)}) == 5
    page.close()


def test_votes_that_waited_are_sent_after_a_reload_once(ada, server, api):
    project = fill(api, "Crash", 6)
    page = desk(ada, server, project)
    # The server stores the vote, but its answer is lost; then the window is gone.
    page.route("**/desk/*/work", lambda route: (route.fetch(), route.abort()))
    press(page, "1")
    expect(page.get_by_text(re.compile("Offline. 1 vote"))).to_be_visible()
    assert len(cast(api, project)) == 1
    page.close()
    page = desk(ada, server, project)
    stored(page, 1)
    assert len(cast(api, project)) == 1
    page.close()


def test_a_refused_vote_stands_there_as_it_was_said(ada, server, api):
    """Nothing that somebody wrote is lost because the server would not have it."""
    project = fill(api, "Refused", 3)
    page = desk(ada, server, project)
    reason = page.get_by_label("Why? Goes with your vote")
    press(page, "6", "n")
    page.keyboard.insert_text("x" * 12_000)
    expect(reason).to_have_value("x" * 10_000)  # more is not taken
    reason.evaluate("area => { area.value += 'y'; area.dispatchEvent(new Event('input')); }")
    page.keyboard.press("Escape")
    refused = question(page)
    press(page, "1")
    expect(page.get_by_text("reason: at most 10,000 characters.")).to_be_visible()
    press(page, "2")
    stored(page, 1)
    assert [row["choice"] for row in cast(api, project)] == ["tie"]
    while question(page) != refused:
        press(page, "2")
    expect(reason).to_have_value("x" * 10_000 + "y")
    expect(page.get_by_role("button", name="Clearly")).to_have_attribute("aria-pressed", "true")
    reason.fill("short")
    page.keyboard.press("Escape")
    press(page, "1")
    expect(page.get_by_text("reason: at most 10,000 characters.")).to_be_hidden()
    expect(page.get_by_text(re.compile("^[23] done by you"))).to_be_visible()
    page.wait_for_timeout(READ_MS)
    votes = cast(api, project)
    assert ("short", "clearly") in {(row.get("reason"), row.get("strength")) for row in votes}
    page.close()


def test_two_people_at_once_never_share_a_vote(ada, server, api, browser):
    project = fill(api, "Two", 8)
    link = api.post("/invitations", json={"role": "annotator", "name": "Bob"}).json()["link"]
    other = browser.new_context(viewport={"width": 400, "height": 800})
    page = other.new_page()
    page.goto(link)
    page.get_by_label("Name").fill("Bob")
    page.get_by_label("E-mail").fill("bob@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button").click()
    page.wait_for_url("**/annotate*", timeout=30_000)
    page.close()
    pages = [desk(ada, server, project), desk(other, server, project)]
    assert question(pages[0]) != question(pages[1])
    for place in range(8):
        press(pages[place % 2], "1")
    for item in pages:
        expect(item.get_by_text("Nothing is left for you.")).to_be_visible(timeout=15_000)
    votes = cast(api, project)
    assert len(votes) == 8 == len({str(row["input"]) for row in votes})
    assert {row["annotator"] for row in votes} == {"Ada", "Bob"}
    # Narrow: the responses stand below each other, and nothing is cut off.
    assert pages[1].evaluate("document.documentElement.scrollWidth <= innerWidth")
    other.close()
    pages[0].close()


LONG = "One two three four five six seven eight nine ten. " * 60
RICH = (
    "Text with `code` and $\\frac{a}{b}$.\n\n```python\ndef f(x): return x\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
    "שלום עולם\n\n<img src=x onerror=alert(1)><script>alert(1)</script>\n\n![x](https://example.org/pixel.png)\n\n"
)


def test_what_responses_contain_is_shown_and_has_no_power(ada, server, api):
    project = api.post("/projects", json={"name": "Rich", "votes_per_pair": 1}).json()["id"]
    turns = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "How can I help?"},
        {"role": "user", "content": "Explain."},
    ]
    rows = [
        {
            "input": turns,
            "response_a": RICH + LONG,
            "response_b": RICH + LONG.replace("seven", "SEVEN") + LONG,
        }
    ]
    assert api.post(f"/projects/{project}/comparisons", json=rows).json()["imported"] == 1
    page = ada.new_page()
    asked: list[str] = []
    alerts: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.goto(f"{server.url}/annotate?project={project}")
    page.get_by_text("Response B").wait_for(timeout=30_000)
    shown = page.locator("#desk .pair")
    assert page.locator("#desk .turn").count() == 3 and page.locator("#desk .turn.assistant").count() == 1
    assert shown.locator("math mfrac").count() == 2 and shown.locator("pre .k").count() >= 2
    assert shown.locator("table").count() == 2 and shown.locator("img, script").count() == 0
    hebrew = shown.get_by_text("שלום עולם").first
    assert hebrew.evaluate("e => getComputedStyle(e).unicodeBidi") == "plaintext"
    box, text = (
        hebrew.bounding_box(),
        hebrew.evaluate(
            "e => { const r = document.createRange(); r.selectNodeContents(e); return r.getBoundingClientRect().right }"
        ),
    )
    assert abs(box["x"] + box["width"] - text) < 3, "it stands at the right"
    # Folded with its length; opened, the two scroll together; the words that differ are marked.
    folded = shown.locator(".text").first.bounding_box()["height"]
    expect(
        shown.get_by_text(re.compile("Show all [1-9][0-9]+ words")).filter(visible=True).first
    ).to_be_visible()
    press(page, "o", "d")
    assert shown.locator(".text").first.bounding_box()["height"] > folded
    assert "SEVEN" in " ".join(shown.locator("mark").all_inner_texts())
    bottoms = page.evaluate(
        """async () => {
             const root = [...document.querySelectorAll('*')].find(e => e.shadowRoot?.querySelector('#desk')).shadowRoot;
             const [a, b] = root.querySelectorAll('.pair .text');
             a.scrollTop = a.scrollHeight;
             await new Promise(done => setTimeout(done, 200));
             return [a, b].map(e => Math.abs(e.scrollTop + e.clientHeight - e.scrollHeight));
           }"""
    )
    assert max(bottoms) < 3
    assert alerts == [] and not [url for url in asked if "example.org" in url]
    press(page, "w")
    page.keyboard.type("A better answer.")
    page.keyboard.press("Escape")
    press(page, "4")
    stored(page, 1)
    [better] = api.get(f"/projects/{project}/demonstrations").json()
    assert (better["text"], better["author"]) == ("A better answer.", "Ada")
    page.close()


DIFFS = [
    ("a b c d", "a x c d", "b", "x"),
    ("same words here", "same words here", "", ""),
    ("one two", "", "one two", ""),
    ("the cat sat", "the fat cat sat down", "", "fat down"),
]


def test_the_word_diff_marks_what_is_not_in_the_longest_common_part(ada):
    page = ada.new_page()
    script = (Path(ROOT) / "pages" / "desk" / "diff.js").read_text(encoding="utf-8")
    for first, second, only_first, only_second in DIFFS:
        found = page.evaluate(
            f"([first, second]) => {{ {script}\n const words = text => text.split(' ').filter(Boolean);"
            " const only = differing(words(first), words(second));"
            " return [first, second].map((text, side) => words(text).filter((_, i) => only[side][i]).join(' ')); }",
            [first, second],
        )
        assert found == [only_first, only_second]
    page.close()


def test_the_desk_is_for_the_signed_in_and_for_pages_of_ours(ada, server, api):
    project = fill(api, "Gate", 1)
    url = f"{server.url}/desk/{project}/work"
    here = {"X-Prefloop-Desk": "1"}
    assert httpx.post(url, json={}, headers=here).status_code == 401
    forged = {**here, "X-Prefloop-Sign-In": api.get("/me").json()["id"]}
    assert httpx.post(url, json={}, headers=forged).status_code == 401
    cookies = {item["name"]: item["value"] for item in ada.cookies()}
    assert httpx.post(url, json={}, headers=here, cookies=cookies).json()["pairs"]
    for elsewhere in (
        {},
        {**here, "Sec-Fetch-Site": "cross-site"},
        {**here, "Origin": "https://evil.example"},
    ):
        assert httpx.post(url, json={}, headers=elsewhere, cookies=cookies).status_code == 403


def test_a_training_pair_stays_until_its_answer_is_read_and_then_real_pairs_come(ada, api, server):
    project = fill(api, "Training", 2)
    rows = [
        {"input": f"Known {i}", "response_a": f"good {i}", "response_b": f"bad {i}", "choice": "a",
         "explanation": f"**Good** is better than bad, {i}."}
        for i in range(2)
    ]  # fmt: skip
    body = {"rows": rows, "use": "training"}
    assert api.post(f"/projects/{project}/gold/import", json=body).json()["imported"] == 2
    assert api.put(
        f"/projects/{project}/probes", json={"qualify": True, "asked": 2, "pass_mark": 0.5}
    ).is_success
    page = desk(ada, server, project)
    expect(page.get_by_text("Training pair 1 of 2")).to_be_visible()
    press(page, "3")
    expect(page.get_by_text("You said: B is better. Expected: A is better.")).to_be_visible()
    expect(page.locator(".training strong", has_text=re.compile("^Good$"))).to_be_visible()
    shown = question(page)
    press(page, "1", "u")  # nothing to choose while it is read, and it stands
    expect(page.get_by_text("The right answer has been shown")).to_be_visible()
    assert question(page) == shown
    press(page, "Enter")
    expect(page.get_by_text("Training pair 2 of 2")).to_be_visible()
    press(page, "1")
    expect(page.get_by_text("1 of 2 right: you have passed. Real pairs come now.")).to_be_visible()
    press(page, "Enter")
    expect(page.get_by_text("of Training")).to_be_visible()
    expect(page.locator(".training")).to_be_hidden()
    assert cast(api, project) == []
    press(page, "1")
    expect(page.get_by_text("1 done by you")).to_be_visible()
    page.close()
