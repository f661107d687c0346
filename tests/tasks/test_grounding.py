"""Labelled screenshots of our own sites: what is drawn, what is said, and that it is so."""

from __future__ import annotations

import functools
import io
import json
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from browsing import need_browser
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agentgym import cli
from agentgym.errors import ConfigError, TaskError
from agentgym.sandboxes import host as hosts
from agentgym.tasks import grounding, grounding_pages
from agentgym.tasks.grounding_pages import Element, Screenshot, pages_of, shoot
from agentgym.tasks.grounding_words import NOUNS, ORDINALS, instruct, refer
from agentgym.tasks.sites import web
from agentgym.tasks.sites.core import find_site, site_names


@pytest.fixture(scope="module")
def browser():
    need_browser()


# ---- instructions, read by somebody else

NUMBER = {name: place for place, name in enumerate(ORDINALS, 1)}
SAID = re.compile(
    r'[A-Z][a-z ]+? (?:"(?P<bare>[^"]+)"|the (?:(?P<place>\w+) )?"(?P<label>[^"]+)" '
    rf"(?P<noun>{'|'.join(NOUNS.values())})"
    r'(?: in the (?P<part>row of|item with) "(?P<piece>[^"]+)")?'
    r"(?:, counted from the (?P<axis>top|left))?)"
)
"""How an instruction may read."""
ROLES = {noun: role for role, noun in NOUNS.items()}
PRESSED = {"link", "button", "tab", "menuitem"}


def alike(one, other):
    return " ".join(one.lower().split()) == " ".join(other.lower().split())


def meant(instruction, screen):
    """Everything on a screen that somebody may take an instruction to mean."""
    said = SAID.fullmatch(instruction)
    assert said, instruction
    label = said["bare"] or said["label"]
    found = [e for e in screen.elements if alike(e.label, label) or alike(e.name, label)]
    if said["noun"]:
        role = ROLES[said["noun"]]
        pressed = role in PRESSED
        found = [e for e in found if e.role == role or (pressed and e.role in PRESSED)]
    elif any(alike(text, label) for text in screen.texts):
        found.append(None)
    if said["piece"]:
        found = [e for e in found if any(alike(piece, said["piece"]) for piece in e.pieces)]
    if said["place"]:
        side = {"left": 0, "top": 1}[said["axis"]]
        found.sort(key=lambda e: e.box[side])
        starts = [e.box[side] for e in found]
        assert len(set(starts)) == len(starts), "which comes first can be seen"
        found = [found[NUMBER[said["place"]] - 1]]
    return found


labels = st.sampled_from(["Edit", "edit", "Delete", "Save", "Ada", "Bo", 'a "b"', ""])


@st.composite
def screens(draw):
    """Rows of elements whose labels repeat."""
    elements = []
    for row in range(draw(st.integers(1, 5))):
        pieces = draw(st.lists(st.sampled_from(["Ada", "Bo", "Cy", "Edit"]), max_size=3))
        for column in range(draw(st.integers(1, 4))):
            left, top = 100 * column, 50 * row + draw(st.sampled_from([0, 0, 30]))
            label, name = draw(labels), draw(labels)
            role = draw(st.sampled_from(["link", "button", "checkbox", "textbox", "clickable"]))
            elements.append(
                Element(
                    role, label, name, (left, top, left + 80, top + 20),
                    draw(st.booleans()), "text", row + 1, "row", pieces, draw(st.booleans()),
                )
            )  # fmt: skip
    texts = tuple(draw(st.lists(labels, max_size=2)))
    return Screenshot("shop", "/", b"", (500, 300), tuple(elements), texts)


@given(screens(), st.integers(0, 9))
def test_an_instruction_means_one_element_or_is_not_given(screen, seed):
    for target in screen.elements:
        reference = refer(target, screen, random.Random(seed))
        if reference is not None:
            said = instruct(reference, target.role, random.Random(seed))
            assert meant(said, screen) == [target], said


def element(label, box, pieces=(), part=0, role="button", **more):
    told = {"name": label, "whole": True, "kind": "text", "part_kind": "row" if part else ""}
    return Element(
        role=role, label=label, box=box, pieces=pieces, part=part, twin=False, **{**told, **more}
    )


