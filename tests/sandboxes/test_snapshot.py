"""What is read of a page, and how it is written: roles, names, states, boxes, frames, budgets."""

from __future__ import annotations

import asyncio
import io
import json
import time

import numpy as np
import pytest
from browsing import SITE, browse, need_browser

from agentgym.errors import ConfigError, InvalidAction
from agentgym.sandboxes import picture
from agentgym.sandboxes.render import VIEWS, render
from agentgym.sandboxes.serving import respond


@pytest.fixture(autouse=True)
def _browser():
    need_browser()


FORM = """
<title>Sign up</title><h1>Join us</h1>
<form aria-label="Sign up">
  <label>Name <input value="Ada" required></label>
  <label for=p>Password</label><input id=p type=password value=abc>
  <label><input type=checkbox checked> News</label>
  <label><input type=radio name=r> Weekly</label>
  <select aria-label=Country><option>France<option selected>Spain</select>
  <textarea placeholder="About you"></textarea>
  <button disabled>Send</button> <a href="/help">Help</a>
</form>
<div style="display:none">hidden</div><p style="visibility:hidden">unseen</p>
<p>Plain <b>bold</b> text.</p><img alt="A cat" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">
"""


def test_roles_names_values_and_states_are_read():
    with browse(FORM) as driver:
        assert driver.text().splitlines() == [
            'heading "Join us"',
            'form "Sign up"',
            '  [1] textbox "Name" value="Ada" required',
            '  [2] password "Password" value="•••"',
            '  [3] checkbox "News" checked',
            '  [4] radio "Weekly"',
            '  [5] combobox "Country" value="Spain"',
            '    option "France"',
            '    option "Spain" selected',
            '  [6] textbox "About you"',
            '  [7] button "Send" disabled',
            '  [8] link "Help"',
            'text "Plain bold text."',
            'img "A cat"',
        ]
        page = driver.then("click(3)")
        assert "checked" not in page.row(3).states
        assert "focused" in page.row(3).states
        assert page.focused == 3
        assert page.title == "Sign up"


def test_texts_are_read_as_they_are_seen():
    page = """<p>extra<wbr>ordinary <script>1</script><style>p{}</style>word</p>
    <p>one<br>two</p><p>sal<span>am</span>ander</p><p onclick="1">A line that can be clicked</p>"""
    with browse(page) as driver:
        assert driver.text().splitlines() == [
            'text "extraordinary word"',
            'text "one two"',
            'text "salamander"',
            '[1] text "A line that can be clicked"',
        ]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_shows_every_name_and_number(view):
    with browse(FORM) as driver:
        text = render(driver.look(), view)
        for part in ("Join us", "Name", "Ada", "News", "Spain", "Send", "Help", "Plain bold text."):
            assert part in text, part
        for number in range(1, 9):
            assert f"[{number}]" in text or f'id="{number}"' in text


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_says_where_elements_are(view):
    with browse(FORM) as driver:
        page = driver.look()
        lines = render(page, view, boxes=True).splitlines()
        numbered = [row for row in page.rows if row.id]
        assert sum(" @" in line for line in lines) == len(numbered) == 8


def test_an_unknown_view_is_refused():
    with browse("x") as driver, pytest.raises(ConfigError, match="did you mean 'tree'"):
        render(driver.look(), "trees")


def test_boxes_to_tick_with_a_look_of_their_own_are_shown_by_their_labels():
    page = """<style>input { opacity: 0; position: absolute }</style>
    <label><input type=checkbox> I accept the <a href=/terms>terms of use of this site</a></label>
    <input id=a type=radio name=r style="display:none"><label for=a></label><label for=a>Red</label>
    <label>Photo <input type=file></label>"""
    with browse(page) as driver:
        assert driver.text().splitlines() == [
            '[1] checkbox "I accept the terms of use of this site"',
            '  [2] link "terms of use of this site"',
            '[3] radio "Red"',
            '[4] file "Photo"',
        ]
        driver.do("click(1)\nclick(3)")
        page = driver.look()
        assert driver.evaluate("location.pathname") == "/"
        assert [[s for s in page.row(n).states if s != "focused"] for n in (1, 3)] == [
            ["checked"],
            ["checked"],
        ]
        assert "checked" not in driver.then("check(1, on=false)").row(1).states


