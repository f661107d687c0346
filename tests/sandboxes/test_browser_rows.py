"""The rest of what may go wrong in browsers: faults in real episodes, hostile pages, bad input."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gymnasium as gym
import pytest
from browsing import GRAMMAR, SITE, Site, browse, kill_browsers, need_browser, processes_of

from agentgym import Completion, Stop
from agentgym.collector import Collector, episode_keys
from agentgym.envs.browsing import Browsing
from agentgym.envs.miniwob import MiniWoB
from agentgym.errors import ConfigError, InvalidAction, SandboxError
from agentgym.sandboxes.host import host
from agentgym.sandboxes.page import BrowserError, PageSettings
from agentgym.sandboxes.render import render
from agentgym.sandboxes.serving import respond
from agentgym.store import Store
from agentgym.types import Outcome


@pytest.fixture(autouse=True)
def _browser():
    need_browser()


def refused(driver, text):
    with pytest.raises(InvalidAction) as caught:
        driver.do(text)
    return caught.value


# ---------------------------------------------------------------------------- in real episodes


class Faulty(MiniWoB):
    """MiniWoB whose browser is killed once, at a moment of the episode."""

    moment = ""

    def strikes(self, moment):
        if Faulty.moment == moment:
            Faulty.moment = ""
            kill_browsers()

    async def prepare(self, task, session):
        self.strikes("reset")
        goal = await super().prepare(task, session)
        self.strikes("picture")
        return goal

    async def check(self, session, page, answer):
        self.strikes("check")
        return await super().check(session, page, answer)

    async def respond(self, action):
        self.strikes("step")
        return await super().respond(action)


class Clicks:
    """Clicks what is there."""

    async def act(self, messages, *, sampling, session, admissible=None):
        return Completion("click(1)")


def played(moment, monkeypatch, retries, seeds=3):
    monkeypatch.setattr(Faulty, "moment", moment)
    monkeypatch.setattr("agentgym.collector.FIRST_BACKOFF_S", 0.01)
    recorded = []
    collector = Collector(
        lambda: Faulty(task="click-test", obs="both"), Clicks(), concurrency=3, retries=retries,
        record=recorded.append,
    )  # fmt: skip
    ids = [f"click-test:seed={seed}" for seed in range(seeds)]
    episodes = collector.run(episode_keys("agentgym/MiniWoB-v0", ids))
    assert Faulty.moment == "", "the browser was killed"
    assert recorded == episodes
    return episodes


@pytest.mark.parametrize("moment", ["reset", "picture", "step"])
def test_episodes_whose_browser_is_killed_are_played_again_and_scored(moment, monkeypatch):
    episodes = played(moment, monkeypatch, retries=2)
    assert [e.stop for e in episodes] == [Stop.TERMINATED] * 3
    assert [e.outcome.score for e in episodes] == [1.0] * 3
    assert any(e.provenance["attempt"] > 0 for e in episodes)


def test_a_fault_of_the_browser_is_never_a_reward(monkeypatch):
    episodes = played("step", monkeypatch, retries=0)
    failed = [e for e in episodes if e.stop is Stop.ERROR]
    assert failed
    for episode in failed:
        assert not episode.scored
        assert not episode.outcome.available
        assert episode.error.startswith("sandbox: ")
        assert episode.error.split()[1] in ("browser_gone:", "page_crash:", "no_page:")


def test_whatever_is_asked_of_a_browser_that_is_gone_is_a_fault_of_the_browser():
    async def ask():
        session = await host().lease(PageSettings(hosts=(SITE,)))
        kill_browsers()
        await session.context.new_page()

    with pytest.raises(BrowserError, match="browser_gone"):
        host().run_now(ask(), 60, "a page")


def test_what_was_judged_before_the_browser_died_still_counts(monkeypatch):
    (episode,) = played("check", monkeypatch, retries=0, seeds=1)
    assert episode.outcome.score == 1.0


def test_a_world_can_be_reset_after_its_page_crashed():
    env = gym.make("agentgym/MiniWoB-v0", task="click-test")
    try:
        for _ in range(2):
            env.reset(seed=1)
            session = env.unwrapped._session

            async def crash(session=session):
                work = asyncio.ensure_future(session.page.cdp.send("Page.crash"))
                await asyncio.wait([work], timeout=2)

            host().run_now(crash(), 10, "crash")
            with pytest.raises(SandboxError, match="page_crash"):
                env.step("click(1)")
        env.reset(seed=1)
        assert env.step("click(1)")[1] == 1.0
    finally:
        env.close()


class Pages(Browsing):
    """A world of one site; solved when its title says so."""

    site: object = None
    page_settings: dict = {}  # noqa: RUF012

    def tasks(self):
        return ["only"]

    def settings(self, task):
        return PageSettings(viewport=(400, 300), hosts=(SITE,), **self.page_settings)

    async def prepare(self, task, session):
        await session.goto(f"http://{SITE}/")
        return "Say that it is done."

    async def check(self, session, page, answer):
        if answer is None and page.title != "done":
            return None
        return Outcome(1.0, True, "solved") if page.title == "done" else Outcome(0.0, False, "no")


@contextlib.contextmanager
def world(pages, settings=None, **options):
    host().serve(SITE, Site({"/": pages} if isinstance(pages, (str, bytes)) else pages))
    made = Pages(actions="all", **options)
    made.page_settings = {"deadline_s": 10.0, **(settings or {})}
    try:
        yield made
    finally:
        made.close()


def test_a_world_whose_first_page_hangs_is_a_fault_that_says_so():
    with (
        world("<script>while(true){}</script>", {"deadline_s": 0.7, "load_s": 0.7}) as env,
        pytest.raises(SandboxError, match="page_hung"),
    ):
        env.reset(seed=0)


@pytest.mark.parametrize("obs", ["text", "both"])
def test_while_a_question_is_open_the_picture_is_grey(obs):
    page = "<button onclick='confirm(1)'>Ask</button>"
    with world(page, obs=obs, render_mode="rgb_array") as env:
        env.reset(seed=0)
        assert (env.render() != 128).any()
        shown, *_ = env.step("click(1)")
        assert "A question is open: 1" in (shown if obs == "text" else shown["text"])
        assert env.render().shape == (300, 400, 3)
        assert (env.render() == 128).all()


def test_a_step_on_a_page_that_hangs_is_an_observation_and_the_next_a_fault():
    page = "<button onclick='while(true){}'>Hang</button>"
    with world(page, {"deadline_s": 0.7}, obs="both") as env:
        env.reset(seed=0)
        _, reward, terminated, truncated, info = env.step("click(1)")
        assert (info["invalid"], reward, terminated, truncated) == ("timeout", 0.0, False, False)
        with pytest.raises(SandboxError, match="page_hung"):
            env.step("click(1)")
        env.reset(seed=0)
        assert env.step("done()")[2]


# ---------------------------------------------------------------------------- pages that hang

HANGS = {
    "promises": "(function f(){Promise.resolve().then(f)})()",
    "an expression": "/^(a+)+$/.test('a'.repeat(40)+'b')",
}


@pytest.mark.parametrize("kind", HANGS)
def test_whatever_a_page_hangs_in_is_stopped(kind):
    page = f'<button onclick="{HANGS[kind]}">Hang</button><button>Other</button>'
    with browse(page, deadline_s=1.0) as driver:
        assert refused(driver, f"click({driver.id('Hang')})").kind == "timeout"
        assert next(driver.look().find("button", "Other"))


def test_a_flood_of_alerts_is_ended_and_told_in_part():
    page = "<button onclick='for(;;)alert(1)'>Hang</button>"
    with browse(page, deadline_s=1.0) as driver:
        # a script is stopped only while it runs: between two alerts the page is given up
        with pytest.raises((InvalidAction, BrowserError)) as caught:
            driver.do(f"click({driver.id('Hang')})")
        assert caught.value.kind in ("timeout", "page_hung")
        told = driver.session.take_events()
        assert 2 <= len(told) <= 41
        assert told[0] == "alert: 1"


def test_a_request_that_a_page_waits_for_and_is_never_answered_is_a_typed_fault_or_is_given_up():
    async def silent(scope, receive, send):
        await asyncio.sleep(60)

    script = "const r=new XMLHttpRequest();r.open('GET','/never',false);r.send()"
    pages = {"/": f'<button onclick="{script}">Ask</button>', "/never": silent}
    with browse(pages, deadline_s=0.7) as driver:
        with contextlib.suppress(InvalidAction, BrowserError):
            driver.do(f"click({driver.id('Ask')})")
        driver.run(driver.session.close(), 10)
    with browse("<p>again") as driver:
        assert "again" in driver.text()


def test_a_page_that_hangs_is_closed_like_any_other():
    page = "<button onclick='while(true){}'>Hang</button>"
    with browse(page, deadline_s=30.0) as driver:
        (call,) = GRAMMAR.parse(f"click({driver.id('Hang')})").calls

        async def leave():
            clicking = asyncio.ensure_future(driver.session.act(call))
            await asyncio.wait([clicking], timeout=0.3)
            assert not clicking.done()
            await driver.session.close()
            with pytest.raises(BrowserError):
                await clicking

        driver.run(leave(), 15)
        assert driver.session.closed


# ---------------------------------------------------------------------------- questions


def test_a_question_of_a_page_that_loads_is_asked_and_answered():
    page = "<p id=p>no answer</p><script>p.textContent = prompt('Who?')</script>"
    with browse(page, start="") as driver:
        driver.run(driver.session.goto(f"http://{SITE}/"))
        assert driver.look().dialog == "Who?"
        driver.do('dialog(text="Ada")')
        assert "Ada" in driver.text()


def test_what_a_page_asks_the_browser_for_is_denied_and_nothing_waits():
    script = """async () => {
      const asked = [
        () => new Promise((y) => navigator.geolocation.getCurrentPosition(() => y("told"),
          () => y("no"), {timeout: 100})),
        () => Notification.requestPermission(),
        () => navigator.mediaDevices?.getUserMedia({video: true}).then(() => "told"),
        () => navigator.clipboard?.readText().then(() => "told"),
        () => (print(), "no"),
      ];
      const told = [];
      for (const ask of asked) {
        try { told.push(await ask() ?? "no"); } catch { told.push("no"); }
      }
      return told;
    }"""
    with browse("<p>home", clock="real") as driver:
        assert set(driver.evaluate(f"({script})()")) <= {"no", "denied", "default"}
        assert "home" in driver.text()


# ---------------------------------------------------------------------------- tabs and files


def test_twenty_popups_that_open_more_are_capped():
    page = "<button onclick='for(let i=0;i<20;i++)window.open(\"/p\")'>Open</button>"
    popup = "<script>window.open('/p')</script><p>popup"
    with browse({"/": page, "/p": popup}) as driver:
        shown = driver.then(f"click({driver.id('Open')})")
        assert 2 <= len(shown.tabs) <= 8
        assert any("closed at once" in event for event in shown.events)
        assert len(driver.session.context.pages) <= 9
        driver.do("tab(0)")
        assert "Open" in driver.text()


def test_a_file_that_a_page_makes_itself_goes_nowhere():
    script = (
        "const a=document.createElement('a');a.download='x.txt';"
        "a.href=URL.createObjectURL(new Blob(['x'.repeat(9)]));a.click()"
    )
    with browse(f'<button onclick="{script}">Save</button>') as driver:
        began = time.time()
        shown = driver.then(f"click({driver.id('Save')})")
        assert (shown.url, len(shown.tabs)) == (f"http://{SITE}/", 1)
        places = [Path.cwd(), Path.home(), Path.home() / "Downloads", Path(tempfile.gettempdir())]
        places += Path(tempfile.gettempdir()).glob("playwright-artifacts*")
        files = [file for place in places if place.is_dir() for file in place.iterdir()]
        new = [file for file in files if file.is_file() and file.stat().st_mtime > began]
        assert [file for file in new if "x" * 9 in file.read_text(errors="replace")] == []


KEYS = ["Control+w", "Control+t", "Control+n", "Control+p", "Control+s", "Control+o", "Control+u",
        "Control+Shift+i", "F12", "Alt+F4", "Alt+ArrowLeft", "Control+l", "F11"]  # fmt: skip


def test_keys_that_a_window_would_take_do_nothing():
    with browse("<p>home") as driver:
        for keys in KEYS:
            driver.do(f'press("{keys}")')
        shown = driver.look()
        assert (len(shown.tabs), shown.url) == (1, f"http://{SITE}/")
        assert "home" in driver.text()


# ---------------------------------------------------------------------------- ways out


@pytest.fixture
def trap():
    """Sockets of this machine that nobody may reach, and what has come to them."""
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))

    def came():
        return bool(select.select([tcp, udp], [], [], 0)[0])

    yield port, came
    tcp.close()
    udp.close()


def test_no_means_of_a_page_reaches_this_machine(trap):
    port, came = trap
    script = """async (port) => {
      const tried = [], hosts = ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1",
        "2130706433", "0x7f.1", "site.test", "x.localhost"];
      const event = (thing) => new Promise((end) => {
        for (const name of ["error", "close", "load"]) thing.addEventListener(name, end);
        setTimeout(end, 1500);
      });
      for (const host of hosts) {
        const at = `${host}:${port}/`;
        tried.push(fetch(`http://${at}`, {mode: "no-cors"}).catch(() => 0));
        tried.push(fetch(`https://${at}`, {mode: "no-cors"}).catch(() => 0));
        navigator.sendBeacon(`http://${at}`, "x");
        tried.push(event(new WebSocket(`ws://${at}`)));
        tried.push(event(new EventSource(`http://${at}`)));
        for (const [name, key] of [["img", "src"], ["script", "src"], ["link", "href"],
            ["iframe", "src"], ["video", "src"], ["object", "data"], ["embed", "src"]]) {
          const made = document.createElement(name);
          made.rel = "stylesheet prefetch dns-prefetch preconnect";
          made[key] = `http://${at}`;
          document.body.append(made);
          tried.push(event(made));
        }
      }
      const frame = document.createElement("iframe");
      document.body.append(frame);
      const kinds = [self, frame.contentWindow].map((w) => typeof w.RTCPeerConnection +
        typeof w.webkitRTCPeerConnection + typeof w.WebTransport);
      await Promise.all(tried);
      return kinds;
    }"""
    with browse("<body>home", clock="real", deadline_s=10.0) as driver:
        kinds = driver.evaluate(f"({script})({port})")
        assert not came(), "a page has reached a socket of this machine"
        assert kinds == ["undefined" * 3] * 2


LEAVING = {
    "a script": "<button onclick='location.href=\"{url}\"'>go</button>",
    "a form": "<form method=post action='{url}'><button>go</button></form>",
    "a new window": "<button onclick='window.open(\"{url}\")'>go</button>",
    "a link": "<a href='{url}'>go</a>",
    "a target": "<a href='{url}' target=_blank>go</a>",
    "a delay": "<button onclick='setTimeout(()=>location=\"{url}\",100)'>go</button>",
}


@pytest.mark.parametrize("way", LEAVING)
def test_no_way_leads_out_of_the_site(way, trap):
    port, came = trap
    forbidden = ["file:///etc/hostname", "http://example.com/", "view-source:http://site.test/"]
    forbidden += [f"http://127.0.0.1:{port}/", "javascript:void(document.title='run')"]
    for url in forbidden:
        with browse(LEAVING[way].format(url=url), load_s=0.5) as driver:
            shown = driver.then(f"click({driver.id('go')})")
            assert shown.url in (f"http://{SITE}/", "about:blank"), url
            told = driver.text()
            assert "go" in told or shown.url == "about:blank"
            assert not came(), url


def test_a_site_that_redirects_elsewhere_is_not_followed(trap):
    port, came = trap

    def to(url):
        async def away(scope, receive, send):
            await respond(send, 302, b"", "text/plain", {"location": url})

        return away

    pages = {
        "/": "<a href=/a>a</a><a href=/b>b</a><a href=/c>c</a>",
        "/a": to(f"http://127.0.0.1:{port}/"),
        "/b": to("file:///etc/hostname"),
        "/c": "<meta http-equiv=refresh content='0;url=http://localhost:1/'><p>c",
    }
    with browse(pages) as driver:
        for name in "abc":
            driver.do(f"click({driver.id(name)})")
            shown = driver.look()
            assert shown.url.startswith(f"http://{SITE}/")
            if shown.url.endswith("/c"):
                driver.do("back()")
        assert not came()


def test_a_browser_listens_nowhere():
    with browse("<p>home"):
        held = set()
        for pid in processes_of(os.getpid()):
            with contextlib.suppress(OSError):
                for link in Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        held.add(os.readlink(link))
        assert any(each.startswith("socket:") for each in held)
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":  # listening
                    assert f"socket:[{fields[9]}]" not in held


# ---------------------------------------------------------------------------- servers


def broken_off(part):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-type", b"text/html"),
                                (b"content-length", b"5000")]})  # fmt: skip
        await send({"type": "http.response.body", "body": part, "more_body": True})
        raise RuntimeError("the site fails")

    return app


async def fails(scope, receive, send):
    raise RuntimeError("the site fails")


async def trickles(scope, receive, send):
    told = [(b"content-type", b"text/html")]
    await send({"type": "http.response.start", "status": 200, "headers": told})
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await send({"type": "http.response.body", "body": b"<p>more", "more_body": True})
            await asyncio.sleep(0.05)


async def empty(scope, receive, send):
    await respond(send, 204, b"", "text/html")


async def unknown(scope, receive, send):
    await respond(send, 200, b"\0\1\2", "application/octet-stream")


SERVERS = {"/fails": fails, "/broken": broken_off(b"<p>half a page"), "/nothing": broken_off(b""),
           "/trickles": trickles, "/empty": empty, "/unknown": unknown}  # fmt: skip


@pytest.mark.parametrize("path", SERVERS)
def test_a_site_that_errs_is_an_observation_and_can_be_left(path, caplog):
    home = f"<a href={path}>go</a>"
    with browse({"/": home, **SERVERS}, load_s=0.7) as driver:
        shown = driver.then(f"click({driver.id('go')})")
        assert shown.url in (f"http://{SITE}/", f"http://{SITE}{path}", "about:blank")
        if path == "/fails":
            assert "Internal server error" in driver.text()
            assert "the site fails" not in driver.text()
        if path == "/trickles":
            assert "more" in driver.text()
        assert next(driver.goto().find("link", "go"))


# ---------------------------------------------------------------------------- what is read

CLOBBERED = """
<form id=f><input name=attributes><input name=childNodes><input name=tagName><input name=parentNode>
<input name=children><input name=getAttribute><input name=nodeType><input name=ownerDocument>
<input name=isConnected><input name=hasAttribute><input name=querySelector><input name=matches>
<input name=shadowRoot><input name=getBoundingClientRect><input name=innerText><input name=id>
<button>Inside</button></form>
<img name=body><img name=activeElement><form name=querySelectorAll></form><img name=getSelection>
<form name=documentElement></form><img name=elementFromPoint><img name=title><img name=defaultView>
<button onclick="this.textContent='done'">Honest</button>
"""


def test_names_that_stand_for_methods_do_not_hide_a_page():
    with browse(CLOBBERED) as driver:
        shown = driver.look()
        assert next(shown.find("button", "Honest")).hit
        assert next(shown.find("button", "Inside")).hit
        assert next(driver.then(f"click({driver.id('Honest')})").find("button", "done"))


def test_a_page_that_changes_while_it_is_read_is_read():
    page = """<div id=d></div><script>
      let n = 0;
      setInterval(() => {
        d.innerHTML = `<p>${++n}</p>`.repeat(n % 50);
        if (n % 5 == 0) d.innerHTML += `<iframe srcdoc="<button>in ${n}</button>"></iframe>`;
      }, 10);
    </script><button>Stays</button>"""
    with browse(page, clock="real", deadline_s=30.0, load_s=0.5) as driver:
        for _ in range(5):
            assert next(driver.look().find("button", "Stays"))
        driver.do(f"click({driver.id('Stays')})")


@pytest.mark.parametrize("count", [20_000, pytest.param(120_000, marks=pytest.mark.slow)])
def test_a_hundred_thousand_elements_are_cut_and_counted(count):
    page = "<script>for(let i=0;i<COUNT;i++)document.write('<p>row '+i)</script>"
    with browse(
        page.replace("COUNT", str(count)), start="", deadline_s=60.0, load_s=60.0
    ) as driver:
        driver.run(driver.session.goto(f"http://{SITE}/"))
        shown = driver.look(most=5_000)
        assert (len(shown.rows), shown.cut) == (5_000, count - 5_000)
        assert len(render(shown)) <= 21_000
        assert len(driver.look(viewport=True).rows) < 100


ODD_PAGES = {
    "utf-16": "<p>café".encode("utf-16"),
    "broken utf-8": b"<meta charset=utf-8><p>caf\xc3\x28 \xff\xfe ok",
    "nothing": b"",
    "zeros": b"<p>a\0b\0c",
    "shift-jis": b"<meta charset=shift_jis><p>" + "日本".encode("shift_jis"),
    "no markup": b"just text",
    "half a tag": b"<p>x</p><div class='",
    "deep": b"<div>" * 3000 + b"bottom",
}


@pytest.mark.parametrize("kind", ODD_PAGES)
def test_whatever_bytes_a_page_is_made_of_it_is_read(kind):
    with browse(ODD_PAGES[kind]) as driver:
        text = driver.text()
        assert text.encode("utf-8").decode() == text
        for part, told in {"utf-16": "café", "shift-jis": "日本", "broken": "ok"}.items():
            assert told in text or not kind.startswith(part)


def test_what_a_page_says_of_itself_is_bounded_and_can_be_recorded(tmp_path):
    page = """<title></title><button onclick="
      document.title = 'T\\ud800'.repeat(200000); alert('\\udfff'.repeat(5000));
      history.pushState(0, '', '/' + 'u'.repeat(500000)); this.textContent = 'x\\ud800y';
      this.id = 'i\\ud800'.repeat(9999); this.setAttribute('aria-label', 'l\\ud800'.repeat(99999));
    ">Go</button><button>Other</button>"""

    class Says:
        async def act(self, messages, *, sampling, session, admissible=None):
            return Completion("click(1)" if len(messages) < 4 else "done()")

    with world(page) as env, Store.create(tmp_path / "run", {}) as store:
        keys = episode_keys("tests/Pages-v0", ["only"])
        collector = Collector(lambda: env, Says(), concurrency=1, record=store.append)
        (episode,) = collector.run(keys)
        assert episode.stop is Stop.TERMINATED, episode.error
        seen = episode.turns[1].observation
        assert "Other" in seen
        assert len(seen) < 60_000
        assert len(episode.turns[0].facts["url"]) <= 3_000
    (kept,) = Store.open(tmp_path / "run").episodes()
    assert kept.stop is Stop.TERMINATED, kept.error


