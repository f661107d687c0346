"""What `agentgym.actions` promises: one registry of verbs, many dialects, one reading."""

from __future__ import annotations

import copy
import json
import pickle
import random
import subprocess
import sys
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgym.actions import DIALECTS, Action, Argument, Call, Grammar, Verb, tool_call
from agentgym.errors import ConfigError, InvalidAction

VERB_DIALECTS = [name for name in DIALECTS if name != "text"]

CLICK = Verb(
    "click",
    "Click an element",
    Argument("id", int, "its number", minimum=0),
    Argument("button", choices=("left", "right"), default="left"),
)
FILL = Verb(
    "fill",
    "Fill a field",
    Argument("id", int),
    Argument("text", str, max_length=1000),
    Argument("submit", bool, default=False),
)
BACK = Verb("back", "Go back")
SEARCH = Verb("search", "Search", Argument("query"), Argument("limit", int, default=None))
BOX = Verb("box", "Mark", Argument("corners", list, items=int, min_length=4, max_length=4))
WAIT = Verb("wait", "Wait", Argument("seconds", float, default=0.5, minimum=0, maximum=60))
WEB = Grammar(CLICK, FILL, BACK, SEARCH, BOX, WAIT)
TEXT = Grammar.text("A command")


def refusal(grammar: Grammar, reply: str) -> InvalidAction:
    with pytest.raises(InvalidAction) as caught:
        grammar.parse(reply)
    return caught.value


def outcome(grammar: Grammar, reply: str) -> Action | InvalidAction:
    try:
        return grammar.parse(reply)
    except InvalidAction as error:
        return error


def speaking(dialect: str, grammar: Grammar = WEB) -> list[Grammar]:
    """The grammars that can be said in `dialect`: plain text, and verbs unless it is `text`."""
    verbs = [] if dialect == "text" else [grammar.with_dialect(dialect)]
    return [TEXT.with_dialect(dialect), *verbs]


# --- Action ---------------------------------------------------------------------------------------


def test_an_action_is_made_from_a_string_alone() -> None:
    action = Action("go east")
    assert action == "go east"
    assert isinstance(action, str)
    assert (action.calls, action.verb, action.arguments, action.ignored) == ((), "", {}, "")


def test_an_action_carries_its_calls_with_defaults_filled_in() -> None:
    action = WEB.parse("click(12) opens it")
    assert action == "click(12)"
    assert action.calls == (Call("click", {"id": 12, "button": "left"}),)
    assert action.verb == "click"
    assert action.arguments == {"id": 12, "button": "left"}
    assert action.ignored == "opens it"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_action_keeps_its_attributes_when_pickled(protocol: int) -> None:
    action = WEB.parse("click(12) opens it")
    again = pickle.loads(pickle.dumps(action, protocol))
    assert type(again) is Action
    assert (again, again.calls, again.ignored) == (action, action.calls, action.ignored)


def test_an_action_keeps_its_attributes_when_copied() -> None:
    action = WEB.parse("click(12) opens it")
    for again in (copy.copy(action), copy.deepcopy(action)):
        assert (again, again.calls, again.ignored) == (action, action.calls, action.ignored)


def test_an_action_is_json_text() -> None:
    action = WEB.parse('search("größe")')
    assert orjson.loads(orjson.dumps({"action": action})) == {"action": 'search("größe")'}
    assert json.loads(json.dumps(action)) == action


# --- canonical form -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "canonical"),
    [
        ("click(id=12)", "click(12)"),
        ("click( 12 , 'left' )", "click(12)"),
        ("click(12, 'right')", 'click(12, button="right")'),
        ("fill(3, 'it\\'s', True)", 'fill(3, "it\'s", submit=True)'),
        ("fill(3, 'two\\nlines')", 'fill(3, "two\\nlines")'),
        ("fill(3, 'two\nlines')", 'fill(3, "two\\nlines")'),
        ('fill(3, """say "hi" """)', 'fill(3, "say \\"hi\\" ")'),
        ("search('a', None)", 'search("a")'),
        ("search('a', limit=null)", 'search("a")'),
        ("box((1, -2, 3, 4,))", "box([1, -2, 3, 4])"),
        ("wait(.5)", "wait()"),
        ("wait(2)", "wait(seconds=2.0)"),
        ("back()", "back()"),
    ],
)
def test_there_is_one_canonical_text_for_a_call(said: str, canonical: str) -> None:
    assert WEB.parse(said) == canonical
    assert WEB.parse(Action(canonical)) == canonical