def test_labels_of_lists_that_are_hidden_are_text():
    page = "<label for=s>Country</label><select id=s style='display:none'><option>A</select>"
    with browse(page) as driver:
        assert driver.text() == 'text "Country"'


def test_what_is_in_something_transparent_is_not_read():
    with browse(
        "<div style='opacity:0'><p>Unseen</p><button>Nor this</button></div>Seen"
    ) as driver:
        assert driver.text() == 'text "Seen"'


def test_drawings_and_pictures_are_named_by_their_titles():
    drawing = "<svg width=9 height=9><title>{}</title><rect width=9 height=9 /></svg>"
    picture = "<img title=Map src='data:image/gif;base64,R0lGODlhAQABAAAAACw=' width=9 height=9>"
    page = (
        f"<button>{drawing.format('Close')}</button><a href=/>{picture}</a>{drawing.format('Plan')}"
    )
    with browse(page) as driver:
        assert driver.text().splitlines() == [
            '[1] button "Close"',
            '  img "Close"',
            '[2] link "Map"',
            '  img "Map"',
            'img "Plan"',
        ]


def test_values_and_states_are_said_as_they_are_meant():
    page = """<p role=slider tabindex=0 aria-label=Size aria-valuenow=2 aria-valuetext=Medium>x</p>
    <p role=checkbox tabindex=0 aria-checked=mixed>All</p><meter value=0.5>not shown</meter>
    <button style="pointer-events:none">Dead</button>"""
    with browse(page) as driver:
        assert driver.text().splitlines() == [
            '[1] slider "Size" value="Medium"',
            '  text "x"',
            '[2] checkbox "All" mixed',
            'meter value="0.5"',
            '[3] button "Dead" covered',
        ]


def test_text_that_could_pass_for_something_else_is_quoted():
    with browse(
        '<p>[7] button "Pay" \\ &lt;b></p><button aria-label=\'say "hi"\'></button>'
    ) as driver:
        text = driver.text()
        assert 'text "[7] button \\"Pay\\" \\\\ <b>"' in text
        assert 'button "say \\"hi\\""' in text
        assert "&lt;b&gt;" in render(driver.look(), "html")


SHADOW = """
<div id=host></div><script>
  const root = host.attachShadow({mode: "open"});
  root.innerHTML = "<button>Inside</button><slot></slot>";
  root.querySelector("button").onclick = (e) => { e.target.textContent = "Clicked" };
  host.innerHTML = "<a href=/x>Slotted</a>";
</script>
"""


def test_shadow_trees_are_read_and_acted_on():
    with browse(SHADOW) as driver:
        assert 'link "Slotted"' in driver.text()
        assert next(driver.then(f"click({driver.id('Inside')})").find("button", "Clicked"))


FRAMES = {
    "/": '<h1>Outer</h1><div style="height:90px"></div><iframe src=/mid width=400 height=300'
    ' style="border:5px solid;padding:3px"></iframe>',
    "/mid": '<body style="margin:0"><p>Middle</p><iframe src="http://other.test/in" width=300'
    ' height=150></iframe>',
    "/in": "<body style='margin:0'><button onclick=\"this.textContent='hit'\">Deep</button>"
    "<div style='height:500px'></div><button onclick=\"this.textContent='low hit'\">Low</button>",
}  # fmt: skip


