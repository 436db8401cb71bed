"""The chat page: plain files for the browser, which fetches nothing from anywhere else."""

from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

from understudy.runs import pages

FOLDER = Path(__file__).parent
FILES = {path.name: path for path in FOLDER.iterdir() if path.suffix in (".css", ".js", ".svg")}
FILES["base.css"] = Path(pages.__file__).with_name("style.css")
# What a message holds can never become a script: none but these files runs, and nothing makes markup from text.
POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # which asks each time whether the file is still the same
}


def page_routes(index: Path = FOLDER / "index.html", more: Mapping[str, Path] | None = None) -> APIRouter:
    """Return the routes of a page and its files: of the chat page, or of another one with `more` files."""
    router, files = APIRouter(include_in_schema=False), {**FILES, **(more or {})}

    @router.get("/")
    def page() -> FileResponse:
        return FileResponse(index, headers=HEADERS)

    @router.get("/page/{name}")
    def file(name: str) -> FileResponse:
        if name not in files:
            raise HTTPException(404, f"no file {name!r} belongs to the page")
        return FileResponse(files[name], headers=HEADERS)

    return router