# ---------------------------------------------------------------------------- calls

INVALID = {
    "": "empty", "   ": "empty", "Let me think about it": "parse", "click": "parse",
    "click(": "arguments", "clik(1)": "unknown_verb", "click()": "arguments",
    "click(1, 2, 3, 4, 5)": "arguments", "click('one')": "arguments", "click(-1)": "arguments",
    "click(1.5)": "arguments",
    "click(10**9)": "arguments", "click(99999999)": "stale", "click(0)": "arguments",
    "click(True)": "arguments", "fill(1)": "arguments", "fill(1, 2)": "not_editable",
    "fill(1, 'x' * 9)": "arguments", "select(1, [])": "arguments", "select(1, ['q'])": "no_option",
    "press('')": "unknown_key", "press('Hyper+x')": "unknown_key", "type('a', 'b')": "arguments",
    "wait(-5)": "arguments", "wait(10000000)": "arguments", "tab(99)": "no_tab",
    "upload(1, 'x')": "no_file", "goto('')": "blocked_url", "drag(1, 99)": "stale",
    "click_at(-1, 5)": "out_of_bounds", "click_at(400.5, 5)": "out_of_bounds",
    "click_at(5, 1e9)": "out_of_bounds", "click_at('a', 5)": "arguments",
    "click_at(1e400, 5)": "arguments", "move(401, 301)": "out_of_bounds",
    "drag_at(1, 1, 1, 999)": "out_of_bounds", "zoom(0, 0, 0, 0)": "out_of_bounds",
    "scroll('1e99')": "arguments", "scroll('nan')": "arguments", "scroll_at(1, 1, 1e308)": "",
    "move_by(1e308, 1e308)": "", "dialog()": "no_dialog", "__import__('os')": "unknown_verb",
    "f'{1}'": "parse", '{"name": "click"}': "parse", "read(4)": "stale",
    "hover(0x7fffffff)": "arguments",
}  # fmt: skip