def test_frames_are_merged_with_boxes_of_the_page_and_can_be_acted_on():
    with browse(FRAMES, hosts=(SITE, "other.test")) as driver:
        driver.host.serve("other.test", driver.site)
        driver.goto()
        page = driver.look()
        roles = [(row.role, row.name) for row in page.rows]
        assert roles == [
            ("heading", "Outer"),
            ("iframe", ""),
            ("text", "Middle"),
            ("iframe", ""),
            ("button", "Deep"),
            ("button", "Low"),
        ]
        depths = [row.depth for row in page.rows]
        assert depths == sorted(depths)
        deep = next(page.find("button", "Deep"))
        outer, inner = page.find("iframe")
        assert outer.box[0] + 8 == inner.box[0]
        assert inner.box[1] <= deep.box[1] <= inner.box[1] + 10
        assert next(driver.then(f"click({deep.id})").find("button", "hit")).id == deep.id
        low = next(driver.look().find("button", "Low"))
        assert next(driver.then(f"click({low.id})").find("button", "low hit"))


def test_frames_show_what_is_in_view_of_the_page_around_them():
    pages = {
        "/": "<p style='height:450px'>Above</p><iframe src=/in style='height:300px'></iframe>",
        "/in": "<button>Near</button><p style='height:150px'></p><button>Far</button>"
        "<select><option>One</option></select>",
    }
    with browse(pages) as driver:
        near, far = (next(driver.look().find("button", name)) for name in ("Near", "Far"))
        assert near.in_view
        assert near.hit
        assert not far.in_view
        shown = [row.name for row in driver.look(viewport=True).rows]
        assert "Near" in shown
        assert "Far" not in shown
        driver.do(f"click({far.id})")
        assert next(driver.look().find("button", "Far")).in_view


def test_what_lies_over_a_frame_covers_what_is_in_it():
    pages = {
        "/": "<iframe src=/in></iframe>"
        "<div style='position:fixed;left:0;top:0;width:600px;height:50px'>Over</div>",
        "/in": "<button>High</button><p style='height:40px'></p><button>Low</button>",
    }
    with browse(pages) as driver:
        high, low = driver.look().find("button")
        assert high.in_view
        assert not high.hit
        assert low.hit
        with pytest.raises(InvalidAction, match="is covered"):
            driver.do(f"click({high.id})")
        driver.do(f"click({low.id})")


@pytest.mark.parametrize("host", ["", "http://other.test"])
def test_an_element_is_brought_into_view_in_all_the_pages_around_it(host):
    pages = {
        "/": "<div style='height:300px'></div><div style='height:500px;overflow:auto' tabindex=0>"
        f"<iframe src={host}/mid width=400 height=3000></iframe></div>",
        "/mid": "<div style='height:1900px'></div><iframe src=/in width=300 height=900></iframe>",
        "/in": "<p style='height:800px'></p><button onclick=\"this.textContent='Hit'\">Go</button>",
    }
    with browse(pages, hosts=(SITE, "other.test")) as driver:
        driver.host.serve("other.test", driver.site)
        driver.goto()
        for _ in range(5):
            driver.do(f"scroll('down', id={driver.look().rows[0].id})")
        button = next(driver.look().find("button", "Go"))
        assert not button.in_view
        assert next(driver.then(f"click({button.id})").find("button", "Hit")).in_view


def test_an_element_is_brought_out_from_under_a_bar_that_stays():
    page = """<div style="position:fixed;top:0;left:0;right:0;height:60px">Bar</div>
    <div style="height:400px"></div><button onclick="this.textContent='Hit'">Go</button>
    <div style="height:2000px"></div>"""
    with browse(page) as driver:
        button = next(driver.then("scroll(380)").find("button"))
        assert button.in_view
        assert not button.hit
        assert next(driver.then(f"click({button.id})").find("button")).name == "Hit"


def test_framesets_are_read():
    pages = {"/": "<frameset cols='50%,50%'><frame src=/a><frame src=/b></frameset>"}
    with browse({**pages, "/a": "<p>Left", "/b": "<a href=/>Right</a>"}) as driver:
        assert driver.text().splitlines() == [
            "[1] frame",
            '  text "Left"',
            "[2] frame",
            '  [3] link "Right"',
        ]