def said_of(target, *others, texts=()):
    """Every instruction that may be given for an element."""
    screen = Screenshot("shop", "/", b"", (500, 300), (target, *others), texts)
    found = (refer(target, screen, random.Random(seed)) for seed in range(20))
    return {str(reference) for reference in found if reference is not None}


def test_what_has_its_name_alone_is_meant_by_name():
    save = element("Save", (0, 0, 50, 20))
    assert said_of(save) == {'"Save"', 'the "Save" button'}
    assert said_of(save, texts=("save",)) == {'the "Save" button'}
    assert said_of(save._replace(role="checkbox")) == {'the "Save" checkbox'}
    assert said_of(save._replace(twin=True)) == {'the "Save" button'}


def test_what_looks_alike_is_told_apart_by_its_row_or_its_place():
    first, second = element("Edit", (0, 0, 50, 20)), element("Edit", (0, 30, 50, 50))
    counted = {'the first "Edit" button, counted from the top'}
    assert said_of(first, second) == counted
    ada = first._replace(pieces=["Ada", "Edit"], part=1, part_kind="row")
    bo = second._replace(pieces=["Bo", "Edit"], part=2, part_kind="row")
    assert said_of(ada, bo) == {*counted, 'the "Edit" button in the row of "Ada"'}
    items = ada._replace(part_kind="item"), bo._replace(part_kind="item", pieces=["Ada"])
    assert said_of(*items) == counted


def test_what_cannot_be_told_apart_is_no_target():
    one, other = element("Edit", (0, 0, 50, 20)), element("Edit", (20, 10, 70, 30))
    assert said_of(one, other) == set()
    covered = other._replace(box=(0, 30, 50, 50), whole=False)
    assert said_of(one, covered) == set()
    assert said_of(one, element("Other", (0, 30, 50, 50), name="edit")) == set()
    assert said_of(one, element("Edit", (0, 30, 50, 50), role="link")) == set()
    assert said_of(element("Edit", (0, 0, 50, 20), role="clickable")) == set()
    assert said_of(element('6" pipe', (0, 0, 50, 20))) == set()


def test_a_field_is_not_taken_for_the_link_of_the_same_name():
    link, field = element("Name", (0, 0, 9, 9), role="link"), element("Name", (0, 20, 9, 29))
    assert said_of(link, field._replace(role="textbox")) == {'the "Name" link'}


# ---- screens, by the seed


@pytest.mark.parametrize("name", site_names())
def test_the_pages_of_a_site_are_found_by_its_links(name):
    pages = pages_of(find_site(name), 0)
    assert pages[0] == "/"
    assert len(set(pages)) == len(pages) >= 10
    assert not [path for path in pages if path.startswith("/static/")]
    pages_of.cache_clear()
    assert pages_of(find_site(name), 0) == pages
    assert pages_of(find_site(name), 1_000_001) != pages, "another split, other data"


def test_a_seed_gives_the_same_screen_whatever_was_shown_before(browser):
    first = shoot("shop", 5)
    for seed in (6, 7, 8):  # other sizes, other looks
        shoot("admin", seed)
    camera = grounding_pages._Camera()
    anew = camera.shoot(grounding_pages._draw(find_site("shop"), 5))
    camera.close()
    assert first == shoot("shop", 5) == anew
    assert Image.open(io.BytesIO(first.png)).size == first.size


def test_screens_that_are_taken_at_once_are_served_by_one(browser, monkeypatch):
    class Slow(web.Server):
        def __init__(self):
            time.sleep(0.3)
            super().__init__()

    alone = [shoot("shop", seed) for seed in (5, 6)]
    grounding.put_away()
    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(web, "Server", Slow)
        patch.setattr(grounding_pages, "_stages", [])
        assert list(pool.map(functools.partial(shoot, "shop"), (5, 6))) == alone
    grounding.put_away()


def test_a_screen_is_taken_after_the_browser_was_closed_too(browser):
    camera = grounding_pages._Camera()
    first = camera.shoot(grounding_pages._draw(find_site("shop"), 5))
    camera.host.run_now(camera._session.context.browser.close(), 30, "closing")
    assert camera.shoot(grounding_pages._draw(find_site("shop"), 5)) == first
    camera.close()