@pytest.mark.parametrize("dialect", VERB_DIALECTS)
def test_canonical_text_is_read_in_every_dialect(dialect: str) -> None:
    grammar = WEB.with_dialect(dialect)
    assert grammar.parse(Action("click(12)")).arguments == {"id": 12, "button": "left"}
    assert refusal(grammar, Action("clack(12)")).kind == "unknown_verb"
    assert refusal(grammar, Action("click()")).kind == "arguments"
    assert refusal(grammar, Action("click(12) and more")).kind == "parse"
    assert refusal(grammar, Action("click(12)\nback()")).kind == "parse"
    assert refusal(grammar, Action("")).kind == "empty"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_canonical_plain_text_is_read_in_every_dialect(dialect: str) -> None:
    grammar = TEXT.with_dialect(dialect)
    assert grammar.parse(Action("go east")) == "go east"
    assert grammar.parse(Action('say "open sesame" to door')) == 'say "open sesame" to door'
    assert refusal(grammar, Action("go\neast")).kind == "parse"
    assert refusal(grammar, Action("<think>go east")).kind == "parse"
    assert refusal(grammar, Action(" ")).kind == "empty"


def test_strings_are_on_one_line_and_can_be_encoded() -> None:
    action = WEB.parse('fill(1, "\\u2028\\ud83d\\ude00\\ud800\x85\\t")')
    assert action == 'fill(1, "\\u2028😀\ufffd\\u0085\\t")'
    assert action.arguments["text"] == "\u2028😀\ufffd\x85\t"
    assert len(action.splitlines()) == 1


# --- dialects -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "ignored"),
    [
        ("click(12)", ""),
        ("  click(12)\n", ""),
        ("`click(12)`", ""),
        ("**click(12)**", ""),
        ("```\nclick(12)\n```", ""),
        ("```python\nclick(12)\n```\nDone.", "Done."),
        ("Action: click(12)", ""),
        ("Thought: the button is 12.\nAction: click(12)", ""),
        ("> click(12)", ""),
        ("1. click(12)", ""),
        ("I will press it.\n\nclick(12)\n\nThen we see.", "Then we see."),
        ("I will use `click(12)` now", "now"),
        ("I considered click(3), but it is disabled.\nclick(12)", ""),
        ("print('hello')\nclick(12)", ""),
        ("First click(the button), then:\nclick(12)", ""),
        ("click(12)\nclick(13)", "click(13)"),
        ("click(12); back()", "back()"),
        ("click(id: 12)", ""),
    ],
)
def test_a_call_is_found_wherever_it_stands(reply: str, ignored: str) -> None:
    action = WEB.parse(reply)
    assert (action, action.ignored) == ("click(12)", ignored)


def test_a_call_inside_the_text_of_another_is_not_one() -> None:
    assert WEB.parse('fill(3, "\nclick(12)")').verb == "fill"
    assert WEB.parse("page.click(1) or autoclick(2)\nback()").verb == "back"


@pytest.mark.parametrize(
    ("reply", "canonical", "ignored"),
    [
        ("<action>click(12)</action>", "click(12)", ""),
        ("I go.\n<action>\nclick(12)\n</action> and wait", "click(12)", "and wait"),
        ("<search>who wrote it?</search>", 'search("who wrote it?")', ""),
        ('<search> "exact" words\n</search>', 'search("\\"exact\\" words")', ""),
        ("<search>a</search> <search>b</search>", 'search("a")', "<search>b</search>"),
        ("the <search> tag: <search>a</search>", 'search("a")', ""),
        ("<action>unfinished <search>a</search>", 'search("a")', ""),
        ("<back/>", "back()", ""),
        ("<back></back>", "back()", ""),
        ("<action>search('a', limit=3)</action>", 'search("a", limit=3)', ""),
        ("<click>12</click>", "click(12)", ""),
    ],
)
def test_tags_hold_a_call_or_the_one_argument_of_the_verb_they_name(
    reply: str, canonical: str, ignored: str
) -> None:
    action = WEB.with_dialect("tags").parse(reply)
    assert (action, action.ignored) == (canonical, ignored)