def test_what_a_scrolling_list_cuts_off_is_out_of_view_until_it_is_clicked():
    links = "".join(
        f"<li><a href='#' onclick='document.title = {i}'>Item {i}.</a>" for i in range(15)
    )
    page = f"<ul style='height:70px;overflow:auto'>{links}</ul><div style='height:90px'>Below</div>"
    with browse(page) as driver:
        first, late = (next(driver.look().find("link", f"Item {i}.")) for i in (1, 12))
        assert (first.in_view, first.hit) == (True, True)
        assert (late.in_view, late.hit) == (False, False)
        after = driver.then(f"click({late.id})")
        assert after.title == "12"
        assert after.row(late.id).hit
        assert not after.row(first.id).in_view


@pytest.mark.parametrize(
    ("style", "inner", "seen"),
    [
        ("height:40px;overflow:hidden", "margin-top:90px", False),
        ("height:40px;overflow:hidden;position:relative", "position:absolute;top:90px", False),
        ("height:40px;overflow:hidden", "position:absolute;top:90px", True),
        ("height:40px;overflow:hidden;position:relative", "position:fixed;top:90px", True),
        ("height:0;overflow:hidden", "", False),
    ],
)
def test_what_hides_its_overflow_cuts_off_what_it_holds(style, inner, seen):
    with browse(f"<div style='{style}'><button style='{inner}'>Go</button></div>") as driver:
        button = next(driver.look().find("button", "Go"))
        assert (button.in_view, button.hit) == (seen, seen)


@pytest.mark.parametrize(
    "page",
    [
        "<details><summary>More</summary>Hidden <a href=/>link</a></details>",
        "<h1>More</h1><details>Hidden</details>",
        "<h1>More</h1><div hidden=until-found>Hidden</div>",
        "<h1>More</h1><section style='content-visibility:hidden'>Hidden <b>too</b></section>",
        "<h1>More</h1><canvas>Hidden</canvas><video>Hidden</video>",
    ],
)
def test_what_is_not_shown_is_not_read(page):
    with browse(page) as driver:
        text = driver.text()
        assert "More" in text
        assert "Hidden" not in text
        assert "link" not in text


def test_names_come_through_slots_and_groups_of_options():
    page = """<my-button>Save</my-button><select multiple><optgroup label=Red><option>1</optgroup>
    <optgroup label=Blue><option>1</optgroup></select><script>
    customElements.define("my-button", class extends HTMLElement { constructor() { super();
      this.attachShadow({mode: "open"}).innerHTML = "<button><slot></slot></button>"; } });
    </script>"""
    with browse(page) as driver:
        assert driver.text().splitlines() == [
            '[1] button "Save"',
            "[2] listbox",
            '  group "Red"',
            '    option "1"',
            '  group "Blue"',
            '    option "1"',
        ]


def test_what_is_covered_is_said():
    page = """<button style="position:absolute;left:10px;top:10px">Under</button>
    <div style="position:absolute;inset:0;background:#fff;z-index:2">on top</div>"""
    with browse(page) as driver:
        row = next(driver.look().find("button", "Under"))
        assert row.in_view
        assert not row.hit
        assert '[1] button "Under" covered' in driver.text()


def test_what_listens_can_be_clicked_though_it_has_no_role():
    page = """<div id=a>one</div><div id=b>two</div><div onclick=1>three</div>
    <div style="cursor:pointer">four</div><div tabindex=0>five</div><div>none</div>
    <ul id=l><li>six<li>seven</ul>
    <script>a.addEventListener("click", () => {}); b.onclick = () => {};
    l.addEventListener("mousedown", () => {});</script>"""
    with browse(page) as driver:
        told = {row.name: row.clickable for row in driver.look().rows if row.name}
        assert {name for name, clickable in told.items() if clickable} == {
            "one", "two", "three", "four", "five", "six", "seven",
        }  # fmt: skip
        assert told["none"] is False


ROWS = "<table>" + "".join(
    f"<tr><td>Item {i}</td><td>{i * 3} €</td><td><button>Buy {i}</button></td></tr>"
    for i in range(1000)
)


