"""Self-contained HTML pages, rendered from the templates beside this file.

A page needs no network and no script. All text in it is escaped, and control characters are spelt out.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.console import visible
from understudy.errors import UserError
from understudy.files import write_atomically

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """Return the page that a template makes of the values."""
    return templates().get_template(template).render(values)


def write_page(path: Path, page: str, advice: str = "") -> None:
    """Write a page to `path`. Raises UserError, which ends in `advice`, where it cannot be written."""
    try:
        write_atomically(path, page)
    except OSError as error:
        raise UserError(f"cannot write the page to {path}: {error.strerror}{advice}") from error


@cache
def templates() -> "Environment":
    """Return the templates' environment, in which values are escaped and a missing one is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def spell_out(value: Any) -> Any:
        return value if isinstance(value, Markup) else "\n".join(map(visible, str(value).split("\n")))

    # What `finalize` returns is escaped, unless it is Markup: what the templates and the plots made.
    found = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=spell_out,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["style"] = Markup((FOLDER / "style.css").read_text(encoding="utf-8"))
    return found
