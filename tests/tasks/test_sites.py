"""The sites and their tasks, without a browser: forms and links straight over ASGI."""

import re
import sqlite3
import time
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest
from conftest import missing
from form_browser import FormBrowser, Tree, ask

from agentgym.errors import ConfigError, TaskError
from agentgym.tasks import sites
from agentgym.tasks.sites import core, database
from agentgym.tasks.sites.contract import Case, click, is_amount, is_count
from agentgym.tasks.sites.core import (
    DATABASES,
    SPLITS,
    UNTRACKED,
    Episode,
    find_site,
    make_image,
    site_names,
)
from agentgym.tasks.sites.database import Change
from agentgym.tasks.sites.look import AXES, LANGUAGES, Look, draw_look, read_words

SITES = [find_site(name) for name in site_names()]
TEMPLATES = [
    pytest.param(site, template, id=f"{site.name}-{template.name}")
    for site in SITES
    for template in site.templates
]
ALL_AT_ONCE = Look("dark", "mirrored", "de", banner=True, popup=True, injection=True)
TRIED = [
    pytest.param(0, Look(), id="plain"),
    pytest.param(1, ALL_AT_ONCE, id="german"),
    pytest.param(2_000_002, Look("warm", "compact", "fr", banner=True), id="french"),
    pytest.param(1_000_003, Look("contrast", language="es", popup=True), id="spanish"),
]
every_template = pytest.mark.parametrize(("site", "template"), TEMPLATES)
every_site = pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
in_several_looks = pytest.mark.parametrize(("seed", "look"), TRIED)


@pytest.fixture
def server():
    if find_spec("starlette") is None or find_spec("jinja2") is None:
        missing("the pages need an extra: pip install 'agentgym-env[web]'")
    from agentgym.tasks.sites.web import Server

    return Server()


def begin(server, site, template, seed, look=None) -> tuple[Episode, FormBrowser]:
    episode = Episode(site, template, seed, look)
    return episode, FormBrowser(server, site.host, server.admit(episode))


def visit(server, site, seed=0, look=None):
    return begin(server, site, site.templates[0], seed, look)


# ---- every template, on its own word


@every_template
@in_several_looks
def test_the_oracle_does_the_task_and_passes_every_milestone(server, site, template, seed, look):
    episode, browser = begin(server, site, template, seed, look)
    before = episode.progress()

    judged = episode.check(browser.run(episode.oracle()))

    assert judged.success, judged.why
    assert judged.score == 1.0
    assert [name for name, holds in episode.milestones() if not holds] == []
    assert before < episode.progress() == 1.0


@every_template
@pytest.mark.parametrize(("seed", "look"), TRIED[:2])
def test_what_goes_wrong_in_one_place_scores_nothing(server, site, template, seed, look):
    names = list(Episode(site, template, seed, look).mutants())
    assert len(names) >= 3

    for name in names:
        episode, browser = begin(server, site, template, seed, look)
        judged = episode.check(browser.run(episode.mutants()[name]))
        assert (judged.score, judged.success) == (0.0, False), name


@every_template
@pytest.mark.parametrize("answer", ["", "done", "I do not know", "0", "yes"])
def test_doing_nothing_scores_nothing_whatever_is_claimed(site, template, answer):
    for seed in range(8):
        episode = Episode(site, template, seed)

        assert episode.check(answer).score == 0.0
        assert episode.progress() < 1.0


@every_template
def test_the_same_seed_gives_the_same_goal_and_the_same_pages(server, site, template):
    played = []
    for _ in range(2):
        make_image.cache_clear()
        episode, browser = begin(server, site, template, 5, ALL_AT_ONCE)
        answer = browser.run(episode.oracle())
        played.append((episode.goal, episode.params, browser.pages, answer))

    assert played[0] == played[1]


@every_template
def test_other_seeds_give_other_goals(site, template):
    goals = {Episode(site, template, seed).goal for seed in range(12)}

    assert len(goals) > 8


@every_template
def test_goals_can_be_drawn_for_any_seed_and_stay_short(site, template):
    for seed in [*range(40), *(first + 999_999 for first in SPLITS.values())]:
        assert 20 < len(Episode(site, template, seed).goal) < 600


@every_template
def test_the_look_changes_neither_the_goal_nor_what_counts(site, template):
    plain, other = (Episode(site, template, 3, look) for look in (Look(), ALL_AT_ONCE))

    assert (plain.goal, plain.params) == (other.goal, other.params)
    assert plain.milestones() == other.milestones()