def test_who_listens_often_does_not_keep_others_from_being_heard():
    page = """<p id=a>Often</p><p id=b>Once</p><script>
    for (let i = 0; i < 25000; i++) a.addEventListener("click", () => i);
    b.addEventListener("click", () => 1)</script>"""
    with browse(page) as driver:
        assert driver.text().splitlines() == ['[1] text "Often"', '[2] text "Once"']


def test_a_thousand_rows_fit_a_budget_that_says_what_was_cut():
    with browse(ROWS) as driver:
        page = driver.look()
        assert sum(row.role == "row" for row in page.rows) == 1000
        text = render(page, max_chars=2_000)
        assert len(text) < 2_200
        assert text.splitlines()[-1].startswith("… ")
        assert "more lines do not fit" in text
        seen = driver.look(viewport=True)
        assert seen.outside > 900
        assert len(seen.rows) < 200
        assert "are out of view" in render(seen)
        few = driver.look(most=50)
        assert few.cut > 0
        assert len(few.rows) <= 53
        driver.do('scroll("down")')
        assert driver.look(viewport=True).rows[3].name != seen.rows[3].name
        found = driver.do('find("Item 777")')
        assert found[0] == "found 1 of 'Item 777':"
        assert "(out of view)" in found[1]


def test_an_element_out_of_view_is_brought_into_view_to_be_clicked():
    page = "<div style='height:3000px'></div><button onclick='this.textContent=1'>Far</button>"
    with browse(page) as driver:
        assert not next(driver.look().find("button", "Far")).in_view
        assert next(driver.then(f"click({driver.id('Far')})").find("button", "1")).in_view


def test_numbers_stay_with_their_elements():
    page = """<button id=a>A</button><button id=b>B</button>
    <button onclick='document.body.prepend(b)'>Move</button>"""
    with browse(page) as driver:
        before = {row.name: row.id for row in driver.look().rows}
        after = {row.name: row.id for row in driver.then(f"click({before['Move']})").rows}
        assert before == after


def test_a_digest_is_of_the_page_and_not_of_its_numbers():
    with browse({"/": "<a href=/>again</a><input>"}) as driver:
        first = driver.look()
        second = driver.then(f"click({driver.id('again')})")
        assert [row.id for row in first.rows] != [row.id for row in second.rows]
        assert first.digest == second.digest
        field = next(row.id for row in second.rows if row.role == "textbox")
        assert driver.then(f'fill({field}, "x")').digest != first.digest


# ---------------------------------------------------------------------------- acting


KEYS = """<input id=i aria-label=field><p id=log></p><script>
for (const kind of ["keydown", "keyup", "input", "change"]) i.addEventListener(kind, (e) => {
  log.textContent += kind[0] + kind[3] + (e.key ?? "") + " ";
});</script><form action=/sent><input name=q aria-label=query></form>"""


def test_text_is_typed_as_a_keyboard_would():
    with browse({"/": KEYS, "/sent": "<p>sent"}) as driver:
        page = driver.then(f'fill({driver.id("field")}, "ab")')
        assert next(page.find("textbox", "field")).value == "ab"
        told = driver.text()
        assert "kda iua" in told.replace("  ", " ") or "kda" in told.replace(" ", "")
        page = driver.then(f'fill({driver.id("field")}, "c")')
        assert next(page.find("textbox", "field")).value == "c"
        page = driver.then(f'fill({driver.id("field")}, "")')
        assert not next(page.find("textbox", "field")).value
        driver.do(f'fill({driver.id("field")}, "{"long " * 500}")')
        assert driver.evaluate("i.value.length") == 2500
        driver.do('press("Control+a")')
        driver.do('type("né\\n")')
        assert driver.evaluate("i.value") == "né"
        page = driver.then(f'fill({driver.id("query")}, "mug", submit=True)')
        assert page.url == f"http://{SITE}/sent?q=mug"
        driver.do("back()")
        assert driver.look().url == f"http://{SITE}/"
        driver.do("forward()")
        driver.do("reload()")
        assert "sent" in driver.text()