def test_sites_that_are_played_meanwhile_are_left_alone(browser):
    async def played(scope, receive, send):
        raise AssertionError

    apps = hosts.host().server.apps
    before = apps.get("shop.test")
    hosts.host().serve("shop.test", played)
    try:
        assert shoot("shop", 5).elements
        assert apps["shop.test"] is played
    finally:
        apps.pop("shop.test")
        if before is not None:
            apps["shop.test"] = before


def test_screens_differ_in_size_page_language_and_place(browser):
    scenes = [grounding_pages._draw(find_site("shop"), seed) for seed in range(60)]
    assert {scene.viewport for scene in scenes} == set(grounding_pages.VIEWPORTS)
    looks = [scene.episode.look for scene in scenes]
    assert len({look.theme for look in looks}) == 4
    assert len({look.language for look in looks}) == 4
    assert len({scene.path for scene in scenes}) > 15
    assert len({scene.down for scene in scenes}) > 10


FIND = """((label, piece, noun, place, side) => {
  const squeeze = (text) => (text || "").replace(/\\s+/g, " ").trim().toLowerCase();
  const kinds = {
    "text field": "input:not([type]), input[type=text], input[type=email], input[type=tel], " +
      "textarea",
    "search field": "input[type=search]", "number field": "input[type=number]",
    "drop-down list": "select", "checkbox": "input[type=checkbox]",
    "radio button": "input[type=radio]", "date field": "input[type=date]",
    "password field": "input[type=password]",
  };
  const pressed = "a[href], button, summary, [role=button], [role=link], [role=tab], " +
    "input[type=submit], input[type=button], input[type=reset]";
  const all = `${pressed}, input, select, textarea`;
  let found = [...document.querySelectorAll(noun ? kinds[noun] || pressed : all)];
  found = found.filter((e) => {
    const box = e.getBoundingClientRect();
    const hidden = e.closest("[aria-hidden=true]");
    return e.checkVisibility({ visibilityProperty: true }) && !hidden && box.width && box.height &&
      box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
  });
  found = found.filter((e) => {
    const field = e.matches("input:not([type=submit]), select, textarea");
    const names = [e.getAttribute("aria-label"), e.title, e.placeholder, e.alt,
      ...(e.labels ? [...e.labels].map((l) => l.innerText) : [])];
    names.push(field ? "" : e.innerText || e.value);
    return names.map(squeeze).includes(squeeze(label));
  });
  if (!noun) {  // nothing else may read so
    for (const e of document.body.querySelectorAll(":not(:has(*))")) {
      const box = e.getBoundingClientRect();
      if (e.checkVisibility({ visibilityProperty: true }) && box.bottom > 0 && box.width > 1 &&
          box.top < innerHeight && squeeze(e.innerText) === squeeze(label) &&
          !e.closest("option") && !found.some((other) => other.contains(e))) found.push(e);
    }
  }
  if (piece) {
    found = found.filter((e) => {
      const part = e.closest("tr, li, article");
      return part && part.innerText.split(/[\\n\\t]+/).map(squeeze).includes(squeeze(piece));
    });
  }
  const start = (e) => e.getBoundingClientRect()[side];
  if (place) found = [found.sort((a, b) => start(a) - start(b))[place - 1]];
  window.__meant = found;
  return found.map((e) => {
    const box = e.getBoundingClientRect();
    return [box.left, box.top, box.right, box.bottom];
  });
})"""
LISTEN = """(() => {
  window.__hit = [];
  for (const kind of ["pointerdown", "mousedown", "click"]) {
    addEventListener(kind, (event) => {
      if (kind === "pointerdown") window.__hit.push(event.target);
      event.preventDefault();
      event.stopImmediatePropagation();
    }, true);
  }
  return true;
})()"""
RECEIVED = """(() => {
  const [meant] = window.__meant, hit = window.__hit.pop();
  const label = hit && hit.closest("label");
  return !!hit && (meant === hit || meant.contains(hit) || !!label && label.control === meant);
})()"""