def test_a_tag_counts_once_it_is_closed() -> None:
    error = refusal(WEB.with_dialect("tags"), "<search>who wro")
    assert error.kind == "parse"
    assert "<search> is not closed" in error.message
    assert refusal(WEB.with_dialect("tags"), "click(12)").kind == "parse"
    assert refusal(WEB.with_dialect("tags"), "<serch>who</serch>").kind == "unknown_verb"


@pytest.mark.parametrize(
    ("reply", "ignored"),
    [
        ('{"name": "click", "arguments": {"id": 12}}', ""),
        ('```json\n{"name": "click", "arguments": {"id": 12}}\n```', ""),
        ('I press it: {"name": "click", "arguments": {"id": 12}} now', "now"),
        ('{"action": "click", "args": {"id": 12}}', ""),
        ('{"tool": "click", "parameters": {"id": "12"}}', ""),
        ('{"name": "click", "arguments": "{\\"id\\": 12}"}', ""),
        ('{"thought": "the button", "action": "click", "id": 12}', ""),
        ('{"name": "click", "arguments": [12]}', ""),
        ("{'name': 'click', 'arguments': {'id': 12, },}", ""),
        ('[{"function": {"name": "click", "arguments": "{\\"id\\": 12}"}}]', ""),
        (
            '{ {"x": 1} {"name": "click", "arguments": {"id": 12}}{"name": "back"}',
            '{"name": "back"}',
        ),
    ],
)
def test_json_is_understood_as_other_stacks_spell_it(reply: str, ignored: str) -> None:
    action = WEB.with_dialect("json").parse(reply)
    assert (action, action.ignored) == ("click(12)", ignored)


def test_json_escapes_are_json_and_regular_expressions_survive_in_calls() -> None:
    said = WEB.with_dialect("json").parse('{"name": "search", "arguments": {"query": "a\\/b"}}')
    assert said.arguments["query"] == "a/b"
    assert WEB.parse(r"""search("s/\//\1/ \d+ \w")""").arguments["query"] == r"s/\//\1/ \d+ \w"
    assert WEB.parse(r"""search(r"C:\new")""").arguments["query"] == r"C:\new"


@pytest.mark.parametrize(
    ("reply", "ignored"),
    [
        ('<tool_call>{"name": "click", "arguments": {"id": 12}}</tool_call>', ""),
        ('<tool_call>\n{"name": "click", "arguments": "{\\"id\\": 12}"}\n</tool_call>\n', ""),
        ('Fine.\n<tool_call>\n{"name": "click", "arguments": {"id": 12}}', ""),
        ('<tool_call>{"name": "click", "arguments": {"id": 12}}</tool_call> ok', "ok"),
    ],
)
def test_tool_calls_are_read_as_hermes_writes_them(reply: str, ignored: str) -> None:
    action = WEB.with_dialect("tools").parse(reply)
    assert (action, action.ignored) == ("click(12)", ignored)


def test_tool_calls_of_a_server_survive_whatever_they_hold() -> None:
    grammar = WEB.with_dialect("tools")
    text = '</tool_call><think></think> \\ " \u2028 \ud800'
    for arguments in ({"query": text}, json.dumps({"query": text})):
        action = grammar.parse(tool_call("search", arguments))
        assert action.arguments["query"] == text.replace("\ud800", "\ufffd")
        assert action.ignored == ""
    assert refusal(grammar, tool_call("search", '{"query": "cut o')).kind == "arguments"
    assert grammar.parse(tool_call("back", "")) == "back()"


def test_tool_calls_without_their_tag_are_refused() -> None:
    error = refusal(WEB.with_dialect("tools"), '{"name": "click", "arguments": {"id": 12}}')
    assert error.kind == "parse"
    assert "<tool_call>" in error.message


