import re
from pathlib import Path

from understudy import errors


def test_all_errors_are_in_one_file_and_in_its_tree() -> None:
    defined = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert set(re.findall(r"── (\w+)", errors.__doc__ or "")) == defined.keys()
    assert [name for name, kind in defined.items() if not (kind.__doc__ or "").startswith("Raised ")] == []
    for path in Path(errors.__file__).parent.rglob("*.py"):
        if path.name != "errors.py":
            assert not re.search(r"^class .*(Error|Exception)\)?:", path.read_text(encoding="utf-8"), re.MULTILINE), (
                path
            )