def audit(site, seed):
    """Look every target of a screen up on the page itself, by its instruction, and click on it."""
    camera = grounding_pages._Camera()
    camera.shoot(grounding_pages._draw(find_site(site), seed))
    session = camera._session
    targets = grounding.labelled(site, seed).targets

    async def work():
        await session.evaluate(LISTEN)
        for instruction, target in targets:
            said = SAID.fullmatch(instruction)
            given = [
                said["bare"] or said["label"], said["piece"], said["noun"],
                NUMBER.get(said["place"] or ""), said["axis"] or "top",
            ]  # fmt: skip
            found = await session.evaluate(f"{FIND}(...{json.dumps(given)})")
            assert len(found) == 1, (site, seed, instruction, found)
            offsets = np.array(target.box) - found[0]
            assert (offsets[:2] >= 0).all(), (instruction, target.box, found)
            assert (offsets[2:] <= 0).all(), (instruction, target.box, found)
            assert (np.abs(offsets) < 1).all(), (instruction, target.box, found)
            left, top, right, bottom = target.box
            await session.page.page.mouse.click((left + right) / 2, (top + bottom) / 2)
            assert await session.evaluate(RECEIVED), (site, seed, instruction)

    try:
        camera.host.run_now(work(), 120, "audit")
    finally:
        camera.close()
    return len(targets)


def test_each_instruction_means_one_element_of_the_page_which_gets_the_click_at_its_centre(browser):
    checked = 0
    for seed in (3, 20, 41, 42):
        checked += sum(audit(site, seed) for site in site_names()[:2])
    assert checked >= 100


@pytest.mark.slow
def test_a_thousand_instructions_mean_one_element_each(browser):
    checked, seed = 0, 100
    while checked < 1000:
        checked += sum(audit(site, seed) for site in site_names())
        seed += 1


# ---- examples


def test_eight_seeds_in_a_row_share_a_screen(browser):
    first = [grounding.draw("shop", 2_000_000 + seed) for seed in range(8)]
    assert len({example.image for example in first}) == 1
    assert len({(example.instruction, example.box) for example in first}) == 8
    assert grounding.draw("shop", 2_000_008).image != first[0].image
    for example in first:
        assert example.box in example.elements
        assert example.kind in ("text", "icon")
        assert example.source == "shop"


@pytest.mark.parametrize("split", grounding.FIRST_SEED)
def test_tasks_are_listed_and_found_by_split(split):
    sites = ["admin", "shop"]
    known = grounding.listed(split, sites)
    first = grounding.FIRST_SEED[split]
    assert known[0] == f"admin:seed={first}"
    assert len(known) == len(set(known)) == 800
    assert grounding.find(known[-1], split, sites) == ("shop", first + 399)
    assert grounding.find(f"shop:seed={first + 999_999}", split, sites)[1] == first + 999_999
    for bad in ("", "shop", f"shop:seed={first + 1_000_000}", "shop:seed=-1", "shop:seed=01"):
        with pytest.raises(TaskError, match="no task"):
            grounding.find(bad, split, sites)
    with pytest.raises(TaskError, match="did you mean 'shop'"):
        grounding.find("shpo:seed=0", split, sites)


# ---- sets on disk


@pytest.fixture(scope="module")
def made(tmp_path_factory, browser):
    folder = tmp_path_factory.mktemp("sets") / "set"
    assert grounding.make(folder, count=60, seed=4) == 60
    return folder


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_set_is_in_the_form_of_screenspot(made):
    """As the authors' own script reads it: pictures by name, left, top, width and height."""
    rows = json.loads((made / "screenspot_web.json").read_text())
    assert len(rows) == 60
    for row in rows:
        with Image.open(made / "images" / row["img_filename"]) as picture:
            left, top, width, height = row["bbox"]
            assert 0 <= left < left + width <= picture.width
            assert 0 <= top < top + height <= picture.height
        assert row["instruction"]
        assert row["data_type"] in ("text", "icon")
        assert row["data_source"] in site_names()
    assert {row["data_type"] for row in rows} == {"text", "icon"}


def test_our_own_reader_gives_what_was_drawn(made):
    rows = json.loads((made / "screenspot_web.json").read_text())
    for row, example in zip(rows, grounding.load(made), strict=True):
        left, top, width, height = row["bbox"]
        assert example.box == (left, top, left + width, top + height)
        assert (example.instruction, example.kind) == (row["instruction"], row["data_type"])
        assert example.read() == (made / "images" / row["img_filename"]).read_bytes()
        assert example.box in example.elements