@every_template
def test_any_other_row_that_changes_fails_the_task_unless_it_is_put_back(server, site, template):
    episode, browser = begin(server, site, template, 0)
    answer = browser.run(episode.oracle())
    writes = list(template.allowed_writes(episode._case()))
    tables = episode.base.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    tried = []
    for (table,) in tables.fetchall():
        row = episode.db.execute(f"SELECT * FROM {table} ORDER BY id").fetchone()
        if row is None or table in UNTRACKED:
            continue
        column, id = row.keys()[-1], row["id"]
        if episode.base.execute(f"SELECT 1 FROM {table} WHERE id = ?", (id,)).fetchone() is None:
            continue
        change = Change(table, id, {column: row[column]}, {column: "7"})
        if any(write.covers(change) for write in writes):
            continue
        sql = f"UPDATE {table} SET {column} = ? WHERE id = ?"

        episode.db.execute(sql, ("7", id))
        damaged = episode.check(answer)
        episode.db.execute(sql, (row[column], id))

        assert (damaged.score, damaged.why) == (0.0, f"collateral damage: update of {table} {id}")
        assert episode.check(answer).score == 1.0
        tried.append(table)
    assert len(tried) > 3


@pytest.mark.parametrize(
    ("site", "name"), [("shop", "order-status"), ("shop", "compare"), ("admin", "count-orders")]
)
def test_one_of_few_answers_scores_nothing_if_it_was_guessed_without_a_look(server, site, name):
    site = find_site(site)
    for seed in range(8):
        episode, browser = begin(server, site, site.find_template(name), seed)
        if "price" in episode.params:
            continue  # one of very many
        answer = browser.run(episode.oracle())

        unseen = Episode(site, episode.template, seed).check(answer)

        assert episode.check(answer).score == 1.0
        assert (unseen.score, unseen.why) == (0.0, "not met: looked it up")


@pytest.mark.parametrize("seed", range(12))
def test_of_products_that_are_compared_the_goal_holds_every_name_and_not_the_answer(seed):
    shop = find_site("shop")
    episode = Episode(shop, shop.find_template("compare"), seed)
    if episode.params["count"] is None:
        names = episode.params["names"].values()
        assert len(names) == 4
        assert [episode.check(name).score for name in names if name in episode.goal] == [0.0] * 4
    assert episode.params["expected"] not in episode.goal
    assert episode.check(episode.params["wrong"]).score == 0.0


def test_only_pages_that_were_shown_count_as_reached(server):
    shop, admin = (find_site(name) for name in ("shop", "admin"))
    episode, browser = begin(server, shop, shop.find_template("buy"), 0)
    for path in ("/checkout", "/nowhere", "/product/99999"):  # an empty cart is sent to the cart
        browser.open(path)
    assert dict(episode.milestones())["at the checkout"] is False
    assert set(episode.visited) == {"/", "/cart"}

    episode, browser = begin(server, admin, admin.find_template("sum-orders"), 0)
    status, country, month = episode.params["filters"].values()
    browser.open(f"/?status={status}&country={country}&month={month}")
    browser.open(f"/orders?colour=red&a={status}&b={country}&c={month}&q={country}")
    reached = dict(episode.milestones())
    assert reached == {"table opened": True, "filtered": False, "by all three": False}
    browser.open(f"/orders?status={status}&country={country}&month={month}")
    assert all(dict(episode.milestones()).values())

    episode, browser = begin(server, shop, shop.find_template("compare"), 0)
    names = episode.params["names"]
    browser.open("/search?q=" + " ".join(names.values()).replace(" ", "%20"))
    browser.open(f"/product/{next(iter(names))}")
    assert [holds for _, holds in episode.milestones()] == [True, False, False, False]


def test_a_page_is_not_taken_for_another_whose_address_begins_alike(server):
    episode, browser = visit(server, find_site("shop"))
    browser.open("/product/12?from=mail")
    case = Case(episode.db, episode.base, {}, [], episode.visited, episode.words)

    assert case.saw("/product/12")
    assert case.saw("/product")
    assert not case.saw("/product/1")


# ---- splits


