"""What the documentation names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(page for page in ROOT.glob("docs/*.md") if page.name != "journal.md")])
# The journal tells what was tried with the names of its time.


def names_in(file: Path) -> set[str]:
    """Everything that a file defines, with and without its class."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_definitions_that_a_page_names_are_there(page: Path) -> None:
    # (ParlAI's own paths begin with projects/.)
    for path, name in re.findall(r"`(?!projects/)((?:[\w.]+/)+\w+\.py)(?::([\w.]+))?`", page.read_text()):
        file = next((ROOT / start / path for start in ("", "understudy") if (ROOT / start / path).exists()), None)
        assert file, path
        assert not name or name in names_in(file), f"{path}:{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link