def test_the_same_arguments_give_the_same_files(made, tmp_path):
    grounding.labelled.cache_clear()
    grounding.make(tmp_path / "again", count=60, seed=4)
    assert content(tmp_path / "again") == content(made)
    grounding.make(tmp_path / "other", count=5, seed=5)
    other = json.loads((tmp_path / "other" / "screenspot_web.json").read_text())
    assert other != json.loads((made / "screenspot_web.json").read_text())[:5]


def test_a_set_that_was_cut_short_is_resumed_to_the_same_files(made, tmp_path):
    folder = tmp_path / "set"
    grounding.make(folder, count=20, seed=4)
    journal = folder / grounding.JOURNAL
    journal.write_bytes(journal.read_bytes() + b'{"screen": 99, "rows": [{"img')  # it was killed
    (folder / "screenspot_web.json").unlink()
    grounding.make(folder, count=60, seed=4, resume=True)
    assert content(folder) == content(made)
    assert grounding.make(folder, count=60, seed=4, resume=True) == 0
    assert content(folder) == content(made)


def test_new_targets_are_those_that_the_set_did_not_have_before(tmp_path, browser):
    """Screens come whole: more is noted than the set holds."""
    assert grounding.make(tmp_path / "set", count=3, seed=4) == 3
    assert grounding.make(tmp_path / "set", count=5, seed=4, resume=True) == 2
    assert grounding.make(tmp_path / "set", count=60, seed=4, resume=True) == 55
    assert grounding.make(tmp_path / "set", count=10, seed=4, resume=True) == 0
    assert grounding.make(tmp_path / "set", count=4, seed=4, force=True) == 4


def test_what_is_in_the_folder_is_never_overwritten_unasked(made, tmp_path):
    before = content(made)
    with pytest.raises(ConfigError, match="is not empty: give --resume to go on"):
        grounding.make(made, count=60, seed=4)
    with pytest.raises(ConfigError, match="is another one: seed was 4; give the same, or --force"):
        grounding.make(made, count=60, seed=5, resume=True)
    assert content(made) == before
    (tmp_path / "mine.txt").write_text("mine")
    for how in ({"force": True}, {"resume": True}):
        with pytest.raises(ConfigError, match="holds no set that was made here"):
            grounding.make(tmp_path, count=1, **how)
    assert content(tmp_path) == {(tmp_path / "mine.txt").relative_to(tmp_path): b"mine"}
    with pytest.raises(ConfigError, match="is a file: give a folder"):
        grounding.make(tmp_path / "mine.txt", count=1)


def test_a_set_can_be_replaced_and_what_is_not_of_it_stays(tmp_path, browser):
    grounding.make(tmp_path, count=3, seed=1, sites=["shop"])
    (tmp_path / "images" / "mine.png").write_bytes(b"mine")
    before = set(content(tmp_path))
    grounding.make(tmp_path, count=3, seed=2, sites=["shop"], force=True)
    after = content(tmp_path)
    assert after[next(p for p in after if p.name == "mine.png")] == b"mine"
    assert len(after) == len(before)
    assert set(after) != before


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"count": 0}, "count is 0"),
        ({"seed": -1}, "seed -1"),
        ({"split": "dev"}, "split is 'dev': give train, valid, test"),
        ({"sites": ["shpo"]}, "no site 'shpo'; did you mean 'shop'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_made(tmp_path, wrong, told):
    with pytest.raises(ConfigError, match=told):
        grounding.make(tmp_path / "set", **{"count": 1, **wrong})
    assert not (tmp_path / "set").exists()


def test_the_command_makes_a_set_and_says_how_it_went(tmp_path, capsys, browser):
    args = ["tasks", "make", "grounding", "--count", "5", "--out", str(tmp_path / "set")]
    assert cli.main([*args, "--site", "shop", "--split", "test"]) == 0
    assert "5 targets, 5 of them new" in capsys.readouterr().out
    assert cli.main([*args, "--site", "shop", "--split", "test"]) != 0
    assert "is not empty" in capsys.readouterr().err
    assert cli.main([*args, "--site", "shop", "--split", "test", "--resume", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["targets"], told["made"]) == (5, 0)
    assert cli.main(["tasks", "make", "grounding", "--count", "5"]) != 0
    assert "Give --out, a folder" in capsys.readouterr().err
    assert cli.main(["tasks", "make", "guonding", "--out", "x"]) != 0
    assert "there are swe and grounding" in capsys.readouterr().err