@pytest.mark.parametrize(
    ("reply", "ignored"),
    [
        ("go east", ""),
        (" go east \n", ""),
        ("> go east", ""),
        (">go east", ""),
        ("`go east`", ""),
        ('"go east"', ""),
        ("“go east”", ""),
        ("**go east**", ""),
        ("Action: go east", ""),
        ("**Action:** go east", ""),
        ("**Action**: `go east`", ""),
        ("Next action: > 'go east'", ""),
        ("Action 2: go east", ""),
        ("```\ngo east\n```", ""),
        ("```text\n\n> go east\nlook\n```\nDone.", "look\n```\nDone."),
        ("I need the key.\n```\ngo east\n```", ""),
        ("```\ngo east", ""),
        ("```go east```", ""),
        ("Thought: the key is east.\nAction: go east\nObservation: a key", "Observation: a key"),
        ("I need the key.\nAction:\n\ngo east", ""),
        ("go east\nlook", "look"),
        ("<action>go east</action>", ""),
        ("go\x00east", ""),
    ],
)
def test_the_command_line_is_found_and_unwrapped(reply: str, ignored: str) -> None:
    action = TEXT.parse(reply)
    assert (action, action.ignored) == ("go east", ignored)
    assert action.calls == ()


@pytest.mark.parametrize(
    "command",
    ['say "hello"', "take key, then lamp", "put 'em up", "x", "2", "go to cabinet 1", "say a: b"],
)
def test_an_ordinary_command_is_left_as_it_is(command: str) -> None:
    assert TEXT.parse(command) == command


@pytest.mark.parametrize(
    ("dialect", "reply"),
    [
        ("tags", "I go. <action>go east</action>"),
        ("json", '{"name": "act", "arguments": {"command": "go east"}}'),
        ("json", '{"action": "go east"}'),
        ("tools", '<tool_call>{"name": "act", "arguments": {"command": "go east"}}</tool_call>'),
        ("call", 'act("go east")'),
    ],
)
def test_plain_text_is_said_in_every_dialect(dialect: str, reply: str) -> None:
    assert TEXT.with_dialect(dialect).parse(reply) == "go east"


# --- thoughts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        "<think>click(1)?</think>click(12)",
        "<think>\nclick(1)\n</think>\n\nclick(12)",
        "<thinking>click(1)</thinking> click(12)",
        "<reasoning>click(1)</reasoning> click(12)",
        "<THINK >click(1)</Think> click(12)",
        "click(1)\n</think>\nclick(12)",
        "<think>a<think>b</think>c click(1)</think> click(12)",
        "<think>the tag </reasoning> click(1)</think> click(12)",
        "<think>a</think>click(12)<think>b</think>",
        "click(12) <think>and then",
    ],
)
def test_thoughts_are_not_actions(reply: str) -> None:
    action = WEB.parse(reply)
    assert (action, action.ignored) == ("click(12)", "")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_thought_without_end_says_nothing(dialect: str) -> None:
    for grammar in speaking(dialect):
        error = refusal(grammar, "<think>\nclick(12) <action>back()</action>")
        assert error.kind == "empty"
        assert "thoughts" in error.message


def test_thoughts_are_taken_out_before_length_is_counted() -> None:
    grammar = Grammar(CLICK, max_chars=20)
    assert grammar.parse(f"<think>{'hm ' * 1000}</think>click(12)") == "click(12)"
    assert refusal(grammar, "click(12)" + " " * 20).kind == "too_long"


# --- several calls --------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", VERB_DIALECTS)
def test_as_many_calls_count_as_the_world_allows(dialect: str) -> None:
    grammar = Grammar(CLICK, BACK, dialect=dialect, max_calls=2)
    reply = "\n".join(grammar.render(call) for call in ("click(1)", "click(2)", "back()"))
    action = grammar.parse(reply)
    assert action == "click(1)\nclick(2)"
    assert [call.arguments["id"] for call in action.calls] == [1, 2]
    assert action.ignored == grammar.render("back()")
    assert grammar.parse(action) == action
    assert grammar.parse(grammar.render(action)) == action


