"""The page with the server that it belongs to, and a model that draws its tokens itself."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect
from scripted import served

from understudy.acting.scheduler import Scheduler
from understudy.serving.access import Access, read_keys
from understudy.serving.app import Options, build_app
from understudy.serving.conversations import ConversationStore
from understudy.serving.replies import Served


@pytest.fixture
def serve(models, tmp_path) -> Iterator[Callable[..., str]]:
    """Serves a model under the given access, and returns the address."""
    loaded = models["brave-otter"]
    with ExitStack() as stack:

        def serve(access: Access) -> str:
            scheduler = Scheduler(loaded.model, loaded.tokenizer)
            stack.callback(scheduler.close, drain=False)
            store = ConversationStore(tmp_path / "conversations.sqlite")
            stack.callback(store.close)
            model = Served("brave-otter", loaded, scheduler, 0)
            return stack.enter_context(served(build_app({"brave-otter": model}, store, Options(access))))

        yield serve


def test_a_model_replies_and_tells_how_likely_each_token_was(browser: Browser, serve) -> None:
    address = serve(Access())
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        page.locator("#model option").first.wait_for(state="attached")
        page.click("#panel summary")
        page.fill("#max_tokens", "20")
        page.fill("#message", "hello")
        page.keyboard.press("Enter")
        reply = page.locator("article.assistant:not([aria-busy])")
        reply.wait_for(timeout=30_000)
        said = reply.locator(".words").inner_text()
        assert said

        # The tokens spell the reply, so a click on its first letter opens the first token.
        reply.locator(".words").click(position={"x": 3, "y": 8})
        assert "".join(reply.locator(".token").all_text_contents()).startswith(said)
        figures = [float(one.split("%")[0]) for one in reply.locator(".alternatives .figure").all_text_contents()]
        assert len(figures) == 5
        assert figures == sorted(figures, reverse=True)
        assert 0 < sum(figures) < 100.5

        page.reload()
        expect(page.locator("article.assistant .words")).to_have_text(said)
        page.goto(f"{address}/#no-such-conversation")
        expect(page.locator("#notice")).to_contain_text("no conversation 'no-such-conversation'")


def test_what_belongs_to_one_key_is_out_of_reach_of_another(serve, tmp_path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("ann apricot-apricot-apricot\nbob blackberry-blackberry\n")
    keys.chmod(0o600)
    address = serve(Access(read_keys(keys)))

    def ask(key: str | None, method: str, path: str, **more: Any) -> httpx.Response:
        return httpx.request(
            method, f"{address}{path}", headers={"Authorization": f"Bearer {key}"} if key else {}, **more
        )

    begun = ask("apricot-apricot-apricot", "POST", "/api/conversations", json={"title": "a secret"})
    path = f"/api/conversations/{begun.json()['id']}"
    assert ask("apricot-apricot-apricot", "GET", path).json()["title"] == "a secret"
    assert ask("blackberry-blackberry", "GET", "/api/conversations").json() == []
    for method, status in (("GET", 404), ("DELETE", 404)):
        answer = ask("blackberry-blackberry", method, path)
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, "invalid_request_error")
        assert ask(None, method, path).status_code == ask("wrong", method, path).status_code == 401
    # The page itself is nobody's secret: it asks for the key.
    assert httpx.get(address).status_code == httpx.get(f"{address}/page/main.js").status_code == 200
    assert httpx.get(f"{address}/api/models").status_code == 401