def test_calls_that_cannot_be_carried_out_are_observations_with_a_kind():
    with world("<button>b</button>", max_turns=200) as env:
        env.reset(seed=0)
        wrong = {}
        for text, kind in INVALID.items():
            shown, reward, terminated, truncated, info = env.step(text)
            assert (reward, terminated, truncated) == (0.0, False, False), text
            assert isinstance(shown, str)
            assert len(shown) < 3_000
            if (info["invalid"] or "") != kind:
                wrong[text] = (info["invalid"], kind, shown[:100])
        assert wrong == {}
        assert env.step("click(1)")[4]["invalid"] is None


TYPED = ["x" * 10_000, "line\nline\ttab", "日本語 😀 e\u0301 \u202e", "'\"\\ </textarea>", "a\0b",
         "\ud800", "\r\n"]  # fmt: skip


@pytest.mark.parametrize("number", range(len(TYPED)))
def test_text_of_every_kind_is_typed_as_it_is_or_refused(number):
    from agentgym.actions import Action
    from agentgym.actions.literals import write

    text = TYPED[number]
    with browse("<textarea aria-label=t></textarea>") as driver:
        said = Action(f"fill({driver.id('t')}, {write(text)})")
        if "\0" in text or "\ud800" in text:
            with contextlib.suppress(InvalidAction):
                driver.do(said)
        else:
            driver.do(said)
            value = driver.evaluate("document.querySelector('textarea').value")
            assert value == text.replace("\r\n", "\n")