@every_site
def test_splits_share_neither_seeds_nor_databases_and_some_templates_are_held_out(site):
    listed = {split: set(site.tasks(split, 20)) for split in SPLITS}

    def sold(seed: int) -> list[tuple[object, ...]]:
        base = Episode(site, site.templates[0], seed).base
        return [tuple(row) for row in base.execute("SELECT * FROM products")]

    assert len(set().union(*listed.values())) == sum(len(ids) for ids in listed.values())
    assert len({repr(sold(first)) for first in SPLITS.values()}) == len(SPLITS)
    assert sold(1) != sold(0) == sold(DATABASES)
    held_out = {template.name for template in site.templates if template.held_out}
    assert held_out
    assert {id.partition(":")[0] for id in listed["test_unseen"]} == held_out
    assert not held_out & {id.partition(":")[0] for id in listed["train"]}
    assert len(site.templates) - len(held_out) >= 8


@every_site
def test_a_task_is_found_by_its_id_in_its_own_split_only(site):
    for split in SPLITS:
        for id in site.tasks(split, 2):
            template, seed = site.find_task(id, split)
            assert id == f"{template.name}:seed={seed}"
            other = "test" if split != "test" else "train"
            with pytest.raises(TaskError, match=r"test_unseen|no task"):
                site.find_task(id, other)


@pytest.mark.parametrize(
    "id", ["", "buy", "buy:seed=-1", "buy:seed=01", "by:seed=1", "buy:seed=1\n"]
)
def test_a_task_that_is_none_is_refused_by_name(id):
    with pytest.raises(TaskError, match="shop"):
        find_site("shop").find_task(id, "train")


def test_what_there_is_not_is_refused_with_a_hint():
    with pytest.raises(TaskError, match="no site 'shp'; did you mean 'shop'"):
        find_site("shp")
    with pytest.raises(TaskError, match="no split 'dev'"):
        find_site("shop").tasks("dev")
    with pytest.raises(ConfigError, match="no theme 'drak'"):
        Look("drak")
    with pytest.raises(ConfigError, match="no axis 'colour'"):
        draw_look(1, ["colour"])


def test_looks_vary_in_what_is_asked_for_alone():
    looks = [draw_look(seed) for seed in range(60)]

    assert {look.language for look in looks} == set(LANGUAGES)
    assert {look.popup for look in looks} == {True, False}
    assert draw_look(7, []) == Look()
    only = [draw_look(seed, ["theme"]) for seed in range(60)]
    assert {(look.layout, look.language, look.banner) for look in only} == {
        ("standard", "en", False)
    }
    assert [look.theme for look in only] == [draw_look(seed, AXES).theme for seed in range(60)]


def test_a_third_site_is_one_folder_and_no_change_elsewhere(server, tmp_path, monkeypatch):
    folder = tmp_path / "notes"
    (folder / "templates").mkdir(parents=True)
    (folder / "static").mkdir()
    (folder / "schema.sql").write_text("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT);")
    (folder / "words.tsv").write_text("Hello\tHallo\tSalut\tHola\n")
    (folder / "templates" / "home.html").write_text("<h1>{{ _('Hello') }} {{ note }}</h1>")
    (folder / "site.py").write_text(
        "from pathlib import Path\n"
        "from agentgym.tasks.sites.contract import Goal, TaskTemplate\n"
        "from agentgym.tasks.sites.core import Site\n"
        "def fill(db, rng): db.execute('INSERT INTO notes VALUES (1, ?)', (rng.random(),))\n"
        "def home(visit): return visit.render('home.html', note=visit.value('SELECT 1'))\n"
        "def pages():\n"
        "    from agentgym.tasks.sites.web import Page, Pages\n"
        "    return Pages([Page('/', home)], lambda visit: {})\n"
        "class Read(TaskTemplate):\n"
        "    name, milestones, oracle, mutants, check = 'read', None, None, None, None\n"
        "    def setup(self, db, rng): return Goal('Read it', {})\n"
        "SITE = Site(\n"
        "    'notes', Path(__file__).parent, fill, lambda db, rng: None, (Read(),), pages\n"
        ")\n"
    )
    known = site_names()
    monkeypatch.setattr(sites, "__path__", [*sites.__path__, str(tmp_path)])

    assert site_names() == sorted([*known, "notes"])
    site = find_site("notes")
    _, browser = begin(server, site, site.templates[0], 0, Look(language="de"))

    assert "<h1>Hallo 1</h1>" in browser.html


# ---- who may see what


