"""The pages of games in headless Chromium, as people meet them."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from understudy.games.kitchen import kernels
from understudy.games.kitchen.scripts import Cook
from understudy.games.minari_files import read

expect.set_options(timeout=60_000)

NARROW = {"width": 390, "height": 844}
KEYS = ("ArrowUp", "ArrowDown", "ArrowRight", "ArrowLeft", None, " ")
"""What the cook of the script would press for each of its actions."""


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Any]]:
    """Opens the page in a browser of its own; whatever the page complains of fails the test."""
    complaints: list[str] = []
    contexts = []

    def visit(address: str, path: str = "/", **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Security Policy" in said.text else None)
        own = (address, address.replace("http", "ws"))
        page.on("request", lambda asked: None if asked.url.startswith(own) else complaints.append(asked.url))
        page.goto(address + path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def start(page: Any, name: str = "") -> None:
    page.locator("#start").wait_for()
    page.fill("#name", name)
    page.keyboard.press("Enter")


def shown(page: Any) -> int:
    """Return how many presses a frame has shown."""
    found: int = page.evaluate("performance.getEntriesByName('press to frame').length")
    return found


def wait_until_shown(page: Any, presses: int) -> None:
    """Wait until frames have shown what so many presses did."""
    for _ in range(4000):
        if shown(page) >= presses:
            return
        page.wait_for_timeout(5)
    raise TimeoutError


def cook_a_soup(page: Any, match: Any) -> None:
    """Press the keys with which the script would cook, looking at what each did, until a soup is served."""
    brain = Cook(match.env.kitchens, match.env.kitchen)
    brain.reset(*[match.teams.rows("human")] * 2)
    while match.returns["cook 1"] < kernels.DELIVERY and not match.over:
        key = KEYS[brain.act(match.teams.rows("human"), None, None)[0, 0]]
        if key is None:
            page.wait_for_timeout(20)
            continue
        before = shown(page)
        page.keyboard.press(key)
        wait_until_shown(page, before + 1)


def test_a_person_cooks_a_soup_beside_a_script_and_finds_the_game_again(visit, open_hall):
    address, hall = open_hall("human", "script:random", seconds=0.04, horizon=30_000)
    page = visit(address)
    expect(page.locator("#places li")).to_have_text([re.compile("cook 1.*you"), re.compile("cook 2.*script:random")])
    start(page, "Ann")
    expect(page.locator("#cover")).to_be_hidden()
    cook_a_soup(page, hall.match)
    expect(page.locator("#score")).to_have_text("Return 20")
    page.click("#leave")

    # The return, and where the game is
    cover = page.locator("#cover")
    expect(cover).to_contain_text("The game is over")
    expect(cover).to_contain_text("Broken off: Ann left. Return 20 in")
    expect(cover).to_contain_text("Recorded as game 0 of mine-v0.")
    (episode,) = read(hall.match.folder).episodes
    assert episode.rewards.sum(0).tolist() == [20, 20]

    # It is watched, to its end
    page.click("#came a")
    expect(page.locator("#episodes tbody tr")).to_contain_text(["person Ann, script:random"])
    expect(page.locator("#moment")).to_contain_text("Step 0. cook 1 (person Ann): ")
    page.select_option("#speed", "16")
    page.click("#play")
    expect(page.locator("#score")).to_have_text("Return 20")
    expect(page.locator("#moment")).to_have_text(f"Step {len(episode.actions)}. The end.")
    expect(page.locator("#play")).to_have_text("Play")
    page.click("#earlier")
    expect(page.locator("#moment")).to_contain_text(f"Step {len(episode.actions) - 1}. cook 1")
    page.locator("#step").focus()
    page.keyboard.press("Home")
    expect(page.locator("#moment")).to_contain_text("Step 0. cook 1")


def test_two_people_in_two_browsers(visit, open_hall):
    address, hall = open_hall("human", "human", seconds=0.03, horizon=60)
    ann = visit(address)
    start(ann, "Ann")
    expect(ann.locator("#came")).to_have_text("Open this address in another browser for the other person.")
    bob = visit(address)
    expect(bob.locator("#places li").first).to_contain_text("Ann")
    start(bob, "Bob")
    for page, key in ((ann, "ArrowLeft"), (bob, "d")):
        expect(page.locator("#cover")).to_be_hidden()
        page.keyboard.down(key)
        wait_until_shown(page, 1)
        page.keyboard.up(key)
    for page in (ann, bob):
        expect(page.locator("#cover")).to_contain_text("Return 0 in 60 steps.")
    (episode,) = read(hall.match.folder).episodes
    assert episode.provenance["players"] == {"cook 1": "person Ann", "cook 2": "person Bob"}
    assert set(episode.actions[:, 0, 0]) == {kernels.WEST, kernels.STAY}
    assert set(episode.actions[:, 1, 0]) == {kernels.EAST, kernels.STAY}
    # Again, and this time Bob closes his tab
    start(ann, "Ann")
    start(bob, "Bob")
    expect(ann.locator("#cover")).to_be_hidden()
    bob.close()
    expect(ann.locator("#cover")).to_contain_text("Broken off: Bob went away.")
    assert read(hall.match.folder).episodes[1].provenance["ended"] == "broken off: Bob went away"


def test_a_reload_takes_the_seat_again_and_a_second_tab_watches(visit, open_hall):
    address, hall = open_hall(seconds=0.03, horizon=10_000, patience=60)
    page = visit(address)
    start(page, "Ann")
    expect(page.locator("#cover")).to_be_hidden()
    second = page.context.new_page()
    second.goto(address)
    expect(second.locator("#cover")).to_be_hidden()
    expect(second.locator("#leave")).to_be_hidden()
    page.reload()
    expect(page.locator("#cover")).to_be_hidden()
    expect(page.locator("#leave")).to_be_visible()
    page.keyboard.press("ArrowUp")
    wait_until_shown(page, 1)
    page.click("#leave")
    # Who watched may take the place once it is left
    expect(second.locator("#cover")).to_contain_text("Broken off: Ann left.")
    assert hall.state == "waiting"


def test_a_screen_reader_hears_what_changes(visit, open_hall):
    address, _ = open_hall("human", "idle", seconds=0.05, horizon=10_000)
    page = visit(address)
    start(page)
    expect(page.locator("#status")).to_contain_text("The game begins. You are cook 1.")
    for key, said in (("ArrowUp", ""), ("ArrowLeft", "Before you is the onions."), (" ", "You hold an onion.")):
        page.keyboard.press(key)
        if said:
            expect(page.locator("#status")).to_contain_text(said)


def test_keys_that_are_touched_on_a_phone(visit, open_hall):
    address, hall = open_hall("human", "idle", seconds=0.05, horizon=10_000)
    page = visit(address, viewport=NARROW, has_touch=True, is_mobile=True)
    start(page)
    expect(page.locator("#cover")).to_be_hidden()
    for name in ("north", "west", "interact"):
        before = shown(page)
        page.get_by_role("button", name=name).tap()
        wait_until_shown(page, before + 1)
    assert hall.match.env.kitchens[0, kernels.HELD] == kernels.ONION
    # Nothing is wider than the phone
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_keys_that_browsers_use_are_left_to_them(visit, open_hall):
    address, hall = open_hall("human", "idle", seconds=0.03, horizon=10_000)
    page = visit(address)
    start(page)
    expect(page.locator("#cover")).to_be_hidden()
    page.locator("#leave").focus()
    page.keyboard.press(" ")
    expect(page.locator("#cover")).to_contain_text("Broken off")
    assert hall.state == "waiting"


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark", "viewport": NARROW}])
def test_axe_finds_nothing_to_mend(visit, open_hall, options):
    from axe_playwright_python.sync_playwright import Axe

    def examine(page: Any) -> None:
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()

    address, _ = open_hall(seconds=0.02, horizon=60)
    page = visit(address, **options, bypass_csp=True)  # for axe, which is no part of the page
    page.locator("#start").wait_for()
    examine(page)
    start(page, "Ann")
    expect(page.locator("#cover")).to_be_hidden()
    examine(page)
    expect(page.locator("#came a")).to_be_visible()
    examine(page)
    page.click("#came a")
    expect(page.locator("#play")).to_be_enabled()
    examine(page)