def test_one_wrong_call_among_several_is_refused() -> None:
    grammar = Grammar(CLICK, BACK, max_calls=3)
    assert refusal(grammar, "click(1)\nclick('x')").kind == "arguments"
    assert grammar.parse("click(1) click(2); back()") == "click(1)\nclick(2)\nback()"


# --- what fits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "given", "read"),
    [
        (Argument("x", int), '"12"', 12),
        (Argument("x", int), '" -3 "', -3),
        (Argument("x", int), "12.0", 12),
        (Argument("x", str), "12", "12"),
        (Argument("x", str), "1.5", "1.5"),
        (Argument("x", float), "3", 3.0),
        (Argument("x", float), '"2.5"', 2.5),
        (Argument("x", bool), '"true"', True),
        (Argument("x", bool), "false", False),
        (Argument("x", list), '"a"', ["a"]),
        (Argument("x", list, items=int), '["1", 2]', [1, 2]),
        (Argument("x", choices=("Left", "Right")), '"left"', "Left"),
        (Argument("x", int, choices=(1, 2)), '"2"', 2),
    ],
)
def test_what_is_unambiguous_is_made_to_fit(argument: Argument, given: str, read: Any) -> None:
    value = Grammar(Verb("do", "", argument)).parse(f"do({given})").arguments["x"]
    assert value == read
    assert type(value) is type(read)


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        (Argument("x", int), "True"),
        (Argument("x", int), "1.5"),
        (Argument("x", int), '"1.0"'),
        (Argument("x", int), "9223372036854775808"),
        (Argument("x", int), "null"),
        (Argument("x", int), "[1]"),
        (Argument("x", float), "1e999"),
        (Argument("x", float), '"nan"'),
        (Argument("x", float), '"inf"'),
        (Argument("x", float), "False"),
        (Argument("x", str), "True"),
        (Argument("x", str), "[]"),
        (Argument("x", str), "1e999"),
        (Argument("x", bool), "1"),
        (Argument("x", bool), '"yes"'),
        (Argument("x", list, items=int), '["a"]'),
        (Argument("x", list, items=int), "[[1]]"),
        (Argument("x", list, min_length=2), '["a"]'),
        (Argument("x", list, max_length=1), '["a", "b"]'),
        (Argument("x", list, items=int, maximum=9), "[10]"),
        (Argument("x", int, minimum=0), "-1"),
        (Argument("x", float, maximum=1), "1.01"),
        (Argument("x", str, max_length=3), '"long"'),
        (Argument("x", str, min_length=1), '""'),
        (Argument("x", choices=("left", "right")), '"up"'),
        (Argument("x", int), "nan"),
        (Argument("x", int), "__import__('os')"),
        (Argument("x", int), "1 + 1"),
        (Argument("x", int), "*[1]"),
        (Argument("x", str), "f'{x}'"),
    ],
)
def test_what_does_not_fit_is_refused(argument: Argument, given: str) -> None:
    error = refusal(Grammar(Verb("do", "", argument)), f"do({given})")
    assert error.kind == "arguments"
    assert "expected do(x: " in error.message


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        ("", "empty", "nothing was said; write for example click(1)"),
        (" \n\t", "empty", "nothing was said; write for example click(1)"),
        ("hello", "parse", "no action found in 'hello'; write for example click(1)"),
        ("clik(1)", "unknown_verb", "there is no action 'clik'; did you mean 'click'?"),
        ("fly(1)", "unknown_verb", "there is no action 'fly'; use one of click, back"),
        ("click()", "arguments", "click needs id; expected click(id: int, "),
        ("click('a')", "arguments", "click: id must be int, not 'a'; expected click(id: int, "),
        ("click(-1)", "arguments", "click: id must be at least 0, not -1; expected click(id: "),
        ("click(1, 'up')", "arguments", 'click: button must be "left" | "right", not \'up\'; '),
        ("click(1, id=2)", "arguments", "click got id twice; "),
        ("click(id=1, id=2)", "arguments", "cannot read click(...): id is given twice; "),
        ("click(1, 2, 3)", "arguments", "click takes 2 arguments at most, not 3; "),
        ("click(1, colour='red')", "arguments", "click has no argument 'colour'; "),
        ("click(button)", "arguments", "cannot read click(...): 'button' needs quotes if it is "),
        ("click('12", "arguments", 'cannot read click(...): the quotes of "\'12" are not closed; '),
        ("click(12", "arguments", "cannot read click(...): it is not complete; "),
    ],
)
def test_a_refusal_says_what_was_wrong_and_what_is_expected(
    reply: str, kind: str, message: str
) -> None:
    error = refusal(Grammar(CLICK, BACK), reply)
    assert error.kind == kind
    assert error.message.startswith(message)
    assert len(error.message) <= 300


