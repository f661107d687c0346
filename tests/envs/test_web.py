"""The sites in a real browser: every template on its own word, facts, faults, and who gets in."""

from __future__ import annotations

import asyncio
import random
import urllib.request

import gymnasium as gym
import pytest
from browsing import need_browser
from site_worlds import PLAIN, Worlds, every_template, odd_site, play, task_of

from agentgym.actions import Action
from agentgym.collector import Collector, episode_keys
from agentgym.envs.browsing import Browsing
from agentgym.errors import ConfigError, EnvError, RewardError, TaskError
from agentgym.policy import open_policy
from agentgym.rewards import bind, parse
from agentgym.tasks.sites.core import Episode, find_site, site_names
from agentgym.tasks.sites.look import LANGUAGES, LAYOUTS, THEMES

__all__ = ["odd_site"]
ID = "agentgym/Web-v0"


@pytest.fixture(scope="module")
def worlds():
    need_browser()
    made = Worlds(ID)
    yield made
    made.close()


@pytest.fixture
def shop(worlds):
    return worlds(site="shop", **PLAIN)


def mutants_of(name, task):
    site, _, template = name.partition("/")
    site = find_site(site)
    return sorted(Episode(site, site.by_name[template], int(task.rpartition("=")[2])).mutants())


SAMPLE = ("shop/buy", "shop/return-item", "admin/restock", "admin/count-orders")

# ---------------------------------------------------------------------------- every template


@every_template
def test_the_oracle_passes_and_reaches_every_milestone(worlds, name, held_out):
    _, reward, terminated, _, info = play(worlds.of(held_out), task_of(name, held_out))

    assert (reward, terminated, info["outcome"].label) == (1.0, True, "solved")
    assert info["outcome"].parts["milestones"] == info["facts"]["milestones"] == 1.0
    assert (info["facts"]["remaining"], info["facts"]["damage"]) == (0, 0)


@pytest.mark.parametrize("name", SAMPLE)  # all of them: below, and in tests/tasks/test_sites.py
def test_a_plan_that_goes_wrong_in_one_place_scores_nothing(worlds, name):
    env, task = worlds.of(False), task_of(name)
    chosen = random.Random(name).choice(mutants_of(name, task))

    _, reward, terminated, _, info = play(env, task, lambda e: e.mutants()[chosen])

    assert (reward, terminated, info["outcome"].passed) == (0.0, True, False), chosen
    label = info["outcome"].label
    assert label == "collateral damage" or label.startswith("not met")


@pytest.mark.slow
@every_template
def test_no_plan_that_goes_wrong_in_one_place_scores(worlds, name, held_out):
    env, task = worlds.of(held_out), task_of(name, held_out, 1)

    for mutant in mutants_of(name, task):
        _, reward, *_, info = play(env, task, lambda e, mutant=mutant: e.mutants()[mutant])
        assert (reward, info["outcome"].passed) == (0.0, False), mutant


@every_template
def test_who_does_nothing_gets_nothing_whatever_is_claimed(worlds, name, held_out):
    task = task_of(name, held_out, 2)
    env = worlds.of(held_out, max_turns=2)
    claims = ("done()", 'done("yes")', 'done("4")', 'fail("it cannot be done")')
    claim = random.Random(name).choice(claims)
    env.reset(options={"task": task})
    _, reward, terminated, _, info = env.step(claim)
    assert (reward, terminated, info["outcome"].passed) == (0.0, True, False), claim

    env.reset(options={"task": task})
    env.step("wait()")
    _, reward, terminated, truncated, info = env.step("wait()")
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["outcome"].label.startswith("not met")


LOOKS = [
    {"theme": "dark", "layout": "mirrored", "language": "de"},
    {"theme": "contrast", "layout": "compact", "language": "fr"},
    {"theme": "warm", "layout": "standard", "language": "es"},
]


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look["language"])
@pytest.mark.parametrize("name", SAMPLE)
def test_the_oracle_passes_in_every_look(worlds, name, look):
    site, _, template = name.partition("/")
    env = worlds(site=site, template=template, interruptions=True, injection=True, **look)

    assert play(env, task_of(name, seed=3))[1] == 1.0
    assert env.episode.look.language == look["language"]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(12))