def test_more_text_than_is_taken_is_refused_before_it_is_typed():
    with world("<textarea aria-label=t></textarea>") as env:
        env.reset(seed=0)
        assert env.step(f'fill(1, "{"x" * 10_001}")')[4]["invalid"] == "arguments"
        assert env.step(f'fill(1, "{"x" * 3_000_000}")')[4]["invalid"] in ("too_long", "arguments")


# ---------------------------------------------------------------------------- isolation


def test_no_kind_of_storage_is_left_for_the_next_episode():
    write = """(async () => {
      localStorage.a = sessionStorage.a = document.cookie = "a=1"; window.name = "a";
      await new Promise((y) => { const o = indexedDB.open("a");
        o.onupgradeneeded = () => o.result.createObjectStore("s"); o.onsuccess = () => {
          o.result.close(); y(); }; });
      return [typeof caches, typeof navigator.serviceWorker];
    })()"""
    read = """(async () => [localStorage.a ?? "", sessionStorage.a ?? "", document.cookie, name,
      (await indexedDB.databases()).length, history.length < 4])()"""
    with browse({"/": "<p>home", "/two": "<p>two"}) as driver:
        assert driver.evaluate(write) == ["undefined", "undefined"]
        driver.goto("/two")
        driver.run(driver.session.renew(driver.session.settings))
        driver.goto()
        assert driver.evaluate(read)[:5] == ["", "", "", "", 0]


