"""The application of the pages to play and to watch: the server's own routes, the websocket of a hall, and episodes."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.websockets import WebSocket

from understudy.serving.access import Access
from understudy.serving.app import Options, guarded_app
from understudy.serving.metrics import Metrics
from understudy.serving.page import page_routes
from understudy.serving.play.hall import Hall
from understudy.serving.play.replays import Replays, replay_routes

FOLDER = Path(__file__).parent
FILES = {path.name: path for path in FOLDER.iterdir() if path.suffix in (".css", ".js")}


def build_play_app(hall: Hall | None, replays: Replays, access: Access) -> FastAPI:
    """Return the application of a hall to play in, and of episodes to watch; without a hall only of these."""
    app = guarded_app(Metrics({}), Options(access))
    app.include_router(replay_routes(replays))
    app.include_router(page_routes(FOLDER / ("play.html" if hall else "watch.html"), FILES))
    if hall:

        @app.get("/api/room", tags=["play"])
        def tell_room() -> dict[str, Any]:
            """Tell what is played here, and whether a game is on."""
            return {"game": hall.match.env.name, "state": hall.state}

        @app.websocket("/api/play")
        async def play(socket: WebSocket) -> None:
            await hall.visit(socket)

    return app