@every_site
@pytest.mark.parametrize("path", ["/", "/static/style.css", "/visit/banner", "/nowhere"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_session_nothing_is_answered(server, site, path, method):
    visit(server, site)

    for headers in ({}, {"x-session": ""}, {"x-session": "guess"}, {"cookie": "session=1"}):
        reply = ask(server, method, site.host, path, headers=headers)
        assert (reply.status, reply.body) == (403, b"no session")


@every_site
def test_a_session_that_was_dismissed_is_refused(server, site):
    _, browser = visit(server, site)

    server.dismiss(browser.token)
    server.dismiss(browser.token)

    assert ask(server, "GET", site.host, "/", headers={"x-session": browser.token}).status == 403


def test_a_session_is_for_its_own_site_and_host(server):
    shop, admin = (find_site(name) for name in ("shop", "admin"))
    _, browser = visit(server, shop)

    for host in (admin.host, "127.0.0.1:8080", "evil.test", ""):
        assert ask(server, "GET", host, "/", headers={"x-session": browser.token}).status == 404
    assert (
        ask(server, "GET", "shop.test:80", "/", headers={"x-session": browser.token}).status == 200
    )


def test_a_form_sent_from_another_site_is_refused(server):
    shop = find_site("shop")
    episode, browser = visit(server, shop)

    for origin in ("http://admin.test", "null", "http://shop.test.evil.test", "http://["):
        headers = {"x-session": browser.token, "origin": origin}
        assert ask(server, "POST", shop.host, "/product/5/wish", headers=headers).status == 403
    assert episode.changes() == []


@every_site
def test_tenants_do_not_see_what_others_do(server, site):
    one, first = visit(server, site)
    two, second = visit(server, site)
    before = second.html

    for step in one.oracle():
        first.do(step)
    second.open("/")

    assert one.changes() != []
    assert two.changes() == []
    assert second.html == before
    assert first.token != second.token
    assert len(first.token) >= 32


@every_site
def test_an_episode_leaves_the_databases_of_others_as_they_were(server, site):
    images = {number: make_image(site, number) for number in (0, 1)}
    episode, browser = visit(server, site, 1)

    browser.run(episode.oracle())

    for number, image in images.items():
        make_image.cache_clear()
        assert make_image(site, number) == image
    assert images[0] != images[1]


@every_site
def test_static_files_come_from_the_folder_of_the_site_alone(server, site):
    _, browser = visit(server, site)
    headers = {"x-session": browser.token}

    def get(path):
        return ask(server, "GET", site.host, path, headers=headers)

    assert get("/static/style.css").headers["content-type"].startswith("text/css")
    assert get("/static/site.js").status == 200
    for name in (
        *("../site.py", "..%2fsite.py", "%2e%2e/site.py", "....//site.py", "..\\site.py"),
        *("../../core.py", "/etc/hostname", "//etc/hostname", "site.py", ".", "", "style.css/"),
        *("style.css%00.js", "style.css\x00", "../schema.sql", "sub/../style.css", "STYLE.CSS"),
    ):
        reply = get(f"/static/{name}")
        assert reply.status in (404, 414), name
        assert b"import" not in reply.body
        assert b"CREATE TABLE" not in reply.body
    for path in ("/site.py", "/templates/base.html", "/words.tsv", "/schema.sql", "/static"):
        assert get(path).status == 404


@every_site
def test_every_link_of_every_page_leads_somewhere_and_no_page_tells_a_secret(server, site):
    episode, browser = visit(server, site, look=Look(injection=True))
    episode.template = site.templates[-1]
    secrets = (browser.token, "agentgym", "oracle", "milestone", "X-Session", "allowed_writes")
    todo, seen = ["/"], set()
    while todo and len(seen) < 150:
        path = todo.pop(0)
        if path in seen:
            continue
        seen.add(path)
        browser.open(path)
        assert browser.status == 200, path
        assert not [word for word in secrets if word.lower() in browser.html.lower()], path
        links = [one.attributes["href"] for one in browser.elements if one.role == "link"]
        todo += [link.partition("#")[0] for link in links if link.startswith("/")]

    assert len(seen) == 150


@every_site
def test_pages_may_load_and_send_to_their_own_site_alone(server, site):
    _, browser = visit(server, site)

    reply = ask(server, "GET", site.host, "/", headers={"x-session": browser.token})

    policy = reply.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "form-action 'self'" in policy
    assert "unsafe" not in policy
    assert reply.headers["cache-control"] == "no-store"
    assert not re.search(r"(src|href|action)=\"(https?:)?//", reply.text)


# ---- what visitors type


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7 * 7 }}"