def test_what_one_session_copies_no_other_can_paste():
    field = "<input id=i aria-label=i value=secret>"
    with browse(field) as one, browse("<input id=i aria-label=i>") as two:
        one.do(f'click({one.id("i")}) press("Control+a") press("Control+c")'.replace(") ", ")\n"))
        two.do(f'click({two.id("i")})\npress("Control+v")')
        assert two.evaluate("i.value") == ""
        two.do(f"click({two.id('i')}, button='middle')")
        assert two.evaluate("i.value") == ""
        one.do('press("End")\npress("Control+v")')
        assert one.evaluate("i.value") == "secretsecret"
        one.run(one.session.renew(one.session.settings))
        one.goto()
        one.do(f"click({one.id('i')})\npress('Control+a')\npress('Control+v')")
        assert "secretsecret" not in one.evaluate("i.value")


def test_what_a_page_copies_itself_is_pasted_after_others_copied():
    page = """<button onclick="document.execCommand('copy')">Copy</button><input id=i aria-label=i>
      <script>document.addEventListener('copy', (e) => {
        e.clipboardData.setData('text/plain', 'of the page'); e.preventDefault(); });</script>"""
    other = "<input id=i aria-label=i value=other>"
    with browse(page) as one, browse(other) as two:
        one.do(f"click({one.id('Copy')})")
        two.do(f"click({two.id('i')})\npress('Control+a')\npress('Control+x')")
        assert two.evaluate("i.value") == ""
        one.do(f"click({one.id('i', 'textbox')})\npress('Control+v')")
        assert one.evaluate("i.value") == "of the page"
        two.do("press('Control+v')")
        assert two.evaluate("i.value") == "other"