@every_template
def test_the_oracle_passes_in_looks_of_all_kinds(worlds, name, held_out, number):
    look = {
        "theme": THEMES[number % 4],
        "layout": LAYOUTS[number % 3],
        "language": LANGUAGES[number // 3],
        "interruptions": number % 2 == 0,
        "injection": number % 4 < 2,
    }

    assert play(worlds.of(held_out, **look), task_of(name, held_out, number))[1] == 1.0


# ---------------------------------------------------------------------------- the same again


def trace(env, task, actions=None):
    """What an episode shows; by its own random actions, or by those given."""
    rng = random.Random(5)
    shown, info = env.reset(seed=5, options={"task": task, "hints": ["admissible"]})
    seen, said = [(shown, info["facts"])], []
    for turn in range(8):
        listed = [one for one in info["admissible"] if not one.startswith("done")]
        said.append(Action(actions[turn]) if actions else rng.choice(listed))
        shown, reward, _, _, info = env.step(said[-1])
        seen.append((shown, reward, info["facts"], info["invalid"]))
    return seen, said


@pytest.mark.parametrize("task", ["shop/buy:seed=4", "admin/restock:seed=4"])
def test_the_same_actions_give_the_same_episode_in_a_used_world_and_in_a_fresh_one(worlds, task):
    used = worlds()
    seen, said = trace(used, task)

    assert trace(used, task, said)[0] == seen
    fresh = gym.make(ID, reset="fresh")
    try:
        assert trace(fresh, task, said)[0] == seen
    finally:
        fresh.close()


def test_a_position_is_what_is_shown_and_what_was_changed(shop):
    def after(*actions):
        keys = [shop.reset(options={"task": "shop/buy:seed=0"})[1]["facts"]["state_key"]]
        keys += [shop.step(action)[4]["facts"]["state_key"] for action in actions]
        return keys

    away = 'goto("http://shop.test/product/5")', 'goto("http://shop.test/")'
    start, product, again = after(*away)
    assert start == again != product

    shop.reset(options={"task": "shop/buy:seed=0"})
    shop.episode.db.execute("UPDATE products SET stock = stock - 1 WHERE id = 77")
    _, _, _, _, info = shop.step('goto("http://shop.test/")')
    assert info["facts"]["state_key"] != start
    assert info["facts"]["damage"] == 1


@pytest.mark.parametrize("turns", [0, 5])
def test_a_snapshot_is_the_same_point_of_the_episode_and_forks_go_their_own_ways(shop, turns):
    _, info = shop.reset(seed=0, options={"task": "shop/edit-cart:seed=1", "hints": ["oracle"]})
    for _ in range(turns):
        info = shop.step(info["oracle"])[4]
    point, twin = shop.snapshot(), shop.fork()
    try:
        said = shop.oracle()
        expected = shop.step(said)
        assert twin.page.rows is not shop.page.rows
        other = twin.step(twin.oracle())
        assert (other[0], other[4]["facts"]) == (expected[0], expected[4]["facts"])
        assert twin.step("done()")[1] == 0.0
        shop.restore(point)
        again = shop.step(said)
        assert (again[0], again[4]["facts"]) == (expected[0], expected[4]["facts"])
    finally:
        twin.close()


# ---------------------------------------------------------------------------- tasks and arguments


def test_tasks_are_those_of_all_sites_by_seed(worlds):
    env = worlds()
    listed = env.tasks()

    assert listed[0] == "admin/archive-products:seed=0"
    assert {id.partition("/")[0] for id in listed[:40]} >= set(site_names()) - {"odd"}
    assert len(set(listed)) == len(listed)
    task = env.find_task("shop/buy:seed=999999")  # not listed, and a task all the same
    assert dict(task.data) == {"site": "shop", "template": "buy"}


def test_held_out_templates_are_in_a_split_of_their_own(worlds):
    unseen = {id.partition(":")[0] for id in worlds(split="test_unseen").tasks()}
    for split in ("train", "valid", "test"):
        assert not unseen & {id.partition(":")[0] for id in worlds(split=split).tasks()}
    for site in ("shop", "admin"):
        held_out = {f"{site}/{t.name}" for t in find_site(site).templates if t.held_out}
        assert held_out <= unseen


@pytest.mark.parametrize(
    "task",
    [
        "", "buy:seed=3", "shop", "shop/", "shop/buy", "shop/buy:seed=03", "shp/buy:seed=3",
        "shop/by:seed=3", "shop/buy:seed=1000000", "shop/cancel-order:seed=3000000",
        "shop/../admin/restock:seed=0", "shop//buy:seed=3", "admin/restock:seed=3",
    ],
)  # fmt: skip
def test_a_task_that_does_not_exist_is_refused(shop, task):
    with pytest.raises(TaskError, match=r"no task|no template|test_unseen"):
        shop.reset(options={"task": task})


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"site": "shp"}, "no site 'shp'; did you mean 'shop'"),
        ({"site": "shop", "template": "restock"}, "no template 'restock'.*buy-cheapest"),
        ({"template": "cancel-order"}, "split 'train'"),
        ({"theme": "drak"}, "no theme 'drak'; did you mean 'dark'"),
        ({"layout": "wide"}, "standard, mirrored, compact"),
        ({"language": "it"}, "en, de, fr, es"),
        ({"interruptions": "often"}, "true, false or None"),
        ({"injection": 2}, "true, false or None"),
        ({"outcome": "gradde"}, "passed or graded; did you mean 'graded'|did you mean 'graded'"),
        ({"site": "admin", "outcome": "graded"}, "give site='shop'"),
        ({"viewport": 800}, "width and height"),
        ({"viewport": (8, 8)}, "16 to 4096"),
        ({"obs": "video"}, "'text', 'image', 'both', 'som'"),
        ({"actions": "wep"}, "give web"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_the_choices(wrong, told):
    with pytest.raises(ConfigError, match=told):
        gym.make(ID, **wrong)


def test_one_template_may_be_asked_for(worlds):
    env = worlds(template="buy")
    assert {id.partition(":")[0] for id in env.tasks()} == {"shop/buy"}
    with pytest.raises(TaskError, match="template='buy'"):
        env.reset(options={"task": "shop/edit-cart:seed=0"})
    with pytest.raises(TaskError):
        env.reset(options={"task": "admin/restock:seed=0"})


def test_the_look_is_the_seeds_unless_it_is_given(worlds):
    looks = []
    for env in (worlds(), worlds(), worlds(language="fr", interruptions=False)):
        env.reset(options={"task": "shop/buy:seed=6"})
        looks.append(env.episode.look)

    assert looks[0] == looks[1]
    assert (looks[2].language, looks[2].banner, looks[2].popup) == ("fr", False, False)
    assert (looks[2].theme, looks[2].layout) == (looks[0].theme, looks[0].layout)


# ---------------------------------------------------------------------------- what it tells


def test_progress_is_the_sign_of_how_many_milestones_fewer_remain(shop):
    _, info = shop.reset(options={"task": "shop/edit-cart:seed=0", "hints": ["oracle"]})
    before, steps = info["facts"], []
    assert before["progress"] == 0
    while "outcome" not in info:
        *_, info = shop.step(info["oracle"])
        now = info["facts"]
        assert now["remaining"] == sum(not holds for holds in now["subgoals"].values())
        assert now["milestones"] == pytest.approx(1 - now["remaining"] / len(now["subgoals"]))
        change = before["remaining"] - now["remaining"]
        assert now["progress"] == (change > 0) - (change < 0)
        steps.append(now["progress"])
        before = now
    assert 1 in steps
    assert 0 in steps
    assert before["remaining"] == 0


def test_what_is_refused_changes_no_fact(shop):
    _, info = shop.reset(options={"task": "shop/buy:seed=0"})
    before = info["facts"]
    *_, info = shop.step("click(9999)")
    assert info["invalid"] == "stale"
    for name in ("state_key", "milestones", "remaining", "subgoals", "damage", "url"):
        assert info["facts"][name] == before[name]
    assert info["facts"]["progress"] == 0


def test_damage_is_counted_and_may_be_undone(shop):
    shop.reset(options={"task": "shop/order-status:seed=0", "hints": []})
    *_, info = shop.step('goto("http://shop.test/product/9")')
    wish = next(shop.page.find("button", "Add to wish list")).id
    *_, info = shop.step(f"click({wish})")
    assert info["facts"]["damage"] == 1
    wish = next(shop.page.find("button", "Remove from wish list")).id
    *_, info = shop.step(f"click({wish})")
    assert info["facts"]["damage"] == 0


def test_a_right_answer_after_damage_is_worth_nothing(shop):
    task = "shop/order-status:seed=0"
    _, reward, _, _, info = play(shop, task)
    assert reward == 1.0
    answer = info["action"]
    shop.reset(options={"task": task})
    shop.step('goto("http://shop.test/product/9")')
    wish = next(shop.page.find("button", "Add to wish list")).id
    shop.step(f"click({wish})")
    _, reward, _, _, info = shop.step(answer)
    assert (reward, info["outcome"].label) == (0.0, "collateral damage")


def test_who_gives_up_fails_even_if_all_is_done(shop):
    task = "shop/change-details:seed=0"
    shop.reset(options={"task": task})
    while not (said := shop.oracle()).startswith("done"):
        shop.step(said)
    _, reward, _, _, info = shop.step('fail("I am lost")')
    assert (reward, info["outcome"].label) == (0.0, "gave up")


def test_a_state_that_is_right_when_the_turns_run_out_passes(shop):
    task = "shop/change-details:seed=0"
    play(shop, task)
    short = gym.make(ID, site="shop", max_turns=shop.turn, **PLAIN)
    try:
        short.reset(options={"task": task})
        for _ in range(shop.turn - 1):
            short.step(short.oracle())
        assert short.oracle() == "done()"
        _, reward, terminated, truncated, _ = short.step("wait()")
        assert (reward, terminated, truncated) == (1.0, False, True)
    finally:
        short.close()


def test_graded_outcomes_pay_how_near_an_order_comes_and_nothing_for_damage(worlds):
    env = worlds(site="shop", template="buy", outcome="graded", **PLAIN)
    task = "shop/buy:seed=0"

    _, reward, *_, info = play(env, task, lambda e: e.mutants()["another option"])
    parts = info["outcome"].parts
    assert 0 < reward == info["outcome"].score == parts["graded"] < 1
    assert parts["webshop"] == parts["graded"]
    assert not info["outcome"].passed
    assert play(env, task)[1] == 1.0
    damaged = play(env, task, lambda e: e.mutants()["and wished for another"])
    assert (damaged[1], damaged[4]["outcome"].label) == (0.0, "collateral damage")
    plain = play(worlds(site="shop", **PLAIN), task, lambda e: e.mutants()["another option"])
    assert plain[1] == 0.0
    assert plain[4]["outcome"].parts["graded"] == parts["graded"]


def test_the_expert_finds_its_way_back_from_anywhere(worlds):
    env = worlds(site="admin", **PLAIN)
    env.reset(options={"task": "admin/fix-customer:seed=0"})
    for path in ("orders", "staff/0", "nowhere", "tickets?page=2"):
        env.step(f'goto("http://admin.test/{path}")')
    for _ in range(15):
        _, reward, terminated, _, _ = env.step(env.oracle())
        if terminated:
            break
    assert reward == 1.0


def test_the_expert_takes_what_is_done_as_done(shop):
    shop.reset(options={"task": "shop/change-details:seed=0"})
    while shop.guide.step.verb != "fill":
        shop.step(shop.oracle())
    step = shop.guide.step
    row = next(shop.page.find(step.role, step.name))
    shop.step(f"click({row.id})")
    shop.step('press("Control+a")')
    *_, info = shop.step(f'type("{step.value}")')  # as another would
    assert shop.guide.step != step
    assert info["invalid"] is None


@pytest.mark.parametrize(
    "extra", [{"viewport_only": True}, {"view": "md"}, {"actions": "gui"}, {"actions": "element"}]
)
def test_the_expert_does_not_depend_on_how_pages_are_shown(worlds, extra):
    env = worlds(site="admin", **PLAIN, **extra)
    assert play(env, "admin/restock:seed=1")[1] == 1.0


@pytest.mark.parametrize(
    "reward",
    [
        "outcome + 0.3 * potential('milestones')",
        "outcome - 0.1 * potential('remaining') - 0.05 * potential('damage')",
        "outcome + 0.1 * progress + 0.01 * novelty(fact='state_key')",
        "dense-progress",
    ],
)
def test_signals_over_milestones_rank_the_expert_above_chance(worlds, played, reward):
    bound = bind(parse(reward), worlds(site="admin", **PLAIN))
    expert, chance = (bound.score([one])[0].total for one in played)
    assert expert > chance
    assert expert > 0.5


@pytest.mark.parametrize("preset", ["gui-g2", "gui-cursor"])
def test_signals_on_pointing_are_refused_where_nobody_points(worlds, preset):
    with pytest.raises(RewardError, match=r"needs the fact '(box|point|target_box|image_size)'"):
        bind(parse(preset), worlds())


@pytest.fixture(scope="module")
def played():
    """The same task by the expert and by chance."""
    need_browser()
    return [
        Collector(
            lambda: gym.make(ID, site="admin", max_turns=12, **PLAIN), open_policy(policy)
        ).run(episode_keys(ID, ["admin/restock:seed=0"], seeds=[0]))[0]
        for policy in ("oracle", "random")
    ]


# ---------------------------------------------------------------------------- who may see what


OUTSIDE = [
    "file:///etc/passwd", "view-source:http://shop.test/", "data:text/html,<p>hello",
    "javascript:document.body.innerHTML='x'", "chrome://version", "blob:http://shop.test/1",
    "http://admin.test/", "http://shop.test:8080/", "http://shop.test@127.0.0.1/",
    "http://ada:word@shop.test/", "about:srcdoc",
    "http://127.0.0.1/", "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::1]/",
    "http://2130706433/", "http://0x7f000001/", "http://shop.test.evil.test/", "https://example.com",
    "http://169.254.169.254/latest/meta-data/", "filesystem:http://shop.test/", "ftp://shop.test/",
]  # fmt: skip


@pytest.mark.parametrize("verb", ["goto", "new_tab"])
def test_no_address_but_the_sites_own_can_be_opened(shop, verb):
    from agentgym.sandboxes.host import host

    shop.reset(options={"task": "shop/buy:seed=0"})
    for url in OUTSIDE:
        said = url.format(port=host().server.port)
        _, _, terminated, _, info = shop.step(f'{verb}("{said}")')
        assert (info["invalid"], terminated) == ("blocked_url", False), said
        assert info["facts"]["url"] == "http://shop.test/", said
        shop.turn = 0  # there are more of them than turns


HIDDEN = [
    "/static/..%2f..%2fcore.py", "/static/../site.py", "/static/%2e%2e/schema.sql", "/static/",
    "/static/schema.sql", "/schema.sql", "/words.tsv", "/site.py", "/data.py", "/templates/",
    "/admin-db", "/__check", "/__debug__", "/oracle", "/goal", "/milestones", "/.git/config",
    "/.env", "/db.sqlite", "/api", "/openapi.json", "/docs", "/robots.txt", "/visit/banner",
    "/visit/popup", "/checkout/place", "/product/5/cart?quantity=1", "/product/5/wish?id=5",
    "/cart/coupon?code=SPRING", "/orders/1/cancel", "/account?name=Eve", "//evil.test/",
]  # fmt: skip


def test_probing_finds_nothing_and_addresses_change_nothing(shop):
    shop.reset(options={"task": "shop/buy:seed=0"})
    for path in HIDDEN:
        *_, info = shop.step(f'goto("http://shop.test{path}")')
        shown = " ".join(row.name for row in shop.page.rows)
        assert shop.episode.changes() == [], path
        assert info["facts"]["url"].startswith("http://shop.test/"), path
        for secret in ("CREATE TABLE", "def ", "import ", "webshop", "milestone", "[core]"):
            assert secret not in shown, path
        shop.turn = 0
    assert shop.episode.faults == []
    assert shop.step("done()")[1] == 0.0


@pytest.mark.parametrize("site", ["shop", "admin"])
def test_no_page_that_can_be_addressed_writes(worlds, site):
    from agentgym.tasks.sites.web import _serve

    env = worlds(site=site, **PLAIN)
    env.reset(options={"task": env.tasks()[0]})
    for route in _serve(env.episode.site).routes:
        path = route.path.replace("{id:int}", "3").replace("{name}", "products")
        path = path.replace("{step}", "1")
        query = "?quantity=2&code=SPRING&name=Eve&status=Paid&scope=matching&selected=1&stock=9"
        env.step(f'goto("http://{site}.test{path}{query}")')
        assert env.episode.changes() == [], path
        env.turn = 0
    assert env.episode.faults == []


def test_only_the_browser_of_an_episode_is_answered(shop):
    from agentgym.sandboxes.host import host

    shop.reset(options={"task": "shop/buy:seed=0"})
    token = shop._session.settings.headers["X-Session"]
    for headers in ({}, {"X-Session": token}, {"X-Session": token, "X-Agentgym-Pass": "0" * 32}):
        request = urllib.request.Request(
            f"http://127.0.0.1:{host().server.port}/", headers={"Host": "shop.test", **headers}
        )
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=10)


