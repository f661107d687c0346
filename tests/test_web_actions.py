"""The grammar of pages and screens: subsets, points, and others' spellings."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.actions import Action, Call
from agentgym.actions.pointing import CONVENTIONS, View, on_page
from agentgym.actions.spellings import (
    SPELLINGS,
    SpokenGrammar,
    computer_13,
    coordinates,
    gui_cursor,
    playwright_mcp,
    ui_tars,
    webarena,
)
from agentgym.actions.web import COORDINATES, GROUPS, SUBSETS, VERBS, grammar
from agentgym.errors import ConfigError, InvalidAction

# ---------------------------------------------------------------------------- the grammar


def test_subsets_are_what_they_are_named_after():
    names = {name: {verb.name for verb in verbs} for name, verbs in SUBSETS.items()}
    assert names["ground"] == {"click_at", "box", "done"}
    assert names["cursor"] == {"move", "move_by", "zoom", "unzoom", "click", "done"}
    assert not names["web"] & {verb.name for verb in GROUPS["pixel"]}
    assert not names["gui"] & {verb.name for verb in GROUPS["element"]}
    assert names["all"] == set(VERBS)


@pytest.mark.parametrize("subset", SUBSETS)
@pytest.mark.parametrize("dialect", ["call", "json", "tools", "tags"])
def test_every_call_of_a_subset_can_be_said_in_every_dialect(subset, dialect):
    spoken = grammar(subset, dialect=dialect)
    for verb in SUBSETS[subset]:
        text = verb.canonical(verb.example())
        assert spoken.parse(spoken.render(text)) == text


def test_an_unknown_subset_or_verb_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'web'"):
        grammar("wep")
    with pytest.raises(ConfigError, match="did you mean 'click'"):
        grammar(["clik"])
    assert set(grammar(["click", "done"]).verbs) == {"click", "done"}


def test_points_are_arguments_of_their_verbs():
    for verb, pairs in COORDINATES.items():
        assert {name for pair in pairs for name in pair} <= {a.name for a in VERBS[verb].arguments}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("click", "parse"),
        ("clik(3)", "unknown_verb"),
        ("click(0)", "arguments"),
        ("click('x')", "arguments"),
        ("click(3, n=9)", "arguments"),
        ("press()", "arguments"),
        ("wait(ms=-1)", "arguments"),
        ("wait(ms=99999999)", "arguments"),
        (f"type('{'x' * 10_001}')", "arguments"),
        ("__import__('os').system('x')", "parse"),
        ("goto(1 + 1)", "arguments"),
        ("", "empty"),
    ],
)
def test_what_cannot_be_read_has_a_kind(text, kind):
    with pytest.raises(InvalidAction) as caught:
        grammar("all").parse(text)
    assert caught.value.kind in (kind, "unknown_verb")


# ---------------------------------------------------------------------------- points

sides = st.integers(1, 4000)
shares = st.floats(0, 1)


@st.composite
def views(draw):
    region = (
        draw(st.floats(0, 2000)),
        draw(st.floats(0, 2000)),
        draw(st.floats(8, 2000)),
        draw(st.floats(8, 2000)),
    )
    size = (draw(sides), draw(sides))
    return View(region, size, draw(st.sampled_from(CONVENTIONS)))


@given(views(), shares, shares)
def test_points_map_to_the_page_and_back_exactly(view, across, down):
    x, y = view.extent[0] * across, view.extent[1] * down
    there = view.to_page(x, y)
    left, top, width, height = view.region
    assert left - 1e-6 <= there[0] <= left + width + 1e-6
    assert top - 1e-6 <= there[1] <= top + height + 1e-6
    assert view.to_image(*there) == pytest.approx((x, y), abs=1e-6, rel=1e-9)


@given(views(), shares, shares, shares, shares)
def test_a_zoom_within_a_zoom_is_where_it_says(view, x1, y1, x2, y2):
    (ax, ay), (bx, by) = (
        view.to_page(view.extent[0] * x, view.extent[1] * y) for x, y in ((x1, y1), (x2, y2))
    )
    width, height = abs(ax - bx), abs(ay - by)
    if width < 1e-3 or height < 1e-3:
        return
    inner = View((min(ax, bx), min(ay, by), width, height), (100, 100), view.coords)
    assert inner.to_page(0, 0) == pytest.approx((min(ax, bx), min(ay, by)))
    assert inner.to_page(*inner.extent) == pytest.approx((max(ax, bx), max(ay, by)))


def test_conventions_agree_about_the_same_point():
    region, size = (100.0, 50.0, 400.0, 200.0), (800, 400)
    told = {"pixel": (400, 200), "norm1000": (500, 500), "norm1": (0.5, 0.5)}
    for convention, point in told.items():
        assert View(region, size, convention).to_page(*point) == (300.0, 150.0)


@pytest.mark.parametrize("point", [(-1, 0), (801, 0), (0, 401), (float("inf"), 0)])
def test_a_point_outside_of_the_image_is_refused(point):
    view = View((0.0, 0.0, 400.0, 200.0), (800, 400))
    with pytest.raises(InvalidAction) as caught:
        view.to_page(*point)
    assert caught.value.kind == "out_of_bounds"


def test_all_points_of_a_call_are_mapped_and_nothing_else():
    view = View((100.0, 0.0, 400.0, 200.0), (800, 400))
    call = Call("drag_at", {"x1": 0.0, "y1": 0.0, "x2": 800.0, "y2": 400.0})
    assert on_page(call, view).arguments == {"x1": 100.0, "y1": 0.0, "x2": 500.0, "y2": 200.0}
    moved = on_page(Call("move_by", {"dx": 80.0, "dy": -40.0}), view)
    assert moved.arguments == {"dx": 40.0, "dy": -20.0}
    typed = Call("type", {"text": "x"})
    assert on_page(typed, view) is typed


# ---------------------------------------------------------------------------- spellings


def tool(name, **arguments):
    return json.dumps({"name": name, "arguments": arguments})


def step(kind, **parameters):
    return json.dumps({"action_type": kind, "parameters": parameters})


SAID = [
    (webarena, "click [12]", "click(12)"),
    (webarena, "Let's think. In summary, ```click [12]```", "click(12)"),
    (webarena, "type [5] [red mug] [1]", 'fill(5, "red mug", submit=True)'),
    (webarena, "type [5] [red mug] [0]", 'fill(5, "red mug")'),
    (webarena, "type [5] [red mug] [press_enter_after=0]", 'fill(5, "red mug")'),
    (webarena, "type [5] [a [b] c] [0]", 'fill(5, "a [b] c")'),
    (webarena, "hover [3]", "hover(3)"),
    (webarena, "press [ctrl+a]", 'press("Control+a")'),
    (webarena, "press [Enter]", 'press("Enter")'),
    (webarena, "scroll [down]", 'scroll("down")'),
    (webarena, "scroll [direction=up]", 'scroll("up")'),
    (webarena, "scroll up", 'scroll("up")'),
    (webarena, "To stop here, or click on it, would be wrong: hover [3]", "hover(3)"),
    (webarena, "I will not stop.\nNext action: `go_back`", "back()"),
    (webarena, "stop", "done()"),
    (webarena, "tab_focus [1]", "tab(1)"),
    (webarena, "new_tab", "new_tab()"),
    (webarena, "close_tab", "close_tab()"),
    (webarena, "goto [http://shop.test/]", 'goto("http://shop.test/")'),
    (webarena, "go_back", "back()"),
    (webarena, "go_forward", "forward()"),
    (webarena, "stop [42]", 'done(answer="42")'),
    (webarena, "stop []", "done()"),
    (webarena, "stop [N/A]", 'fail(reason="N/A")'),
    (ui_tars, "click(point='<point>200 300</point>')", "click_at(200.0, 300.0)"),
    (
        ui_tars,
        "Thought: x (y)\nAction: click(start_box='(200,300)')",
        "click_at(200.0, 300.0)",
    ),
    (
        ui_tars,
        "click(start_box='<|box_start|>(10,20,30,40)<|box_end|>')",
        "click_at(20.0, 30.0)",
    ),
    (ui_tars, "left_double(point='<point>1 2</point>')", "click_at(1.0, 2.0, n=2)"),
    (ui_tars, "right_single(point='<point>1 2</point>')", 'click_at(1.0, 2.0, button="right")'),
    (
        ui_tars,
        "drag(start_point='<point>1 2</point>', end_point='<point>3 4</point>')",
        "drag_at(1.0, 2.0, 3.0, 4.0)",
    ),
    (ui_tars, "hotkey(key='ctrl c')", 'press("Control+c")'),
    (ui_tars, r"type(content='it\'s\n')", 'type("it\'s")\npress("Enter")'),
    (ui_tars, "type(content='x')", 'type("x")'),
    (ui_tars, r"type(content='C:\\new (1)')", 'type("C:\\\\new (1)")'),
    (
        ui_tars,
        "scroll(point='<point>5 6</point>', direction='down')",
        "scroll_at(5.0, 6.0, 500.0)",
    ),
    (
        ui_tars,
        "scroll(point='<point>5 6</point>', direction='left')",
        "scroll_at(5.0, 6.0, 0.0, dx=-500.0)",
    ),
    (ui_tars, "wait()", "wait(ms=5000)"),
    (ui_tars, "finished(content='42')", 'done(answer="42")'),
    (ui_tars, "finished()", "done()"),
    (ui_tars, "call_user()", 'fail(reason="call_user")'),
    (playwright_mcp, tool("browser_click", element="Go", ref="e12"), "click(12)"),
    (playwright_mcp, tool("browser_click", ref="e12", doubleClick=True), "click(12, n=2)"),
    (
        playwright_mcp,
        tool("browser_type", ref="e5", text="mug", submit=True),
        'fill(5, "mug", submit=True)',
    ),
    (
        playwright_mcp,
        tool("browser_select_option", ref="e5", values=["a", "b"]),
        'select(5, ["a", "b"])',
    ),
    (
        playwright_mcp,
        tool(
            "browser_fill_form",
            fields=[
                {"ref": "e1", "type": "textbox", "value": "x"},
                {"ref": "e2", "type": "checkbox", "value": "true"},
                {"ref": "e3", "type": "combobox", "value": "red"},
            ],
        ),
        'fill(1, "x")\ncheck(2)\nselect(3, ["red"])',
    ),
    (playwright_mcp, tool("browser_drag", startRef="e1", endRef="e2"), "drag(1, 2)"),
    (playwright_mcp, tool("browser_hover", ref="e1"), "hover(1)"),
    (playwright_mcp, tool("browser_press_key", key="ArrowLeft"), 'press("ArrowLeft")'),
    (playwright_mcp, tool("browser_navigate", url="http://a.test/"), 'goto("http://a.test/")'),
    (playwright_mcp, tool("browser_navigate_back"), "back()"),
    (playwright_mcp, tool("browser_tabs", action="select", index=1), "tab(1)"),
    (playwright_mcp, tool("browser_tabs", action="new"), "new_tab()"),
    (playwright_mcp, tool("browser_tabs", action="close", index=1), "close_tab(i=1)"),
    (playwright_mcp, tool("browser_wait_for", time=2), "wait(ms=2000)"),
    (playwright_mcp, tool("browser_handle_dialog", accept=False), "dialog(accept=False)"),
    (
        playwright_mcp,
        tool("browser_handle_dialog", accept=True, promptText="Ada"),
        'dialog(text="Ada")',
    ),
    (playwright_mcp, tool("browser_mouse_click_xy", x=5, y=6), "click_at(5.0, 6.0)"),
    (playwright_mcp, tool("browser_mouse_move_xy", x=5, y=6), "move(5.0, 6.0)"),
    (
        playwright_mcp,
        tool("browser_mouse_drag_xy", startX=1, startY=2, endX=3, endY=4),
        "drag_at(1.0, 2.0, 3.0, 4.0)",
    ),
    (computer_13, step("CLICK", x=5, y=6), "click_at(5.0, 6.0)"),
    (computer_13, step("CLICK"), "mouse_down()\nmouse_up()"),
    (computer_13, '{"action_type": "CLICK", "x": 5, "y": 6}', "click_at(5.0, 6.0)"),
    (computer_13, '{"action_type": "TYPING", "text": "hi"}', 'type("hi")'),
    (
        computer_13,
        step("CLICK", x=5, y=6, button="right", num_clicks=2),
        'click_at(5.0, 6.0, button="right", n=2)',
    ),
    (computer_13, step("DOUBLE_CLICK", x=5, y=6), "click_at(5.0, 6.0, n=2)"),
    (computer_13, step("RIGHT_CLICK", x=5, y=6), 'click_at(5.0, 6.0, button="right")'),
    (computer_13, step("MOVE_TO", x=5, y=6), "move(5.0, 6.0)"),
    (computer_13, step("MOUSE_DOWN"), "mouse_down()"),
    (computer_13, step("DRAG_TO", x=5, y=6), "mouse_down()\nmove(5.0, 6.0)\nmouse_up()"),
    (computer_13, step("SCROLL", dx=0, dy=-3), 'scroll("300")'),
    (computer_13, step("SCROLL", dx=0, dy=2), 'scroll("-200")'),
    (computer_13, step("TYPING", text="hi"), 'type("hi")'),
    (computer_13, step("PRESS", key="enter"), 'press("Enter")'),
    (computer_13, step("HOTKEY", keys=["ctrl", "shift", "T"]), 'press("Control+Shift+t")'),
    (computer_13, "WAIT", "wait()"),
    (computer_13, "```DONE```", "done()"),
    (computer_13, '"FAIL"', "fail()"),
    (gui_cursor, "<think>Left.</think><answer>(60, 230)</answer>", "move(60.0, 230.0)"),
    (gui_cursor, "<answer> (60.5, 230)", "move(60.5, 230.0)"),
    (gui_cursor, "Thought: near. Action: GOTO(3, 4)", "move(3.0, 4.0)"),
    (gui_cursor, "MOVE(-3, 4)", "move_by(-3.0, 4.0)"),
    (gui_cursor, "<answer>STOP</answer>", "done()"),
    (gui_cursor, "Action: STOP", "done()"),
    (coordinates, "[100, 200, 180.5, 260]", "box(100.0, 200.0, 180.5, 260.0)"),
    (coordinates, "Not (1, 2) but [3, 4].", "click_at(3.0, 4.0)"),
    (coordinates, "<think>(1, 2)</think><answer>(5, 6)</answer>", "click_at(5.0, 6.0)"),
]


@pytest.mark.parametrize(("reader", "said", "ours"), SAID)
def test_what_others_say_is_read_as_ours(reader, said, ours):
    action = reader(said)
    assert isinstance(action, Action)
    assert action == ours
    assert grammar("all", max_calls=8).parse(action).calls == action.calls


def read(name, said):
    """The kind of mistake; none if it was read."""
    try:
        assert isinstance(SPELLINGS[name](said), Action)
    except InvalidAction as error:
        return error.kind
    return ""


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize(
    "said",
    ["", "hello", "{", '{"name": 3}', "{}", "[]", "click [", "type [1]", "click(point='a')",
     '{"name": "browser_click", "arguments": "["}', '{"action_type": "HOTKEY"}',
     '{"name": "browser_click", "arguments": {"ref": "ref"}}', "stop", "drag(start_point='1 2')",
     '{"name": "browser_mouse_click_xy", "arguments": {"x": "left"}}', "9" * 5000,
     '{"name": "browser_wait_for", "arguments": {"time": 1e999}}',
     '{"action_type": "SCROLL", "dx": NaN}', '{"action_type": "CLICK", "y": 5}',
     '{"name": "browser_wait_for", "arguments": {"time": 1' + "0" * 400 + "}}"],
)  # fmt: skip
def test_what_nobody_says_is_refused_and_never_raises_else(name, said):
    assert read(name, said) in ("", "parse", "arguments", "unknown_verb")


@pytest.mark.parametrize(
    "said", [step("RIGHT_CLICK"), step("DOUBLE_CLICK"), step("CLICK", button="right"),
             step("CLICK", num_clicks=2), step("MOUSE_DOWN", button="right"), step("TYPING")],
)  # fmt: skip
def test_nothing_that_was_said_is_left_out(said):
    assert read("computer_13", said) == "arguments"


MCP = ["click", "type", "fill_form", "select_option", "drag", "press_key", "navigate", "tabs",
       "wait_for", "handle_dialog", "mouse_click_xy", "mouse_drag_xy"]  # fmt: skip
OSWORLD = ["CLICK", "MOVE_TO", "MOUSE_UP", "DRAG_TO", "SCROLL", "TYPING", "PRESS", "HOTKEY"]
GIVEN = ["ref", "modifiers", "doubleClick", "fields", "values", "key", "keys", "action", "index",
         "time", "accept", "promptText", "x", "y", "dx", "dy", "text", "button"]  # fmt: skip
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
anything = plain | st.lists(plain, max_size=2) | st.lists(st.dictionaries(st.just("ref"), plain))


@given(st.sampled_from(MCP + OSWORLD), st.dictionaries(st.sampled_from(GIVEN), anything))
def test_a_tool_call_with_any_arguments_is_read_or_refused(name, given):
    said = tool(f"browser_{name}", **given), json.dumps({"action_type": name, "parameters": given})
    assert read("playwright-mcp", said[0]) in ("", "parse", "arguments")
    assert read("computer_13", said[1]) in ("", "parse", "arguments")


def spoken(name, **options):
    made = SpokenGrammar(*SUBSETS["all"], **options)
    made.spelling = name
    return made


@pytest.mark.parametrize(
    ("name", "thought", "said", "ours"),
    [
        ("webarena", "I could ```click [3]```", "click [12]", "click(12)"),
        ("ui-tars", "Action: wait()", "finished()", "done()"),
        (
            "playwright-mcp",
            tool("browser_hover", ref="e1"),
            tool("browser_navigate_back"),
            "back()",
        ),
        ("computer_13", step("TYPING", text="hm"), step("PRESS", key="esc"), 'press("Escape")'),
        ("gui-cursor", "<answer>STOP</answer>", "<answer>(3, 4)</answer>", "move(3.0, 4.0)"),
        ("coordinates", "<answer>(1, 2)</answer>", "<answer>(3, 4)</answer>", "click_at(3.0, 4.0)"),
    ],
)
def test_what_was_thought_is_no_action_in_any_spelling(name, thought, said, ours):
    grammar = spoken(name)
    assert grammar.parse(f"<think>{thought}</think>\n{said}") == ours
    assert grammar.parse(Action(ours)) == ours
    for nothing in ("", f"<think>{said}"):
        with pytest.raises(InvalidAction) as caught:
            grammar.parse(nothing)
        assert caught.value.kind == "empty"


@pytest.mark.parametrize("name", SPELLINGS)
def test_models_are_asked_for_what_will_be_read(name):
    grammar = spoken(name)
    example = grammar.instructions().partition("for example:\n")[2]
    assert grammar.parse(example).calls
    assert "click(12)" not in grammar.instructions()
    with pytest.raises(InvalidAction) as caught:
        grammar.parse(" ")
    assert caught.value.message.endswith(f"write for example {example}")


def test_a_reply_in_another_spelling_may_be_as_long_as_in_ours_and_make_as_many_calls():
    fields = [{"ref": f"e{i}", "type": "textbox", "value": "x"} for i in (1, 2, 3)]
    said = tool("browser_fill_form", fields=fields)
    assert len(spoken("playwright-mcp", max_calls=3).parse(said).calls) == 3
    for options, kind in (({"max_calls": 2}, "parse"), ({"max_chars": 20}, "too_long")):
        with pytest.raises(InvalidAction) as caught:
            spoken("playwright-mcp", **options).parse(said)
        assert caught.value.kind == kind


@pytest.mark.timeout(60)  # what is quadratic takes minutes
@pytest.mark.parametrize(
    "unit", ["a", "a(", "_=", "a='", "\\", "[a", "{", '{"a":', "<answer>", "((", "```"]
)
@pytest.mark.parametrize("name", SPELLINGS)
def test_a_long_reply_of_anything_is_refused_or_read_at_once(name, unit):
    for before in ("", "Action: click(point='"):
        read(name, before + (unit * 100_000)[:100_000] + ")")


@given(st.sampled_from(sorted(SPELLINGS)), st.text(max_size=80))
def test_any_text_is_read_or_refused(name, said):
    assert read(name, said) in ("", "parse", "arguments", "unknown_verb")