def test_lists_boxes_dates_and_sliders_are_set():
    page = """<select aria-label=one><option value=f>France<option>Spain</select>
    <select multiple aria-label=many><option>a<option>b<option>c</select>
    <input type=checkbox aria-label=box><input type=date aria-label=day>
    <input type=range min=0 max=10 aria-label=level><input type=color aria-label=hue>"""
    with browse(page) as driver:
        driver.do(f'select({driver.id("one")}, "Spain")\nselect({driver.id("one")}, "f")')
        driver.do(f'select({driver.id("many")}, ["a", "c"])\ncheck({driver.id("box")})')
        driver.do(f'check({driver.id("box")})\nfill({driver.id("day")}, "2026-05-01")')
        driver.do(f'fill({driver.id("level")}, "7")\nfill({driver.id("hue")}, "#00ff00")')
        page = driver.look()
        told = {row.name: row.value for row in page.rows if row.id}
        assert told["one"] == "France"
        assert told["many"] == "a, c"
        assert told["day"] == "2026-05-01"
        assert (told["level"], told["hue"]) == ("7", "#00ff00")
        assert "checked" in next(page.find("checkbox")).states
        with pytest.raises(InvalidAction) as caught:
            driver.do(f'fill({driver.id("day")}, "soon")')
        assert caught.value.kind == "bad_value"


def test_things_are_dragged_and_hovered():
    page = """<style>body{user-select:none} div{position:absolute}</style>
      <div id=a style="width:50px;height:50px;left:0;top:0" tabindex=0>A</div>
      <div id=b tabindex=0 style="left:300px;top:200px">B</div>
    <p id=log style="position:absolute;top:300px">-</p><script>
    a.onmousedown = () => { log.textContent = "down"; };
    b.onmouseup = () => { log.textContent += " up"; };
    b.onmouseenter = () => { log.textContent += " over"; };</script>"""
    with browse(page) as driver:
        a, b = driver.id("A"), driver.id("B")
        driver.do(f"hover({b})")
        assert "- over" in driver.text()
        driver.do(f"drag({a}, {b})")
        assert "down over up" in driver.text()
        driver.do("drag_at(25.0, 25.0, 305.0, 205.0)")
        assert "down over up" in driver.text()
        driver.do("move(10.0, 10.0)\nmouse_down()\nmove_by(295.0, 195.0)\nmouse_up()")
        assert "down over up" in driver.text()
        assert driver.session.pointer == (305.0, 205.0)


def test_what_may_be_dragged_and_where_it_may_be_dropped_have_numbers():
    page = """<div draggable=true ondragstart="event.dataTransfer.setData('text', 'one')">One</div>
    <div id=into>Into</div><div ondrop="1">Inline</div><div draggable=false>No</div><script>
    into.addEventListener("dragover", (event) => event.preventDefault());
    into.addEventListener("drop", (event) => {
      into.textContent = "got " + event.dataTransfer.getData("text");
    });</script>"""
    with browse(page) as driver:
        named = {row.name: row.id for row in driver.look().rows}
        assert all(named[name] for name in ("One", "Into", "Inline"))
        assert not named["No"]
        assert "got one" in driver.then(f"drag({named['One']}, {named['Into']})").rows[1].name


def test_what_scrolls_is_scrolled():
    page = """<div id=s tabindex=0 style="height:100px;overflow:auto"><div style="height:900px">in
    </div></div><div style="height:2000px"></div>"""
    with browse(page) as driver:
        box = next(row for row in driver.look().rows if row.flags & 8)
        driver.do(f'scroll("down", id={box.id})')
        assert driver.evaluate("s.scrollTop") == 80
        driver.do("scroll_at(20.0, 20.0, 100.0)")
        assert driver.evaluate("s.scrollTop") == 180
        driver.do('scroll("300")')
        assert driver.look().scroll[1] == 300


def test_all_of_an_element_can_be_read():
    with browse(f"<button>{'word ' * 200}</button>") as driver:
        (told,) = driver.do(f"read({driver.id('word')})")
        assert told.count("word") == 200


