import re
from pathlib import Path

from understudy import errors


def test_all_errors_are_in_one_file_and_say_when_they_are_raised() -> None:
    defined = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert [kind for kind in defined if not (kind.__doc__ or "").startswith("Raised ")] == []
    for path in Path(errors.__file__).parent.rglob("*.py"):
        if path.name != "errors.py":
            assert not re.search(r"^class .*(Error|Exception)\)?:", path.read_text(encoding="utf-8"), re.MULTILINE), (
                path
            )