def test_a_refusal_quotes_little_of_a_long_reply() -> None:
    grammar = Grammar(CLICK, Verb("pick", "", Argument("x", choices=[f"c{i}" for i in range(99)])))
    for reply in (
        "x" * 5000,
        f"click('{'y' * 5000}')",
        f"{'z' * 5000}(1)",
        "\0" * 5000,
        "pick('d')",
    ):
        assert len(refusal(grammar, reply).message) <= 300


# --- what models are told -------------------------------------------------------------------------


def test_instructions_name_every_verb_and_give_an_example_that_parses() -> None:
    for dialect in VERB_DIALECTS:
        grammar = WEB.with_dialect(dialect)
        told = grammar.instructions()
        assert all(verb in told for verb in grammar.verbs)
        assert "its number" in told
        assert grammar.parse(told.split("for example:\n")[1]).verb == "click"
    assert TEXT.instructions().startswith("A command\n")
    assert "<search>query</search>" in WEB.with_dialect("tags").instructions()


def test_instructions_read_like_this() -> None:
    assert Grammar(CLICK, BACK, max_calls=2).instructions() == (
        "Actions:\n"
        '- click(id: int, button: "left" | "right" = "left"): Click an element\n'
        "    id: its number\n"
        "- back(): Go back\n"
        "Answer with up to 2 actions, each on a line of its own, with text in quotes, "
        "for example:\n"
        "click(1)"
    )