def test_pages_cannot_read_what_tells_whose_they_are(shop):
    from agentgym.sandboxes.host import host

    shop.reset(options={"task": "shop/buy:seed=0"})
    token = shop._session.settings.headers["X-Session"]
    asked = (
        "fetch('/').then(async r => JSON.stringify([[...r.headers], await r.text(),"
        " document.cookie, document.documentElement.outerHTML]))"
    )
    assert token not in host().run_now(shop._session.evaluate(asked), 10, "asking")


def test_two_worlds_at_once_do_not_see_each_other():
    async def both():
        envs = [gym.make(ID, site="shop", **PLAIN) for _ in range(2)]
        first = envs[0]
        try:
            for env in envs:
                await env.areset(options={"task": "shop/order-status:seed=0"})
            await asyncio.gather(*[e.astep('goto("http://shop.test/product/9")') for e in envs])
            wish = next(first.page.find("button", "Add to wish list")).id
            await first.astep(f"click({wish})")
            for env in envs:
                await env.astep('goto("http://shop.test/wishlist")')
            shown = [env.page.digest for env in envs]
            changed = [len(env.episode.changes()) for env in envs]
            await first.areset(options={"task": "shop/order-status:seed=0"})
            await first.astep('goto("http://shop.test/wishlist")')
            return shown, changed, first.page.digest
        finally:
            await asyncio.gather(*[env.aclose() for env in envs])

    shown, changed, after = asyncio.run(both())
    assert changed == [1, 0]
    assert shown[0] != shown[1] == after