# ---------------------------------------------------------------------------- what is left behind

STAGES = {
    "while it starts": """
from agentgym.sandboxes.host import host
from agentgym.sandboxes.page import PageSettings
import threading
threading.Thread(target=lambda: host().run_now(host().lease(PageSettings()), 60, "x")).start()
print("up", flush=True)
""",
    "in a reset": """
import gymnasium as gym
import agentgym
from agentgym.envs.miniwob import MiniWoB
class Slow(MiniWoB):
    async def prepare(self, task, session):
        await super().prepare(task, session)
        print("up", flush=True)
        await asyncio.sleep(60)
Slow(task="click-test").reset(seed=1)
""",
    "in a step that hangs": """
from browsing import browse
with browse("<button onclick='while(1){}'>Hang</button>", deadline_s=60.0) as driver:
    number = driver.id("Hang")
    print("up", flush=True)
    driver.do(f"click({number})")
""",
    "after it closed": """
import gymnasium as gym
import agentgym
env = gym.make("agentgym/MiniWoB-v0", task="click-test")
env.reset(seed=1)
env.close()
print("up", flush=True)
""",
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_process_killed_at_any_moment_leaves_no_browser(stage):
    tests = str(Path(__file__).parent.parent)
    code = (
        f"import asyncio, sys, time\nsys.path.insert(0, {tests!r})\n{STAGES[stage]}\ntime.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "up\n"
        deadline = time.monotonic() + 20
        while not processes_of(child.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert processes_of(child.pid)
        child.kill()
        child.wait()
        deadline = time.monotonic() + 20
        while processes_of(child.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes_of(child.pid) == []
    finally:
        child.kill()
        child.stdout.close()


# ---------------------------------------------------------------------------- which browser

NOT_BROWSERS = {
    "says nothing": "#!/bin/sh\nexec sleep 60\n",
    "ends at once": "#!/bin/sh\nexit 0\n",
    "another program": "#!/bin/sh\necho 'Mozilla Firefox 128.0'\n",
    "too old": "#!/bin/sh\necho 'unknown flag --remote-debugging-pipe' >&2\nexit 2\n",
}


@pytest.mark.parametrize("kind", NOT_BROWSERS)
def test_what_is_no_browser_that_works_is_said_with_what_to_do(kind, monkeypatch, tmp_path):
    from agentgym.sandboxes import host as hosts

    script = tmp_path / "chromium"
    script.write_text(NOT_BROWSERS[kind])
    script.chmod(0o755)
    monkeypatch.setenv("AGENTGYM_CHROMIUM", str(script))
    monkeypatch.setattr(hosts, "LAUNCH_S", 1.0)
    running = hosts.BrowserHost()
    try:
        with pytest.raises(SandboxError, match=r"does not start.*apt-get install") as caught:
            running.run_now(running.lease(PageSettings()), 60, "lease")
        assert str(script) in str(caught.value)
    finally:
        running.close()


def test_a_browser_that_is_named_and_not_there_is_a_mistake_of_the_caller(monkeypatch):
    from agentgym.sandboxes import host as hosts

    monkeypatch.setenv("AGENTGYM_CHROMIUM", "/nowhere/chromium")
    running = hosts.BrowserHost()
    try:
        with pytest.raises(ConfigError, match="/nowhere/chromium"):
            running.run_now(running.lease(PageSettings()), 60, "lease")
    finally:
        running.close()


def test_a_machine_without_fonts_is_a_fault_that_says_what_to_install(monkeypatch, tmp_path):
    from agentgym.sandboxes import host as hosts

    (tmp_path / "fonts.conf").write_text("<fontconfig></fontconfig>")
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))
    running = hosts.BrowserHost()
    try:
        for _ in range(2):
            with pytest.raises(SandboxError, match=r"no fonts found.* fonts-dejavu-core"):
                running.run_now(running.lease(PageSettings()), 60, "lease")
        assert running.launches == 1
    finally:
        running.close()
