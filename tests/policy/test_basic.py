import asyncio
import os
import pty
import subprocess
import sys
import textwrap
import time

import pytest

from agentgym.actions import Action
from agentgym.errors import ConfigError, PolicyError
from agentgym.policy.basic import HumanPolicy, OraclePolicy, RandomPolicy, ScriptedPolicy
from agentgym.types import Sampling

ACTIONS = [Action("go north"), Action("open door"), Action("look")]


async def act(policy, *, seed=None, session="s", admissible=None, messages=()):
    completion = await policy.act(
        messages, sampling=Sampling(seed=seed), session=session, admissible=admissible
    )
    return completion.text


async def test_the_oracle_returns_the_very_action_the_expert_gave():
    assert await act(OraclePolicy(), admissible=ACTIONS[1:2]) is ACTIONS[1]


@pytest.mark.parametrize("hint", [None, [], [None]])
async def test_the_oracle_refuses_a_world_without_an_expert(hint):
    with pytest.raises(ConfigError, match=r"define Env\.oracle\(\)"):
        await act(OraclePolicy(), admissible=hint)


async def test_random_draws_the_same_action_for_the_same_seed():
    policy = RandomPolicy()
    drawn = [await act(policy, seed=seed, admissible=ACTIONS) for seed in range(50)]
    assert drawn == [await act(RandomPolicy(), seed=s, admissible=ACTIONS) for s in range(50)]
    assert all(any(action is known for known in ACTIONS) for action in drawn)


async def test_random_draws_every_action_about_equally_often():
    policy = RandomPolicy()
    drawn = [await act(policy, seed=seed, admissible=ACTIONS) for seed in range(3000)]
    counts = [drawn.count(action) for action in ACTIONS]
    # five standard deviations of a binomial with n = 3000, p = 1/3
    assert all(abs(count - 1000) < 130 for count in counts), counts


async def test_random_without_a_seed_still_draws():
    assert await act(RandomPolicy(), admissible=ACTIONS) in ACTIONS


@pytest.mark.parametrize("hint", [None, []])
async def test_random_refuses_a_world_that_lists_nothing(hint):
    with pytest.raises(ConfigError, match=r"define Env\.admissible\(\)"):
        await act(RandomPolicy(), admissible=hint)


@pytest.mark.parametrize(
    ("kind", "told"), [(OraclePolicy, "sees no way to win"), (RandomPolicy, "no action")]
)
async def test_a_dead_end_in_a_world_that_gave_hints_before_is_that_episodes_fault(kind, told):
    policy = kind()
    await act(policy, admissible=ACTIONS)
    with pytest.raises(PolicyError, match=told):
        await act(policy, admissible=None)
    assert await act(policy, admissible=ACTIONS) in ACTIONS


async def test_a_script_is_played_from_its_start_in_every_session_and_then_says_nothing():
    policy = ScriptedPolicy(["a", ACTIONS[0]])
    assert [await act(policy, session="x") for _ in range(3)] == ["a", "go north", ""]
    assert [await act(policy, session="y") for _ in range(2)] == ["a", "go north"]
    assert await act(ScriptedPolicy([ACTIONS[0]])) is ACTIONS[0]


async def test_a_person_is_shown_the_last_message_and_answers_a_line():
    shown = []
    policy = HumanPolicy(write=shown.append, read=lambda prompt: "look")
    parts = [{"type": "text", "text": "A kitchen."}, {"type": "image_url", "image_url": {}}]
    messages = [{"role": "user", "content": "old"}, {"role": "user", "content": parts}]
    assert await act(policy, messages=messages) == "look"
    assert "".join(shown) == "\nA kitchen.\n[image_url]\n"


async def test_what_the_terminal_raises_reaches_the_caller():
    def read(prompt):
        raise OSError("no terminal")

    with pytest.raises(OSError, match="no terminal"):
        await act(HumanPolicy(write=lambda text: None, read=read))


PROGRAM = textwrap.dedent(
    """
    import asyncio
    from agentgym.policy.basic import HumanPolicy
    from agentgym.types import Sampling

    async def main():
        policy = HumanPolicy()
        for turn in range(3):
            said = await policy.act(
                [{"role": "user", "content": f"turn {turn}"}], sampling=Sampling(), session="s",
                admissible=["go north", "open the door", "open the box"],
            )
            print(f"<{said.text}>")

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("left")
    """
)


@pytest.fixture
def terminal():
    """A person at a real terminal: `terminal(keys, until)` types, then reads on to `until`."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,
        env={**os.environ, "TERM": "dumb"},
    )
    os.close(theirs)
    os.set_blocking(ours, False)

    shown = ""

    def type_keys(keys, until):
        nonlocal shown
        os.write(ours, keys.encode())
        deadline = time.monotonic() + 20
        while until not in shown:
            assert time.monotonic() < deadline, shown
            try:
                shown += os.read(ours, 4096).decode()
            except BlockingIOError:
                time.sleep(0.01)
        before, _, shown = shown.partition(until)
        return before + until

    yield type_keys
    try:
        assert child.wait(timeout=5) == 0
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def _take_terminal():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_tab_completes_an_action_spaces_and_all_and_ctrl_d_leaves(terminal):
    terminal("", until="turn 0")
    terminal("", until="> ")
    assert "go north" in terminal("g\t\n", until="<go north>")
    terminal("", until="> ")
    assert "open the box" in terminal("open the b\t\n", until="<open the box>")
    terminal("", until="> ")
    terminal("\x04", until="left")


def test_ctrl_c_leaves_at_once_although_a_line_is_awaited(terminal):
    terminal("", until="> ")
    assert "left" in terminal("\x03", until="left")


@pytest.mark.timeout(30)
async def test_a_cancelled_question_does_not_hold_the_loop():
    policy = HumanPolicy(write=lambda text: None, read=lambda prompt: time.sleep(60) or "late")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await act(policy)