def test_a_closed_episode_is_served_no_longer(shop):
    from agentgym.envs.web import _server

    shop.reset(options={"task": "shop/buy:seed=0"})
    served = len(_server()._episodes)
    other = gym.make(ID, site="shop", **PLAIN)
    for _ in range(3):
        other.reset(options={"task": "shop/buy:seed=1"})
    assert len(_server()._episodes) == served + 1
    other.close()
    assert len(_server()._episodes) == served
    forgotten = gym.make(ID, site="shop", **PLAIN)
    forgotten.reset(options={"task": "shop/buy:seed=1"})
    del forgotten
    import gc

    gc.collect()
    assert len(_server()._episodes) == served


# ---------------------------------------------------------------------------- sites that go wrong


@pytest.fixture
def odd(worlds, odd_site):
    env = worlds(site="odd")
    env.reset(options={"task": "odd/switch:seed=0"})
    return env


def go(env, name):
    link = next(env.page.find("link", name))
    return env.step(f"click({link.id})")


def test_a_third_site_is_a_folder_and_played_like_the_others(odd):
    assert "odd" in site_names()
    assert play(odd, "odd/switch:seed=1")[1] == 1.0


@pytest.mark.parametrize("said", ["done()", 'fail("it is broken")'])
def test_a_site_that_fails_is_an_error_and_not_a_failure_of_the_model(odd, said):
    shown, _, terminated, _, info = go(odd, "boom")
    assert "Internal server error" in shown
    assert not terminated
    assert info["facts"]["damage"] == 0  # what it wrote was rolled back
    with pytest.raises(EnvError, match="the site failed: /boom: ZeroDivisionError: by a fault"):
        odd.step(said)


def test_who_passes_in_spite_of_a_sites_fault_has_passed(odd):
    go(odd, "boom")
    odd.step("back()")
    button = next(odd.page.find("button", "Switch"))
    odd.step(f"click({button.id})")
    assert odd.step("done()")[1] == 1.0


def test_a_first_page_that_cannot_be_opened_is_a_fault_of_the_world():
    class Lost(Browsing):
        async def prepare(self, task, session):
            await session.goto("http://elsewhere.test/")
            return ""

    need_browser()
    env = Lost()
    try:
        with pytest.raises(EnvError, match=r"first page of default cannot be opened: .*elsewhere"):
            env.reset()
    finally:
        env.close()


@pytest.mark.parametrize("name", ["drip", "never"])
def test_an_answer_without_an_end_is_an_observation(odd, name):
    shown, _, terminated, _, _ = go(odd, name)
    assert "still loading" in shown
    assert not terminated
    shown = odd.step('goto("http://odd.test/")')[0]
    assert "The lamp is off" in shown


def test_a_page_that_is_no_text_is_shown_as_far_as_it_is(odd):
    shown, _, _, _, info = go(odd, "latin")
    assert info["invalid"] is None
    assert "caf" in shown
    assert shown.encode()
