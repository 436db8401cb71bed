"""The chat page in headless Chromium, as a person meets it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from scripted import Script, scripted_app, served

expect.set_options(timeout=60_000)

HOSTILE = '<img src=x onerror="document.title=\'run\'"><script>document.title="run"</script>'
NARROW = {"width": 390, "height": 844}


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def address(script, models, tmp_path) -> Iterator[str]:
    with served(scripted_app(script, models, tmp_path / "conversations.sqlite")) as address:
        yield address


@pytest.fixture
def visit(browser, address) -> Iterator[Any]:
    """Opens the page in a browser of its own; whatever the page complains of fails the test."""
    complaints: list[str] = []
    contexts = []

    def visit(ready: str = "#model option", before: str = "", **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        contexts[-1].add_init_script(before)
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Security Policy" in said.text else None)
        page.on(
            "request", lambda request: complaints.append(request.url) if not _is_own(request.url, address) else None
        )
        page.goto(address)
        page.wait_for_selector(ready, state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(visit) -> Any:
    return visit()


def _is_own(url: str, address: str) -> bool:
    return url.startswith((address, f"blob:{address}"))


def say(page: Any, text: str) -> None:
    page.fill("#message", text)
    page.keyboard.press("Enter")


def wait_for_reply(page: Any, ending: str) -> Any:
    """Return the last message once it ends so and is whole."""
    reply = page.locator("article.assistant").last
    whole = page.locator("article.assistant:not([aria-busy]) .words").last
    expect(whole).to_have_text(re.compile(re.escape(ending) + r"\s*$"))
    return reply


@contextmanager
def saved(page: Any) -> Iterator[list[Any]]:
    """Collect the JSON lines of the file that is offered meanwhile."""
    lines: list[Any] = []
    with page.expect_download() as offered:
        yield lines
    lines += map(json.loads, Path(offered.value.path()).read_text("utf-8").splitlines())


def test_a_conversation_survives_a_reload_and_can_be_left_and_found(page, script):
    say(page, "Hello\nthere")
    wait_for_reply(page, "there")
    say(page, "again")
    wait_for_reply(page, "to: again")
    # The model was given all that was said.
    roles = [message["role"] for message in script.asked[-1]["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert script.asked[-1]["messages"][1]["content"] == "Reply 1 from brave-otter to: Hello\nthere"

    page.reload()
    wait_for_reply(page, "to: again")
    page.click("#new")
    page.wait_for_selector(".welcome")
    page.click("#conversations a")
    wait_for_reply(page, "to: again")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#conversations button")
    page.wait_for_selector("#conversations .none")


def test_what_is_said_while_the_page_still_loads_stays_on_it(visit):
    # The list of conversations comes while the first message is on its way.
    slow = """
        const fetched = window.fetch;
        window.fetch = async (path, options) => {
            const isList = options.method === "GET" && path === "/api/conversations";
            const wait = path.endsWith("/messages") ? 1500 : isList ? 700 : 0;
            const answer = await fetched(path, options);
            await new Promise((resolve) => setTimeout(resolve, wait));
            return answer;
        };
    """
    page = visit(before=slow)
    say(page, "early")
    wait_for_reply(page, "to: early")


def test_a_reply_streams_and_can_be_stopped(page, script):
    say(page, "count")
    page.locator("article.assistant .words", has_text=" 5").wait_for()
    page.click("#stop")
    page.wait_for_selector("text=(stopped)")
    while script.running:  # the server hears of it, too
        page.wait_for_timeout(10)
    said = page.inner_text("article.assistant .words")
    assert said.strip().startswith("1 2 3 4 5")
    page.reload()
    page.wait_for_selector("text=(stopped)")
    assert page.inner_text("article.assistant .words") == said


def test_what_was_said_is_kept_when_the_page_goes_away_in_the_middle(page):
    say(page, "count")
    page.locator("article.assistant .words", has_text=" 5").wait_for()
    page.reload()
    page.wait_for_selector("text=(stopped)")
    assert page.inner_text("article.assistant .words").strip().startswith("1 2 3 4 5")


def test_another_reply_and_an_edited_message_stand_beside_the_first(page, script):
    say(page, "one")
    wait_for_reply(page, "to: one")
    page.click("[aria-label='Draw another reply']")
    wait_for_reply(page, "Reply 2 from brave-otter to: one")
    page.click("[aria-label='The one before']")
    wait_for_reply(page, "Reply 1 from brave-otter to: one")
    page.wait_for_selector("text=1 of 2")
    # The message in other words: what followed the old one is kept, but is not said to the model.
    page.click("[aria-label='Edit and send again']")
    page.fill(".editor textarea", "two")
    page.click(".editor >> text=Send")
    wait_for_reply(page, "to: two")
    assert [message["content"] for message in script.asked[-1]["messages"]] == ["two"]
    page.click("article.user [aria-label='The one before']")
    wait_for_reply(page, "to: one")
    page.reload()
    wait_for_reply(page, "to: one")


def test_models_are_chosen_described_and_compared(page, script):
    assert page.locator("#model option").all_inner_texts() == ["brave-otter", "calm-heron"]
    assert "Transformer" in page.inner_text("#cards")
    page.select_option("#model", "calm-heron")
    assert "LSTM" in page.inner_text("#cards")
    say(page, "hi")
    wait_for_reply(page, "from 20261123-1412-calm-heron to: hi")
    # A model is compared with another one unless it is told to be compared with itself.
    page.click("#compare")
    expect(page.locator("#other")).to_have_value("brave-otter")
    page.select_option("#other", "calm-heron")
    say(page, "twice")
    page.wait_for_selector(".sides article:nth-child(1) >> text=The chat goes on from here")

    page.select_option("#model", "brave-otter")
    say(page, "both")
    expect(page.locator(".sides article:not([aria-busy])")).to_have_count(2)
    assert sorted(body["model"] for body in script.asked[-2:]) == ["20261123-1412-calm-heron", "brave-otter"]
    assert page.locator(".sides .who").all_inner_texts() == ["brave-otter", "calm-heron"]
    # The left one counts, whichever came last, until another is chosen.
    page.wait_for_selector(".sides article:nth-child(1) >> text=The chat goes on from here")
    page.reload()
    page.wait_for_selector(".sides article:nth-child(1) >> text=The chat goes on from here")
    page.click("text=Go on from this one")
    page.wait_for_selector(".sides article:nth-child(2) >> text=The chat goes on from here")
    page.reload()
    page.wait_for_selector(".sides article:nth-child(2) >> text=The chat goes on from here")
    page.click("#compare")
    say(page, "go on")
    wait_for_reply(page, "to: go on")
    assert "from 20261123-1412-calm-heron to: both" in script.asked[-1]["messages"][-2]["content"]


def test_a_click_on_a_token_shows_how_likely_it_was(page):
    say(page, "hi")
    reply = wait_for_reply(page, "to: hi")
    # In the middle of "from", the third token
    place = page.evaluate(
        "() => { const text = document.querySelector('.assistant .words').firstChild; const range = new Range();"
        " range.setStart(text, 10); range.setEnd(text, 11); const box = range.getBoundingClientRect();"
        " return [box.x + box.width / 2, box.y + box.height / 2] }"
    )
    page.mouse.click(*place)
    assert reply.locator(".token[aria-pressed=true]").inner_text() == " from"
    rows = [" ".join(row.split()) for row in reply.locator(".alternatives li").all_inner_texts()]
    assert rows == ["␣or 50.0%", "␣from 25.0% , the one that was drawn"]
    page.keyboard.press("Tab")
    reply.locator(".token[aria-pressed=true]").focus()
    page.keyboard.press("ArrowRight")
    expect(reply.locator(".token[aria-pressed=true]")).to_be_focused()
    assert reply.locator(".token[aria-pressed=true]").inner_text() == " brave-otter"
    reply.locator("[aria-label='Tokens and their probabilities']").click()
    assert reply.locator(".token").count() == 0


def test_flags_and_rewritten_replies_become_data(page, script):
    say(page, "hi")
    wait_for_reply(page, "to: hi")
    page.click("[aria-label='Bad reply']")
    page.click("[aria-label='Draw another reply']")
    wait_for_reply(page, "Reply 2 from brave-otter to: hi")
    page.click("[aria-label='Rewrite by hand']")
    page.fill(".editor textarea", "Hello yourself.")
    page.click(".editor >> text=Save")
    page.wait_for_selector("text=rewritten by hand")
    # The model hears the new text as what it said.
    say(page, "and now")
    wait_for_reply(page, "to: and now")
    assert script.asked[-1]["messages"][1]["content"] == "Hello yourself."

    hi, hello = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello yourself."}
    page.click("#exports summary")
    with saved(page) as good:
        page.click("text=Good replies")
    assert good == [{"messages": [hi, hello]}]
    with saved(page) as pairs:
        page.click("text=Preference pairs")
    assert [(pair["prompt"], pair["chosen"]) for pair in pairs] == [([hi], [hello])] * 2
    assert {pair["rejected"][0]["content"][:7] for pair in pairs} == {"Reply 1", "Reply 2"}
    with saved(page) as shown:
        page.click("#export")
    assert [message["content"] for message in shown[0]["messages"]][:3] == ["hi", "Hello yourself.", "and now"]
    page.click("#thread article:nth-child(2) [aria-label='Rewrite by hand']")
    page.click("text=Restore the original")
    page.wait_for_selector("text=rewritten by hand", state="detached")


@pytest.mark.parametrize("before", ["", "Object.defineProperty(navigator, 'clipboard', {value: undefined})"])
def test_messages_are_copied_as_they_are(visit, before):
    """Also where the page is not from a secure address, which has no clipboard of its own."""
    page = visit(before=before, permissions=["clipboard-read", "clipboard-write"])
    text = "two\n  lines <b>&amp;</b>  é🦦"
    page.fill("#message", text)
    page.keyboard.press("Enter")
    reply = wait_for_reply(page, "é🦦")
    for message, copied in (
        (page.locator("article.user"), text),
        (reply, re.compile(r"^Reply 1 .*: " + re.escape(text))),
    ):
        button = message.get_by_role("button", name="Copy")
        page.evaluate("document.getElementById('status').textContent = ''")
        button.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_have_text("Copied.")
        expect(button).to_be_focused()
        page.fill("#message", "")
        page.locator("#message").press("Control+v")
        expect(page.locator("#message")).to_have_value(copied)


def test_sampling_options_reach_the_model_and_stay(page, script):
    page.click("#panel summary")
    page.fill("#temperature", "1.2")
    page.fill("#max_tokens", "40")
    page.fill("#seed", "7")
    page.fill("#stop_text", "END")
    page.fill("#system", "Be brief.")
    page.reload()
    page.wait_for_selector("#model option", state="attached")
    say(page, "hi")
    wait_for_reply(page, "to: hi")
    asked = script.asked[-1]
    wanted = {"temperature": 1.2, "top_p": 1, "max_tokens": 40, "seed": 7, "stop": ["END"]}
    assert wanted.items() <= asked.items()
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    page.click("#panel summary")
    page.click("text=Defaults")
    say(page, "ho")
    wait_for_reply(page, "to: ho")
    assert "seed" not in script.asked[-1]
    assert script.asked[-1]["temperature"] == 0.5


def test_nothing_that_is_said_runs(page, address):
    say(page, HOSTILE)
    reply = wait_for_reply(page, HOSTILE)
    assert page.locator("#thread :is(img, script)").count() == 0
    reply.locator("[aria-label='Tokens and their probabilities']").click()
    assert page.locator(".token", has_text="<img").count() == 1
    page.reload()
    wait_for_reply(page, "").locator("[aria-label='Rewrite by hand']").click()
    page.fill(".editor textarea", HOSTILE)
    page.click(".editor >> text=Save")
    page.wait_for_selector("text=rewritten by hand")
    assert page.title() == "understudy"
    policy = page.request.get(address).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_what_goes_wrong_is_said_and_can_be_tried_again(page, script):
    say(page, "refuse")
    page.wait_for_selector("#notice >> text=too many requests; wait a little")
    page.click("[aria-label='Edit and send again']")
    page.fill(".editor textarea", "fail")
    page.click(".editor >> text=Send")
    page.wait_for_selector("#notice >> text=the model broke")
    page.wait_for_selector("text=(broken off by an error)")
    page.click("text=Try again")
    page.wait_for_selector("text=2 of 2")
    page.wait_for_selector("#notice >> text=the model broke")
    page.goto(page.url.split("#")[0] + "#nobody")
    page.wait_for_selector("#notice >> text=no conversation 'nobody'")


def test_a_server_with_keys_asks_for_one_and_keeps_it(visit, script):
    script.key = "apricot"
    page = visit(ready="#ask[open]")
    page.fill("#key", "plum")
    page.keyboard.press("Enter")
    page.wait_for_selector("#ask[open] >> text=a key is needed")
    page.fill("#key", "apricot")
    page.keyboard.press("Enter")
    page.wait_for_selector("#model option", state="attached")
    say(page, "hi")
    wait_for_reply(page, "to: hi")
    page.reload()
    wait_for_reply(page, "to: hi")


def test_the_keyboard_is_enough(page):
    def tab_to(name: str, back: bool = False) -> None:
        for _ in range(60):
            page.keyboard.press("Shift+Tab" if back else "Tab")
            focused = page.evaluate("(e => e.getAttribute('aria-label') || e.textContent)(document.activeElement)")
            if focused.strip() == name:
                return
        raise AssertionError(f"no {name} by Tab")

    page.keyboard.type("hi")
    page.keyboard.press("Enter")
    wait_for_reply(page, "to: hi")
    tab_to("Good reply", back=True)
    page.keyboard.press("Enter")
    page.wait_for_selector("[aria-label='Good reply'][aria-pressed=true]")
    # What was pressed keeps the focus, though the messages were drawn anew.
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Good reply"
    tab_to("Rewrite by hand")
    page.keyboard.press("Enter")
    expect(page.locator(".editor textarea")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("[aria-label='Rewrite by hand']")).to_be_focused()
    page.focus("#message")
    page.keyboard.type("count")
    page.keyboard.press("Enter")
    page.locator(".assistant:nth-of-type(4) .words", has_text=" 3").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_selector("text=(stopped)")


def test_a_phone_has_all_of_it(visit):
    page = visit(viewport=NARROW)
    say(page, "x" * 300)
    wait_for_reply(page, "x")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert page.evaluate("document.querySelector('#thread').scrollWidth") <= NARROW["width"]
    assert not page.is_visible("#sidebar")
    page.click("[aria-label='Conversations']:not(nav)")
    page.wait_for_selector("#conversations a", state="visible")
    page.keyboard.press("Escape")
    page.wait_for_selector("#sidebar", state="hidden")
    page.click("#about")
    page.wait_for_selector("#cards h4:has-text('Model')")
    page.click("[aria-label='Close the panel']")
    page.click("#compare")
    say(page, "both")
    expect(page.locator(".sides article:not([aria-busy])")).to_have_count(2)
    boxes = [side.bounding_box() for side in page.locator(".sides article").all()]
    assert boxes[0]["x"] == boxes[1]["x"]


@pytest.mark.parametrize(
    "options", [{}, {"color_scheme": "dark"}, {"viewport": NARROW}], ids=["light", "dark", "phone"]
)
def test_axe_finds_nothing_to_mend(visit, options):
    from axe_playwright_python.sync_playwright import Axe

    def examine() -> None:
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()

    page = visit(**options, bypass_csp=True)  # for axe, which is no part of the page
    examine()
    page.click("#compare")
    say(page, "hi")
    expect(page.locator(".sides article:not([aria-busy])")).to_have_count(2)
    page.locator("[aria-label='Bad reply']").first.click()
    page.locator("[aria-label='Tokens and their probabilities']").first.click()
    page.locator("[aria-label='Rewrite by hand']").last.click()
    examine()
    page.click("#about")
    examine()