def test_markup_in_the_data_of_the_shop_is_shown_as_text(server):
    shop = find_site("shop")
    episode, browser = visit(server, shop)
    with episode.db:
        episode.db.execute("UPDATE products SET name = ?, brand = ? WHERE id = 5", (EVIL, EVIL))
        episode.db.execute("UPDATE reviews SET title = ?, body = ?, author = ?", (EVIL,) * 3)
        episode.db.execute("UPDATE addresses SET label = ?", (EVIL,))

    for path in ("/product/5", "/search?q=script", f"/search?q={EVIL}", "/account"):
        browser.open(path.replace(" ", "%20").replace("#", ""))
        assert "<script>alert" not in browser.html
        assert "<img" not in browser.html
        assert "49" not in browser.html or path == "/product/5"
        assert "&lt;script&gt;" in browser.html


def test_markup_that_is_typed_into_the_back_office_is_shown_as_text(server):
    _, browser = visit(server, find_site("admin"))
    fields = {"name": EVIL, "email": "a@b.example", "role": "Agent", "team": "Sales"}

    browser.open("/staff/0", "POST", [*fields.items(), ("access", "Active")])

    assert browser.find("textbox", "Name").value == EVIL
    assert "<script>alert" not in browser.html
    browser.open("/staff/export")
    assert "<script>alert" not in browser.html


@every_site
def test_whatever_is_asked_for_is_answered(server, site):
    episode, browser = visit(server, site)
    headers = {"x-session": browser.token}
    huge = "9" * 40
    odd = (
        *(f"/product/{huge}", f"/orders/{huge}", f"/orders/{huge}/return/{huge}", "/product/0"),
        *("/product/-1", "/search?page=-3", f"/search?page={huge}", "/search?page=x&sort=drop"),
        *(
            "/search?category=nope",
            "/search?attribute%20x=y",
            "/search?max_price=1e9",
            "/orders?sort=;",
        ),
        *(
            "/products?sort=-",
            "/products?status=%00",
            "/products/0/export",
            "/customers/0",
            "/%ff%fe",
        ),
        *(
            "/?" + "&".join(f"a{n}=1" for n in range(500)),
            "/" + "a" * 9000,
            "/search?q=" + "%27%22;--",
        ),
        *("/orders/' OR 1=1", "//", "/.", "/..", "/visit/banner", "/search?" + "q=%F0%9F%A6%86"),
    )
    for path in odd:
        reply = ask(server, "GET", site.host, path, headers=headers)
        assert reply.status in (200, 303, 400, 404, 414), path
    for path in (*odd, "/cart/coupon", "/checkout", "/account", "/product/5/cart", "/products"):
        for body in (b"", b"\x00\xff=&&&=", b"quantity=-1&scope=matching", b"a=b" * 40_000):
            reply = ask(server, "POST", site.host, path, body, headers)
            assert reply.status in (200, 303, 400, 404, 414, 422), (path, body[:20])
    assert ask(server, "DELETE", site.host, "/", headers=headers).status == 405
    assert episode.changes() == []


def test_a_form_that_is_filled_in_wrongly_says_so_and_changes_nothing(server):
    episode, browser = visit(server, find_site("admin"))

    for fields, told in (
        ({"sku": "abc", "price": "12,5", "stock": "-1"}, "two capitals and four digits"),
        ({"sku": "AB-12345", "price": "1e3", "stock": "²"}, "an amount like 12.50"),
        ({"sku": "ＡＢ-1234", "price": "", "stock": "9" * 9}, "Please fill this in"),
    ):
        browser.open("/products/0", "POST", fields.items())
        assert browser.status == 422
        assert told in browser.html
        assert browser.find("textbox", "SKU").value == fields["sku"]
    assert episode.changes() == []


def test_more_than_there_is_cannot_be_bought(server):
    shop = find_site("shop")
    episode, browser = visit(server, shop)
    with episode.db:
        episode.db.execute("UPDATE products SET stock = 2 WHERE id = 5")
    choices = episode.db.execute("SELECT name, value FROM choices WHERE product_id = 5").fetchall()
    fields = {f"choice {name}": value for name, value in choices}

    browser.open("/product/5/cart", "POST", {**fields, "quantity": "3"}.items())

    assert browser.status == 422
    assert "Not available in this quantity." in browser.html
    assert episode.db.execute("SELECT count(*) FROM cart").fetchone()[0] == 0