def test_time_stands_still_between_actions_and_runs_in_them():
    page = """<p id=t>0</p><p id=d></p><script>
      setInterval(() => { t.textContent = 1 + Number(t.textContent); }, 100);
      d.textContent = new Date().toISOString() + Math.random();
      let frames = 0; const f = () => { frames++; requestAnimationFrame(f); }; f();
    </script>"""
    with browse(page) as driver:
        assert driver.evaluate("[t.textContent, Date.now()]") == ["5", 1_767_225_600_500]
        time.sleep(0.5)
        assert driver.evaluate("t.textContent") == "5"
        driver.do("wait(1000)")
        assert driver.evaluate("t.textContent") == "15"
        assert 90 <= driver.evaluate("frames") <= 96
        first = driver.evaluate("d.textContent")
        assert first.startswith("2026-01-01T00:00:00.000Z")
        driver.do("reload()")
        second = driver.evaluate("d.textContent")
        assert second > first, "the next page goes on where time is"
        assert second[24:] == first[24:], "chance is seeded"


ASKED = {
    "new Date().toISOString()": "2026-01-01T00:00:00.500Z",
    "new Date(performance.timeOrigin + performance.now()).toISOString()": (
        "2026-01-01T00:00:00.500Z"
    ),
    "new Intl.DateTimeFormat('en', {timeStyle: 'medium'}).format()": "12:00:00 AM",
    "new Intl.DateTimeFormat('en', {timeStyle: 'medium'}).format(0)": "12:00:00 AM",
    "new Intl.DateTimeFormat('en').format(new Date(0))": "1/1/1970",
    "new Intl.DateTimeFormat('en').formatToParts().map((part) => part.value).join('')": "1/1/2026",
    "((told) => told.format === told.format)(new Intl.DateTimeFormat())": True,
    "globalThis.Temporal?.Now.instant().toString() ?? '2026-01-01T00:00:00.5Z'": (
        "2026-01-01T00:00:00.5Z"
    ),
    "globalThis.Temporal?.Now.plainDateISO().toString() ?? '2026-01-01'": "2026-01-01",
    "new Event('x').timeStamp": 500,
    "document.lastModified": "01/01/2026 00:00:00",
}


def test_whichever_way_a_page_asks_for_the_time_it_is_the_frozen_one():
    page = "<button onclick='this.textContent = event.timeStamp'>Now</button>"
    with browse(page) as driver:
        assert {ask: driver.evaluate(ask) for ask in ASKED} == ASKED
        assert next(driver.then(f"click({driver.id('Now')})").find("button", "500"))


def test_time_can_be_real():
    page = "<p id=t>0</p><script>setTimeout(() => { t.textContent = 'late' }, 50)</script>"
    with browse(page, clock="real") as driver:
        driver.do("wait(200)")
        assert "late" in driver.text()


def test_what_an_action_asks_the_server_for_is_there_when_it_is_over():
    async def slow(scope, receive, send):
        await asyncio.sleep(0.3)
        await respond(send, 200, b"answer", "text/plain")

    page = """<button onclick="fetch('/slow').then(r => r.text()).then(t => setTimeout(() => {
      this.textContent = t }, 200))">Ask</button>"""
    with browse({"/": page, "/slow": slow}) as driver:
        assert next(driver.then(f"click({driver.id('Ask')})").find("button", "answer"))


# ---------------------------------------------------------------------------- pictures


def test_pictures_show_what_is_there_and_zooms_show_it_larger():
    page = """<body style="margin:0;background:#fff"><div style="position:absolute;left:100px;
    top:50px;width:40px;height:20px;background:#f00"></div>"""
    with browse(page) as driver:
        png = driver.picture()
        assert picture.size_of(png) == (800, 600)
        pixels = picture.decode(png)
        red = (pixels == (255, 0, 0)).all(axis=2)
        ys, xs = np.nonzero(red)
        assert (xs.min(), xs.max(), ys.min(), ys.max()) == (100, 139, 50, 69)
        driver.do("zoom(100.0, 50.0, 140.0, 70.0)")
        pixels = picture.decode(driver.picture())
        assert pixels.shape == (400, 800, 3)
        assert (pixels[5:-5, 5:-5] == (255, 0, 0)).all()
        assert driver.session.view.to_page(400, 200) == (120.0, 60.0)
        driver.do("unzoom()")
        assert picture.size_of(driver.picture()) == (800, 600)


