"""What tests of worlds over sites share: templates, plays by plan, and a site that goes wrong."""

from __future__ import annotations

from itertools import count

import gymnasium as gym
import pytest

from agentgym.tasks import sites
from agentgym.tasks.sites.core import SPLITS, find_site, site_names

TEMPLATES = [
    pytest.param(f"{site}/{template.name}", template.held_out, id=f"{site}-{template.name}")
    for site in site_names()
    for template in find_site(site).templates
]
every_template = pytest.mark.parametrize(("name", "held_out"), TEMPLATES)
PLAIN = {
    "theme": "light",
    "layout": "standard",
    "language": "en",
    "interruptions": False,
    "injection": False,
}


class Worlds:
    """Worlds by their arguments, made once and closed at the end."""

    def __init__(self, id):
        self.id = id
        self.made = {}

    def __call__(self, **arguments):
        key = repr(sorted(arguments.items()))
        if key not in self.made:
            self.made[key] = gym.make(self.id, **arguments)
        return self.made[key]

    def of(self, held_out, **arguments):
        """A world that has the templates that are held out, or the others."""
        return self(split="test_unseen" if held_out else "train", **arguments)

    def close(self):
        for env in self.made.values():
            env.close()


def task_of(name, held_out=False, seed=0):
    return f"{name}:seed={SPLITS['test_unseen' if held_out else 'train'] + seed}"


def play(env, task, plan=None):
    """Play by the oracle, or by another plan of the episode's; what the last step gave."""
    from agentgym.envs.web_guide import Guide

    env.reset(seed=0, options={"task": task})
    if plan is not None:
        env.guide = Guide(env.episode, plan(env.episode))
        env.guide.follow((), None, env.page)
    for turn in count():
        said = env.oracle()
        assert said is not None, (turn, env.guide.step, env.page.url)
        result = env.step(said)
        assert result[4]["invalid"] is None, (said, result[0])
        if result[2] or result[3]:
            return result


ODD_SITE = """
import asyncio
from pathlib import Path

from agentgym.tasks.sites.contract import Goal, TaskTemplate, click, done, verdict
from agentgym.tasks.sites.core import Site
from agentgym.tasks.sites.database import updates


def fill(db, rng):
    db.execute("INSERT INTO lamps VALUES (1, 0)")


def home(visit):
    return visit.render("home.html", lit=visit.value("SELECT lit FROM lamps"))


def switch(visit):
    visit.db.execute("UPDATE lamps SET lit = 1 - lit")
    return visit.redirect("/")


def boom(visit):
    visit.db.execute("UPDATE lamps SET lit = 7")
    raise ZeroDivisionError("by a fault of the site")


def pages():
    from starlette.responses import Response, StreamingResponse

    from agentgym.tasks.sites.web import Page, Pages

    async def drip():
        yield b"<p>the beginning"
        await asyncio.Event().wait()

    class Never(Response):
        async def __call__(self, scope, receive, send):
            while (await receive())["type"] != "http.disconnect":
                pass

    return Pages(
        [
            Page("/", home),
            Page("/switch", switch, "POST"),
            Page("/boom", boom),
            Page("/drip", lambda visit: StreamingResponse(drip(), media_type="text/html")),
            Page("/never", lambda visit: Never()),
            Page("/latin", lambda visit: Response(b"<p>caf\\xe9 \\xff", media_type="text/html")),
        ],
        lambda visit: {},
    )


class Switch(TaskTemplate):
    name = "switch"

    def setup(self, db, rng):
        return Goal("Switch the lamp on", {})

    def check(self, case, answer):
        return verdict(("lit", case.row("lamps", 1)["lit"] == 1))

    def milestones(self, case):
        return [("lit", self.check(case, "").success)]

    def allowed_writes(self, case):
        return updates("lamps")

    def oracle(self, case, params):
        yield click("button", "Switch")
        yield done()

    def mutants(self, case):
        return {}


SITE = Site("odd", Path(__file__).parent, fill, lambda db, rng: None, (Switch(),), pages)
"""
ODD_HOME = (
    "<title>Lamp</title><h1>The lamp is {{ 'on' if lit else 'off' }}</h1>"
    "<form method=post action=/switch><button>Switch</button></form>"
    "{% for name in ['boom', 'drip', 'never', 'latin'] %}<a href=/{{ name }}>{{ name }}</a> "
    "{% endfor %}"
)


@pytest.fixture(scope="module")
def odd_site(tmp_path_factory):
    """A third site, in a folder of its own: a lamp to switch on, and pages that go wrong."""
    root = tmp_path_factory.mktemp("more")
    folder = root / "odd"
    (folder / "templates").mkdir(parents=True)
    (folder / "schema.sql").write_text("CREATE TABLE lamps (id INTEGER PRIMARY KEY, lit INTEGER);")
    (folder / "words.tsv").write_text("")
    (folder / "site.py").write_text(ODD_SITE)
    (folder / "templates" / "home.html").write_text(ODD_HOME)
    (folder / "templates" / "missing.html").write_text("<p>there is no such page")
    before = list(sites.__path__)
    sites.__path__.append(str(root))
    yield "odd"
    sites.__path__[:] = before