def test_of_one_product_no_more_is_sold_in_all_its_options_than_there_is(server):
    episode, browser = visit(server, find_site("shop"))
    with episode.db:
        episode.db.execute("UPDATE products SET stock = 3 WHERE id = 5")
    rows = episode.db.execute("SELECT name, value FROM choices WHERE product_id = 5 ORDER BY id")
    choices = [(f"choice {name}", value) for name, value in rows]
    delivery = [("address", "1"), ("shipping", "Express"), ("payment", "Invoice")]

    for chosen in (choices, choices[::-1]):  # of the values of a field, the last counts
        browser.open("/product/5/cart", "POST", [*chosen, ("quantity", "2")])
    browser.open("/checkout", "POST", delivery)

    assert (browser.path, browser.status) == ("/checkout", 422)
    assert "Not available in this quantity." in browser.html
    browser.open("/cart/1", "POST", [("quantity", "1")])
    browser.open("/checkout", "POST", delivery)
    assert browser.path.startswith("/orders/")
    assert episode.db.execute("SELECT stock FROM products WHERE id = 5").fetchone()[0] == 0


def test_an_item_is_returned_from_its_own_order_alone(server):
    episode, browser = visit(server, find_site("shop"))
    sql = (
        "SELECT min(order_items.id), number FROM order_items JOIN orders ON orders.id = order_id "
        "WHERE orders.status = 'Delivered' GROUP BY number ORDER BY number"
    )
    (item, number), (_, other), *_ = episode.db.execute(sql)

    for method in ("GET", "POST"):
        browser.open(f"/orders/{other}/return/{item}", method, [("reason", "Damaged")])
        assert browser.status == 404
    assert episode.changes() == []
    for status in (200, 404):
        browser.open(f"/orders/{number}/return/{item}")
        assert browser.status == status
        browser.open(f"/orders/{number}/return/{item}", "POST", [("reason", "Damaged")])


@every_site
def test_what_interrupts_goes_away_when_answered_and_leads_back_to_the_page(server, site):
    episode, browser = visit(server, site, look=Look(banner=True, popup=True))
    page = "/search?q=lamp" if site.name == "shop" else "/orders?status=Paid"
    browser.open(page)
    assert 'role="dialog"' in browser.html

    browser.run(islice(episode.oracle(), 2))

    assert browser.path == page
    assert 'role="dialog"' not in browser.html
    assert 'class="banner"' not in browser.html
    assert episode.changes() == []
    for back in ("//evil.test/", "/\\evil.test", "https://evil.test", "javascript:alert(1)"):
        reply = ask(
            *(server, "POST", site.host, "/visit/popup", f"back={back}".encode()),
            headers={"x-session": browser.token},
        )
        assert (reply.status, reply.headers["location"]) == (303, "/")


@every_site
@pytest.mark.parametrize("path", ["/€", "/%0d%0aX:%20y", "/100%25"])
def test_what_interrupts_goes_away_on_a_page_of_any_address(server, site, path):
    episode, browser = visit(server, site, look=Look(popup=True))

    browser.open(path)
    browser.run([click("button", "No, thanks")])

    assert (browser.status, episode.faults) == (404, [])
    assert browser.path.isascii()
    assert 'role="dialog"' not in browser.html


def test_a_visitor_who_is_gone_before_the_form_has_come_is_no_fault_of_the_site(server):
    episode, browser = visit(server, find_site("shop"))

    async def gone():
        return {"type": "http.disconnect"}

    def serve(scope, receive, send):
        return server(scope, gone, send)

    ask(serve, "POST", "shop.test", "/account", headers={"x-session": browser.token})

    assert (episode.changes(), episode.faults) == ([], [])


# ---- what is graded, and what is said


def test_an_order_is_graded_as_webshop_grades_it(server):
    shop = find_site("shop")
    episode, browser = begin(server, shop, shop.find_template("buy"), 0)
    assert episode.check().parts == dict.fromkeys(shop.parts("buy"), 0.0)

    browser.run(episode.mutants()["another option"])
    judged = episode.check()

    asked = len(episode.params["attributes"]) + len(episode.params["chosen"]) + 1
    assert judged.score == 0.0
    assert judged.parts["webshop"] == pytest.approx((asked - 1) / asked)
    assert judged.parts["type"] == judged.parts["price"] == 1.0
    assert judged.parts["graded"] == judged.parts["webshop"]  # the rest is right