def test_a_picture_taken_while_the_page_is_read_is_the_one_taken_after():
    page = "<button onclick='document.body.style.background = \"teal\"'>Paint</button>"
    with browse(page) as driver:
        driver.do(f"click({driver.id('Paint')})")
        driver.look(image=True)
        with_it = picture.decode(driver.picture())
        driver.look()
        assert (picture.decode(driver.picture()) == with_it).all()
        assert with_it[300, 400].tolist() == [0, 128, 128]


def test_a_picture_that_nobody_asked_for_is_not_taken_for_a_later_one():
    page = "<button onclick='document.body.style.background = \"teal\"'>Paint</button>"
    with browse(page) as driver:
        driver.look(image=True)
        driver.do(f"click({driver.id('Paint')})")
        assert picture.decode(driver.picture())[300, 400].tolist() == [0, 128, 128]


def test_a_probe_gives_nothing_on_a_page_that_it_was_not_written_for():
    pages = {"/": "<script>var told = 7</script><a href=/b>b</a>", "/b": "<p>other"}
    with browse(pages, probe="told") as driver:
        page = driver.look()
        assert page.probe == 7
        assert driver.then(f"click({driver.id('b')})").probe is None


def test_a_zoom_on_a_scrolled_page_shows_the_part_that_was_meant():
    page = """<body style="margin:0"><div style="height:1000px"></div>
    <div style="height:600px;background:#00f"></div>"""
    with browse(page) as driver:
        driver.then('scroll("900")')
        driver.do("zoom(0.0, 120.0, 400.0, 420.0)")
        assert (picture.decode(driver.picture())[10:-10] == (0, 0, 255)).all()


def test_a_cursor_is_drawn_with_its_tip_at_the_point():
    pixels = np.full((60, 60, 3), 128, dtype=np.uint8)
    drawn = picture.with_cursor(pixels, 20, 10)
    ys, xs = np.nonzero((drawn != pixels).any(axis=2))
    assert (xs.min(), ys.min()) == (20, 10)
    back = picture.decode(picture.encode(drawn))
    assert (back == drawn).all()
    assert io.BytesIO(picture.encode(drawn)).getvalue()[:4] == b"\x89PNG"


def test_keys_are_held_while_clicking_and_buttons_told():
    page = """<button>b</button><p id=log></p><script>
    for (const kind of ["click", "dblclick", "contextmenu", "auxclick"])
      addEventListener(kind, (e) => { e.preventDefault();
        log.textContent += [kind, e.ctrlKey, e.shiftKey, e.button] + " "; });</script>"""
    with browse(page) as driver:
        button = driver.id("b")
        driver.do(f'click({button}, mods=["Control", "Shift"])')
        assert "click,true,true,0" in driver.text()
        driver.do(f"click({button}, n=2)")
        assert "dblclick,false,false,0" in driver.text()
        driver.do(f'click({button}, button="right")')
        assert "contextmenu,false,false,2" in driver.text()
        driver.do(f'click({button}, button="middle")')
        assert "auxclick,false,false,1" in driver.text()


def test_every_sign_of_a_keyboard_and_others_arrive():
    signs = "".join(map(chr, range(32, 127))) + "äé漢🙂"
    with browse("<input aria-label=field><textarea aria-label=area></textarea>") as driver:
        driver.do(f"click({driver.id('field')})\ntype({json.dumps(signs)})")
        assert driver.evaluate("document.querySelector('input').value") == signs
        driver.do(f'fill({driver.id("area")}, "one\\ntwo")')
        assert driver.evaluate("document.querySelector('textarea').value") == "one\ntwo"
        driver.do(f"fill({driver.id('area')}, {json.dumps(signs * 40)})")
        assert driver.evaluate("document.querySelector('textarea').value") == signs * 40
