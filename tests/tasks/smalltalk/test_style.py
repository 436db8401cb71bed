import pytest

from understudy.tasks.smalltalk.style import Style, draw_style, dressed, led_in, slipped

LOWER = Style("lower", True, True, True, False, False, False)
CASUAL = Style("casual", False, True, False, False, True, True)


@pytest.mark.parametrize(
    ("template", "style", "expected"),
    [
        ("My name is {v}.", Style(), "My name is {v}."),
        ("Hi! I'm {v}, nice to meet you.", LOWER, "hi i'm {v} nice to meet you".replace("'", "")),
        ("What's my name?", CASUAL, "what's my name?"),
        ("I live in {v}.", CASUAL, "I live in {v}"),
        ("{v} here.", CASUAL, "{v} here"),
        ("{V}, I think.", CASUAL, "{v}, I think"),
        ("OK.", CASUAL, "ok"),
        ("I'm {v} and it's late.", Style("formal"), "I am {v} and it is late."),
        ("My {a}'s name is {v}.", Style("formal"), "My {a}'s name is {v}."),
        ("I like {v} best.", Style("chatty"), "I like {v} best!"),
        ("My favourite colour is {v}.", Style(american=True), "My favorite color is {v}."),
    ],
)
def test_a_phrase_in_each_register(template: str, style: Style, expected: str):
    assert dressed(template, style) == expected


def test_lead_ins_keep_names_and_i():
    assert led_in("By the way, ", "My name is {v}.") == "By the way, my name is {v}."
    assert led_in("By the way, ", "I'm {v}.") == "By the way, I'm {v}."
    assert led_in("Hi, ", "{v} here.") == "Hi, {v} here."
    assert led_in("Hi! ", "My name is {v}.") == "Hi! My name is {v}."
    assert led_in("So, ", "It's {v}.") == "So, it's {v}."


def test_slips_touch_function_words_only():
    assert slipped("My zebra", lambda: 0.0) == "Ym zebra"
    assert slipped("{me} {v} zebra", lambda: 0.0) == "{me} {v} zebra"


def test_lower_style_is_drawn_for_its_register_only():
    registers = ("neat", "casual", "lower", "chatty", "formal", "terse")
    assert [draw_style(register, False, lambda: 0.5).lower for register in registers] == [
        r == "lower" for r in registers
    ]