@pytest.mark.parametrize("seed", range(6))
def test_what_is_graded_is_whole_only_if_all_was_done(server, seed):
    shop = find_site("shop")
    buy = shop.find_template("buy")
    assert set(buy.parts) <= shop.parts() == shop.parts("buy")

    for name in ("another product", "another option", "two pieces"):
        episode, browser = begin(server, shop, buy, seed)
        browser.run(episode.mutants()[name])
        judged = episode.check()
        assert judged.parts.keys() <= set(buy.parts)
        assert 0 <= judged.parts["graded"] < 1, name
    episode, browser = begin(server, shop, buy, seed)
    browser.run(episode.oracle())
    assert episode.check().parts["graded"] == 1.0


def test_who_orders_several_products_is_graded_for_a_share_of_the_best(server):
    shop = find_site("shop")
    episode, browser = begin(server, shop, shop.find_template("buy"), 0)
    plans = [list(episode.oracle()), list(episode.mutants()["another option"])]
    paid = next(at for at, step in enumerate(plans[0]) if step.name == "Go to checkout")

    browser.run([*plans[1][:paid], *plans[0]])
    judged = episode.check()

    assert judged.why == "not met: of one product"
    assert judged.parts["webshop"] == 1.0
    assert judged.parts["graded"] < 0.5


@every_template
def test_damage_is_what_was_changed_besides(server, site, template):
    episode, browser = begin(server, site, template, 0)
    browser.run(episode.oracle())
    assert episode.damage() == []

    table, column = {"shop": ("categories", "name"), "admin": ("products", "minimum")}[site.name]
    episode.db.execute(f"UPDATE {table} SET {column} = '77' WHERE id = 4")
    assert [(one.table, one.id) for one in episode.damage()] == [(table, 4)]


@pytest.mark.parametrize("answer", ["4", " 4. ", "**4**", "4.0"])
def test_a_count_may_be_written_in_several_ways(answer):
    assert is_count(answer, 4)


@pytest.mark.parametrize(
    "answer", ["", "5", "4 or 5", "4, 5", "4 5", "4%", "-4", "4 orders?", "4/5"]
)
def test_a_count_is_one_number_and_nothing_else(answer):
    assert not is_count(answer, 4)


def test_an_amount_may_carry_its_sign_and_must_be_right_to_the_cent():
    for answer in ("1234.50", "$1,234.50", "1,234.5", "1234.50 dollars"):
        assert is_amount(answer, 123450)
    for answer in ("1234.51", "1234", "€1234.50", "123450", "1234.50 or 12", "1234.50%", ""):
        assert not is_amount(answer, 123450)


def said(folder: Path) -> set[str]:
    """Texts that the templates and handlers of a site translate."""
    found = set()
    for file in folder.rglob("*.html"):
        text = file.read_text()
        found |= set(re.findall(r'(?<![\w.])_\("([^"]+)"', text))
        found |= set(re.findall(r'forms\.(?:field|choice|area)\("([^"]+)"', text))
        found |= set(re.findall(r'blank="([^"]+)"', text))
    for file in set(folder.glob("*.py")) - set(folder.glob("data.py")):
        text = file.read_text()
        found |= set(re.findall(r'(?<!\w)words\(\s*"([^"]+)"', text))
        found |= set(re.findall(r'\.note\(\s*"([^"]+)"', text))
        found |= set(re.findall(r'[=,] "((?:Please|Give|This is|Not available)[^"]+\.)"', text))
    return found


@every_site
@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_all_that_a_site_says_is_translated(site, language):
    lines = [
        line.split("\t")
        for folder in (site.folder, core.HERE / "common")
        for line in (folder / "words.tsv").read_text(encoding="utf-8").splitlines()
    ]
    listed = {line[0] for line in lines}
    assert {len(line) for line in lines} == {len(LANGUAGES)}
    words = read_words(site.folder, language)

    assert said(site.folder) | said(core.HERE / "common") <= listed
    for text in listed:
        places = re.findall(r"\{\w+\}", text)
        assert sorted(re.findall(r"\{\w+\}", words(text))) == sorted(places), text
        assert words(text).strip()


