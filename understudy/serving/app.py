"""The server's application: all routes behind one guard, and every error in one shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.middleware.cors import CORSMiddleware

from understudy import __version__
from understudy.serving.access import Access, Guard, owner
from understudy.serving.conversations import ConversationStore
from understudy.serving.conversations_api import conversation_routes
from understudy.serving.metrics import Metrics
from understudy.serving.model_card import model_card_routes
from understudy.serving.openai_api import openai_routes
from understudy.serving.page import page_routes
from understudy.serving.problems import RESPONSES, answer_errors
from understudy.serving.replies import Served


@dataclass(frozen=True)
class Options:
    """How a server answers."""

    access: Access = field(default_factory=Access)
    origins: Sequence[str] = ()
    """Web pages from elsewhere that may ask: none, unless they are named here."""


def build_app(models: Mapping[str, Served], store: ConversationStore, options: Options) -> FastAPI:
    """Return the application that serves these models. Whoever made their schedulers and the store closes them."""
    metrics = Metrics({name: each.scheduler for name, each in models.items()})
    app = guarded_app(metrics, options)
    app.include_router(openai_routes(models, metrics))
    app.include_router(conversation_routes(store, owner))
    app.include_router(model_card_routes({name: each.loaded for name, each in models.items()}))
    app.include_router(page_routes())
    return app


def guarded_app(metrics: Metrics, options: Options) -> FastAPI:
    """Return an application that has no routes yet but those of every server, behind the guard."""
    # Pages of documentation would load scripts from elsewhere.
    app = FastAPI(title="understudy", version=__version__, docs_url=None, redoc_url=None, responses=RESPONSES)
    answer_errors(app)
    app.add_middleware(Guard, access=options.access, metrics=metrics)
    if options.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(options.origins), allow_methods=["*"], allow_headers=["*"]
        )

    @app.get("/health", tags=["server"])
    def tell_health() -> dict[str, str]:
        """Tell that the server answers."""
        return {"status": "ok"}

    @app.get("/metrics", tags=["server"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def tell_metrics() -> Response:
        """Return the server's figures for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app
