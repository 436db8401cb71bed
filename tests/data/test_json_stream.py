"""JSON in pieces reads as JSON at once, whatever the size of the pieces, and damage has a place."""

import io
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data import json_stream as jsonstream
from understudy.data.json_stream import JsonReader
from understudy.errors import BrokenJsonError

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


def walked(reader: JsonReader) -> Any:
    """The value that comes next, by walking into every object and array."""
    if reader.peek() == "{":
        return {key: walked(reader) for key in reader.members()}
    return [walked(reader) for _ in reader.elements()] if reader.peek() == "[" else reader.value()


@given(value=values, after=values, chunk=st.integers(1, 40), indent=st.none() | st.just(2), ascii_only=st.booleans())
def test_read_in_pieces_is_read_at_once(
    value: Any, after: Any, chunk: int, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps([value, after, value, after], indent=indent, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonstream, "CHUNK", chunk)
        assert walked(JsonReader(io.StringIO(text))) == [value, after, value, after]
        reader = JsonReader(io.StringIO(text))
        for place, _ in enumerate(reader.elements()):
            if place % 2:
                assert reader.value() == after
            else:
                reader.skip()
        assert reader.peek() == ""


@given(value=values, end=st.integers(0, 200), chunk=st.sampled_from([1, 7, 1000]))
def test_cut_anywhere_it_breaks_with_a_line(value: Any, end: int, chunk: int) -> None:
    text = json.dumps({"a": [value]}, indent=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonstream, "CHUNK", chunk)
        for read in (walked, JsonReader.skip):
            with pytest.raises(BrokenJsonError, match=r"^line \d+: "):
                read(JsonReader(io.StringIO(text[: min(end, len(text) - 1)])))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"line 1: expected '\[', found the end of the text"),
        ("{}", r"line 1: expected '\[', found '{'"),
        ("[1\n 2]", "line 2: expected ',' or ']', found '2'"),
        ("[\n\n1,\nnope]", "line 4: Expecting value"),
        ("[1,]", "line 1: Expecting value"),
        ('["a\n\\q"]', "line 2: Invalid \\\\escape"),
        ("[" * 100_000, "line 1: .*recursion"),
        ("[" + "1" * 5000 + "]", "line 1: Exceeds the limit"),
        ('["' + "a" * (1 << 23) + '"]', "line 1: a value longer than 4,194,304 characters"),
    ],
)
def test_damage_is_named(text: str, problem: str) -> None:
    reader = JsonReader(io.StringIO(text))
    with pytest.raises(BrokenJsonError, match=problem):
        [reader.value() for _ in reader.elements()]


def test_a_key_must_be_a_string() -> None:
    with pytest.raises(BrokenJsonError, match="line 1: expected a key in quotes"):
        list(JsonReader(io.StringIO("{1: 2}")).members())


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_control_characters_as_telegram_writes_them(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonstream, "CHUNK", chunk)
    text = r'["a\x0Bb\x1fc \\x41 \"\x07\" \u00e9", "\\", "\x01"]'
    assert walked(JsonReader(io.StringIO(text))) == ['a\x0bb\x1fc \\x41 "\x07" é', "\\", "\x01"]


def test_what_is_skipped_may_be_deep_and_large() -> None:
    began = time.process_time()
    deep = "[" * 20_000 + "]" * 20_000
    reader = JsonReader(io.StringIO('{"deep": ' + deep + ', "long": "' + '\\"x' * 100_000 + '", "end": 1}'))
    found = {}
    for key in reader.members():
        if key == "end":
            found[key] = reader.value()
        else:
            reader.skip()
    assert found == {"end": 1}
    assert time.process_time() - began < 5