def test_a_tool_schema_says_all_there_is_to_an_argument() -> None:
    (tool,) = Grammar(CLICK).tools()
    assert tool == {
        "type": "function",
        "function": {
            "name": "click",
            "description": "Click an element",
            "parameters": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer", "minimum": 0, "description": "its number"},
                    "button": {"type": "string", "enum": ["left", "right"], "default": "left"},
                },
                "required": ["id"],
                "additionalProperties": False,
            },
        },
    }
    (box,) = Grammar(BOX).tools()
    assert box["function"]["parameters"]["properties"]["corners"] == {
        "type": "array",
        "items": {"type": "integer"},
        "minItems": 4,
        "maxItems": 4,
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda: Grammar(),
        lambda: Grammar(CLICK, CLICK),
        lambda: Grammar(CLICK, dialect="clal"),
        lambda: Grammar(CLICK, dialect="text"),
        lambda: Grammar(CLICK, max_calls=0),
        lambda: Verb("go east", ""),
        lambda: Verb("go", "", Argument("x"), Argument("x")),
        lambda: Verb("go", "", Argument("x", default=""), Argument("y")),
        lambda: Argument("x y"),
        lambda: Argument("x", dict),
        lambda: Argument("x", int, default="a"),
        lambda: Argument("x", int, minimum=3, maximum=2),
        lambda: Argument("x", min_length=3, max_length=2),
        lambda: Argument("x", choices=("a",), default="b"),
    ],
)
def test_a_grammar_that_makes_no_sense_is_refused_at_once(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


# --- properties -----------------------------------------------------------------------------------

FRAGMENTS = [
    *("<think>", "</think>", "<action>", "</action>", "<tool_call>", "</tool_call>", "<v>", "</v>"),
    *(
        "act(",
        "v(",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        '"""',
        "\\",
        "\\u",
        "\n",
        "\r",
        "```",
        "`",
    ),
    *(
        ">",
        "Action:",
        "**",
        ",",
        "=",
        ":",
        "1",
        "-",
        ".5",
        "1e9",
        "True",
        "null",
        " ",
        "\0",
        "\ud800",
    ),
    *('{"name": "v", "arguments": ', '"name"', "v", "x", "id", "\u2028", "é", "“", "”", "~~~", "<"),
]
hostile = st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join)
words = st.one_of(st.text(max_size=20), hostile).map(
    lambda text: text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
)
values: dict[type, st.SearchStrategy[Any]] = {
    str: words,
    int: st.integers(-(2**63) + 1, 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
}
relaxed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@st.composite
def arguments(draw: st.DrawFn, name: str, required: bool) -> tuple[Argument, Any]:
    kind = draw(st.sampled_from([*values, list]))
    items = draw(st.sampled_from(list(values)))
    value = st.lists(values[items], max_size=4) if kind is list else values[kind]
    choices: list[Any] = []
    if kind in (str, int) and draw(st.booleans()):
        choices = draw(st.lists(value, min_size=1, max_size=3, unique=True))
        value = st.sampled_from(choices)
    extra: dict[str, Any] = {} if required else {"default": draw(st.none() | value)}
    argument = Argument(name, kind, draw(words), choices=choices, items=items, **extra)
    return argument, draw(value)


@st.composite
def grammars(draw: st.DrawFn) -> tuple[Grammar, Action]:
    """A random grammar and a random canonical action of it."""
    names = st.sampled_from(["v", "act", "action", "think", "tool_call", "search", "x1", "go_to"])
    verbs, calls = [], []
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        count, optional = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        drawn = [
            draw(arguments(word, required=index < count))
            for index, word in enumerate(["id", "text", "name", "action"][: count + optional])
        ]
        verb = Verb(name, "", *(argument for argument, _ in drawn))
        verbs.append(verb)
        calls.append(verb.canonical(verb.bind([value for _, value in drawn], {})))
    grammar = Grammar(*verbs, max_calls=len(calls))
    return grammar, grammar.parse(Action("\n".join(calls)))


@relaxed
@given(grammars())
def test_what_is_rendered_parses_back_in_every_dialect(drawn: tuple[Grammar, Action]) -> None:
    grammar, action = drawn
    assert grammar.parse(Action(action)) == action
    for dialect in VERB_DIALECTS:
        spoken = grammar.with_dialect(dialect)
        again = spoken.parse(spoken.render(action))
        assert again == action
        assert again.calls == action.calls
        assert again.ignored == ""


@relaxed
@given(st.one_of(words, hostile))
def test_a_command_parses_back_in_every_dialect(text: str) -> None:
    action = outcome(TEXT, text)
    if isinstance(action, InvalidAction):
        return
    assert TEXT.parse(Action(action)) == action
    for dialect in DIALECTS:
        spoken = TEXT.with_dialect(dialect)
        again = spoken.parse(spoken.render(action))
        assert (again, again.ignored) == (action, "")


@relaxed
@given(st.one_of(st.text(), hostile), st.sampled_from(list(DIALECTS)), st.integers(1, 3))
def test_nothing_but_invalid_action_is_ever_raised(text: str, dialect: str, calls: int) -> None:
    verbs = (Verb("v", "", Argument("x", default="")), Verb("act", "", Argument("id", int)))
    for grammar in speaking(dialect, Grammar(*verbs, max_calls=calls)):
        for reply in (text, Action(text)):
            result = outcome(grammar, reply)
            if isinstance(result, InvalidAction):
                assert result.kind in ("empty", "parse", "unknown_verb", "arguments")
                assert len(result.message) <= 300
            else:
                assert grammar.parse(Action(result)) == result
                orjson.dumps([result, result.ignored, result.arguments])


@relaxed
@given(grammars(), st.integers(0, 2**32))
def test_every_sample_is_well_formed(drawn: tuple[Grammar, Action], seed: int) -> None:
    grammar, _ = drawn
    action = grammar.sample(np.random.default_rng(seed))
    assert grammar.parse(Action(action)) == action
    assert grammar.sample(np.random.default_rng(seed)) == action


def test_samples_keep_to_their_bounds() -> None:
    rng = np.random.default_rng(0)
    verbs = {WEB.sample(rng).verb for _ in range(200)}
    assert verbs == set(WEB.verbs)
    assert all(TEXT.sample(rng) for _ in range(50))
    narrow = Verb(
        "v",
        "",
        Argument("a", float, minimum=0.1, maximum=0.3),
        Argument("b", int, maximum=-5),
        Argument("c", str, min_length=12),
        Argument("d", list, items=bool, min_length=5),
    )
    assert all(Grammar(narrow).sample(rng) for _ in range(50))


@relaxed
@given(grammars())
def test_every_tool_schema_is_a_json_schema(drawn: tuple[Grammar, Action]) -> None:
    names = {"string", "integer", "number", "boolean", "array"}
    keys = {"type", "items", "enum", "description", "default", "minimum", "maximum"}
    for tool in json.loads(json.dumps(drawn[0].tools())):
        function = tool["function"]
        assert (tool["type"], set(tool)) == ("function", {"type", "function"})
        assert set(function) == {"name", "description", "parameters"}
        parameters = function["parameters"]
        assert parameters["type"] == "object"
        assert parameters["additionalProperties"] is False
        assert set(parameters["required"]) <= set(parameters["properties"])
        for schema in parameters["properties"].values():
            assert set(schema) <= keys
            assert schema["type"] in names
            assert (schema["type"] == "array") == ("items" in schema)


def test_a_grammar_crosses_a_process_boundary() -> None:
    for grammar in (WEB.with_dialect("json"), TEXT):
        again = pickle.loads(pickle.dumps(grammar))
        assert again.instructions() == grammar.instructions()
        assert again.tools() == grammar.tools()
    assert pickle.loads(pickle.dumps(WEB)).parse("click(12)") == "click(12)"


# --- hostile replies and speed --------------------------------------------------------------------

UNITS = [
    *(
        "<think>",
        "</think>",
        "<think></think>",
        "<think ",
        "<action>",
        "<action></action>",
        "<search>",
    ),
    *(
        "<tool_call>{",
        "<tool_call>",
        '<tool_call>{"a":',
        "[",
        "(",
        "{",
        '{"a":',
        '{"a":[',
        "{a:",
        '{"',
    ),
    *(
        "click(",
        "click([",
        'click("',
        'click("""',
        "click('click(\"",
        "click  (",
        "x(",
        "click(12) ",
    ),
    *(
        '"',
        "'",
        "\\",
        '\\"',
        "`",
        "```\n",
        "> ",
        ">\n",
        "\n",
        "\r",
        " ",
        "\0",
        "*",
        "Action:",
        "a",
        "1",
    ),
    *("\ud800", "\u2028", "é", "_", "=", "1e"),
]


@pytest.mark.timeout(60)  # what is quadratic takes hours
@pytest.mark.parametrize("unit", UNITS)
def test_a_megabyte_of_anything_is_refused_or_read_at_once(unit: str) -> None:
    megabyte = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]
    for dialect in DIALECTS:
        grammar = speaking(dialect)[-1]
        for reply in (megabyte, megabyte[: grammar.max_chars]):
            result = outcome(grammar, reply)
            assert isinstance(result, Action) or len(result.message) <= 300


@pytest.mark.timeout(60)
def test_long_replies_take_time_in_proportion() -> None:
    grammar = Grammar(CLICK, SEARCH, max_chars=10_000_000)
    text = "".join(random.Random(0).choices("abc \n\"'\\", k=1_000_000))
    assert grammar.parse(f"search({json.dumps(text)})").arguments["query"] == text


def test_importing_actions_loads_nothing_but_the_standard_library() -> None:
    code = (
        "import sys, types, pathlib, importlib\n"
        "package = types.ModuleType('agentgym'); package.__path__ = [sys.argv[1]]\n"
        "sys.modules['agentgym'] = package\n"
        "importlib.import_module('agentgym.actions')\n"
        "own = {name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "assert not own & {'numpy', 'gymnasium', 'orjson', 'aiohttp'}, own\n"
        "assert 'agentgym.types' not in sys.modules\n"
    )
    import agentgym.errors

    folder = agentgym.errors.__file__.rpartition("/")[0]
    assert subprocess.run([sys.executable, "-c", code, folder]).returncode == 0
