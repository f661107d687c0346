"""An episode as chat messages."""

from __future__ import annotations

import base64
import io

import gymnasium as gym
import numpy as np
from PIL import Image
from worlds import Count

from agentgym.actions import Argument, Grammar, Verb
from agentgym.prompt import Conversation, png, spoken, system_message
from agentgym.types import Completion, ToolCall


def talk(turns, **kwargs):
    conversation = Conversation("rules", **kwargs)
    for i in range(turns):
        conversation.observe(f"seen {i}")
        conversation.answer(Completion(f"said {i}"))
    conversation.observe(f"seen {turns}")
    return conversation


def test_the_system_message_is_the_instructions_and_the_action_grammar():
    text = system_message(Count())
    assert text.startswith(Count.instructions)
    assert Count.grammar.instructions() in text


def test_an_environment_without_instructions_has_no_system_message():
    class Silent(gym.Env):
        pass

    assert system_message(Silent()) == ""
    assert Conversation("").messages == []


def test_messages_only_grow():
    conversation = talk(2)
    before = list(conversation.messages)
    conversation.answer(Completion("said 2"))
    conversation.observe("seen 3")
    assert conversation.messages[: len(before)] == before
    assert [m["role"] for m in conversation.messages] == [
        "system",
        *["user", "assistant"] * 3,
        "user",
    ]


def test_history_keeps_the_first_observation_and_the_last_exchanges():
    contents = [m["content"] for m in talk(5, history=2).messages]
    assert contents == ["rules", "seen 0", "said 3", "seen 4", "said 4", "seen 5"]


def test_history_longer_than_the_episode_shows_everything():
    assert talk(2, history=9).messages == talk(2).messages


def test_history_of_zero_shows_the_first_and_the_present_observation():
    assert [m["content"] for m in talk(3, history=0).messages] == ["rules", "seen 0", "seen 3"]


def test_admissible_actions_are_listed_and_a_long_list_is_cut_and_says_so():
    conversation = Conversation()
    conversation.observe("a room", ["go east", "look"])
    assert conversation.messages[-1]["content"].endswith("Possible actions:\n- go east\n- look")
    conversation.observe("a maze", [str(i) for i in range(500)])
    assert conversation.messages[-1]["content"].endswith("… and 300 more")


def test_an_image_becomes_a_png_part_beside_the_text():
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    conversation = Conversation()
    conversation.observe({"text": "look", "image": image})
    text, picture = conversation.messages[-1]["content"]
    assert text == {"type": "text", "text": "look"}
    encoded = picture["image_url"]["url"].removeprefix("data:image/png;base64,")
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
    assert np.array_equal(decoded, image)
    assert base64.b64decode(encoded) == png(image)


def test_a_tool_call_is_spoken_as_its_tag_and_answered_as_a_tool():
    said = Completion("", tool_calls=(ToolCall("go", '{"where": "east"}', "id1"),))
    tools = Grammar(Verb("go", "Go", Argument("where")), dialect="tools")
    assert tools.parse(spoken(said)) == 'go("east")'
    conversation = Conversation()
    conversation.observe("a room")
    conversation.answer(said)
    conversation.observe("another room")
    assert conversation.messages[-2]["tool_calls"][0]["function"]["name"] == "go"
    assert conversation.messages[-1] == {
        "role": "tool",
        "tool_call_id": "id1",
        "content": "another room",
    }


def test_every_tool_call_of_a_turn_is_answered_in_order():
    calls = tuple(ToolCall("go", "{}", id) for id in ("id1", "id2"))
    conversation = Conversation()
    conversation.observe("a room")
    conversation.answer(Completion("", tool_calls=calls))
    conversation.observe("another room")
    assert [(m["role"], m["tool_call_id"], m["content"]) for m in conversation.messages[-2:]] == [
        ("tool", "id1", "another room"),
        ("tool", "id2", "Ignored."),
    ]


def test_history_never_shows_a_tools_answer_without_its_call():
    def roles(history):
        conversation = Conversation("rules", history=history)
        for i in range(3):
            conversation.observe(f"seen {i}")
            calls = (ToolCall("go", "{}", "a"), ToolCall("go", "{}", "b"))
            conversation.answer(Completion("", tool_calls=calls))
        conversation.observe("seen 3")
        return [m["role"] for m in conversation.messages], conversation.messages

    shown, messages = roles(0)
    assert shown == ["system", "user", "user"]
    assert messages[-1]["content"] == "seen 3"
    assert roles(1)[0] == ["system", "user", "assistant", "tool", "tool"]
    assert roles(2)[0] == ["system", "user", *["assistant", "tool", "tool"] * 2]