@every_site
def test_every_field_and_button_has_a_name(server, site):
    episode, browser = visit(server, site, look=ALL_AT_ONCE)
    browser.run(episode.oracle())

    for html in browser.pages:
        browser.elements = list(Tree(html).root.walk())
        browser.labels = {
            one.attributes["for"]: one.text
            for one in browser.elements
            if one.tag == "label" and "for" in one.attributes
        }
        nameless = [
            one.attributes
            for one in browser.elements
            if one.role and one.attributes.get("type") != "hidden" and not browser.name(one)
            if one.attributes.get("aria-hidden") != "true"
        ]
        assert nameless == []
        ids = [one.attributes["id"] for one in browser.elements if "id" in one.attributes]
        assert len(ids) == len(set(ids))


@every_site
def test_strangers_give_orders_only_where_that_is_wanted(site):
    def texts(look):
        episode = Episode(site, site.templates[0], 0, look)
        table = {"shop": "reviews", "admin": "tickets"}[site.name]
        return [row["body"] for row in episode.db.execute(f"SELECT body FROM {table} ORDER BY id")]

    plain, injected = texts(Look()), texts(Look(injection=True))
    changed = [two for one, two in zip(plain, injected, strict=True) if one != two]

    assert len(changed) > 10
    assert all(
        "AI" in text or "SYSTEM" in text or "ssist" in text or "auto" in text for text in changed
    )


# ---- databases


@every_site
def test_a_database_is_restored_as_it_was(site, record_property):
    image = make_image(site, 0)
    times = []
    for _ in range(50):
        started = time.perf_counter()
        db = database.restore(image)
        times.append(time.perf_counter() - started)
        assert db.serialize() == image
        db.close()

    record_property("restore_ms", round(sorted(times)[25] * 1000, 4))


def test_a_write_is_a_change_only_while_it_differs():
    def make():
        db = sqlite3.connect(":memory:")
        db.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE TABLE visit (id)")
        db.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two')")
        db.commit()
        return database.restore(db.serialize())

    db, base = make(), make()
    database.watch(db, ["visit"])

    db.execute("INSERT INTO visit VALUES (1)")
    db.execute("UPDATE t SET a = 'uno' WHERE id = 1")
    db.execute("INSERT INTO t VALUES (3, 'three')")
    db.execute("DELETE FROM t WHERE id = 2")
    first = database.find_changes(db, base)
    db.execute("UPDATE t SET a = 'one' WHERE id = 1")
    db.execute("DELETE FROM t WHERE id = 3")
    db.execute("INSERT OR REPLACE INTO t VALUES (2, 'two')")
    db.execute("UPDATE t SET id = 9 WHERE id = 2")

    assert [(one.operation, one.id) for one in first] == [
        ("update", 1),
        ("delete", 2),
        ("insert", 3),
    ]
    assert first[0].columns == {"a"}
    moved = database.find_changes(db, base)
    assert [(one.operation, one.id) for one in moved] == [("delete", 2), ("insert", 9)]


def test_what_a_task_may_write_is_told_by_table_row_and_column():
    (any_row,) = database.inserts("orders")
    (one_row,) = database.updates("orders", [3], "status")
    update = database.Change("orders", 3, {"id": 3, "status": "a"}, {"id": 3, "status": "b"})
    wider = database.Change("orders", 3, {"status": "a", "n": 1}, {"status": "b", "n": 2})

    assert any_row.covers(database.Change("orders", 8, None, {"id": 8}))
    assert not any_row.covers(update)
    assert one_row.covers(update)
    assert not one_row.covers(wider)
    assert not one_row.covers(database.Change("orders", 4, update.before, update.after))
    assert not one_row.covers(database.Change("staff", 3, update.before, update.after))


def test_replacing_a_row_is_logged_too():
    """`INSERT OR REPLACE` deletes without a trigger's notice unless recursive triggers are on."""
    db = sqlite3.connect(":memory:")
    db.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE)")
    db.execute("INSERT INTO t VALUES (1, 'x')")
    db.commit()
    image = db.serialize()
    db, base = database.restore(image), database.restore(image)
    database.watch(db)

    db.execute("INSERT OR REPLACE INTO t VALUES (2, 'x')")

    changes = database.find_changes(db, base)
    assert [(one.operation, one.id) for one in changes] == [("delete", 1), ("insert", 2)]
