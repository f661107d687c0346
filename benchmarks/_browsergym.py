"""BrowserGym in a process of its own: told on standard input what to play, answers with times.

Run by `web.py` with the interpreter of an environment that holds BrowserGym, and with the browser
that our side has. One line of JSON in, one out.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TUNED: dict[str, Any] = {"slow_mo": 0, "pre_observation_delay": 0}
"""BrowserGym without its sleeps."""


def main(chromium: str, miniwob: str) -> None:
    """Answer until there is no more input."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what others print is no answer
    with tempfile.TemporaryDirectory() as folder:
        _give_browser(Path(folder), chromium)
        os.environ["MINIWOB_URL"] = miniwob
        player = Player()
        for line in sys.stdin:
            told = json.loads(line)
            answers.write(json.dumps(getattr(player, told.pop("do"))(**told)) + "\n")
        player.close()


def _give_browser(folder: Path, chromium: str) -> None:
    """Have Playwright take that browser for the one it would have downloaded.

    BrowserGym starts a second browser for its chat, whose path cannot be said otherwise.
    """
    import playwright

    listed = Path(playwright.__file__).parent / "driver" / "package" / "browsers.json"
    browsers = json.loads(listed.read_text())["browsers"]
    revision = next(each["revision"] for each in browsers if each["name"] == "chromium")
    place = folder / f"chromium-{revision}" / "chrome-linux"
    place.mkdir(parents=True)
    (place / "chrome").symlink_to(chromium)
    (place.parent / "INSTALLATION_COMPLETE").touch()
    os.environ["PLAYWRIGHT_BROWSERS_PATH"] = str(folder)
    os.environ["PLAYWRIGHT_SKIP_VALIDATE_HOST_REQUIREMENTS"] = "1"
    logging.disable(logging.WARNING)


class Player:
    """One environment at a time of each kind."""

    def __init__(self) -> None:
        self.envs: dict[bool, Any] = {}

    def begin(self, tuned: bool, task: str, seed: int) -> dict[str, Any]:
        """Make and reset."""
        import browsergym.miniwob  # noqa: F401 - registers the tasks
        import gymnasium as gym

        begun = time.perf_counter()
        env = self.envs[tuned] = gym.make(f"browsergym/miniwob.{task}", **(TUNED if tuned else {}))
        shown, _ = env.reset(seed=seed)
        _text(shown)
        return self._told(time.perf_counter() - begun, shown, False, 0.0)

    def step(self, tuned: bool, action: str) -> dict[str, Any]:
        """Carry out an action."""
        begun = time.perf_counter()
        shown, reward, terminated, truncated, _ = self.envs[tuned].step(action)
        _text(shown)
        taken = time.perf_counter() - begun
        told = self._told(taken, shown, terminated or truncated, reward)
        return {**told, "error": shown["last_action_error"]}

    def end(self, tuned: bool) -> dict[str, Any]:
        """Close what the episode used, as the next reset would."""
        begun = time.perf_counter()
        self.envs.pop(tuned).close()
        return {"seconds": time.perf_counter() - begun}

    def observe(self, url: str, count: int) -> dict[str, Any]:
        """Observe a page several times."""
        import browsergym.core  # noqa: F401 - registers the task
        import gymnasium as gym

        told: dict[str, Any] = {
            "task_kwargs": {"start_url": url, "goal": ""},
            "viewport": _VIEWPORT,
        }
        env: Any = gym.make("browsergym/openended", **told)
        env.reset(seed=0)
        taken = []
        for _ in range(count):
            begun = time.perf_counter()
            _text(env.unwrapped._get_obs())
            taken.append(time.perf_counter() - begun)
        env.close()
        return {"seconds": taken}

    def close(self) -> dict[str, Any]:
        """Close the browsers."""
        for env in self.envs.values():
            env.close()
        self.envs.clear()
        return {}

    def _told(self, seconds: float, shown: Any, over: bool, reward: float) -> dict[str, Any]:
        rows = []
        for node in shown["axtree_object"]["nodes"]:
            if "browsergym_id" in node:
                said = {p["name"]: p["value"].get("value") for p in node.get("properties", ())}
                role, name = node["role"]["value"], node.get("name", {}).get("value", "")
                ticked = str(said.get("checked")) == "true"
                rows.append((node["browsergym_id"], role, name, ticked))
        return {
            "seconds": seconds,
            "goal": shown["goal"],
            "rows": rows,
            "over": bool(over),
            "solved": reward > 0,
            "image": list(shown["screenshot"].shape),
        }


def _text(shown: Any) -> str:
    """The page as BrowserGym's agents read it: its tree, with numbers, states and boxes."""
    from browsergym.utils.obs import flatten_axtree_to_str

    return str(
        flatten_axtree_to_str(
            shown["axtree_object"],
            extra_properties=shown["extra_element_properties"],
            with_visible=True,
            with_clickable=True,
            with_bounding_box_coords=True,
        )
    )


_VIEWPORT = {"width": 1280, "height": 720}


if __name__ == "__main__":
    main(*sys.argv[1:])
