"""What goes wrong in browsers, and what becomes of it: an observation, or a typed fault."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from browsing import SITE, browse, browser_pids, kill_browsers, need_browser, processes_of

from agentgym.errors import InvalidAction, SandboxError
from agentgym.sandboxes.page import BrowserError, PageSettings
from agentgym.sandboxes.serving import respond


@pytest.fixture(autouse=True)
def _browser():
    need_browser()


def refused(driver, text):
    with pytest.raises(InvalidAction) as caught:
        driver.do(text)
    return caught.value


# ---------------------------------------------------------------------------- pages that hang


def test_an_endless_loop_is_stopped_and_the_page_can_be_used_again():
    page = "<button onclick='while(true){}'>Hang</button>"
    page += "<button onclick='this.textContent=1'>Go</button>"
    with browse(page, deadline_s=1.0) as driver:
        error = refused(driver, f"click({driver.id('Hang')})")
        assert error.kind == "timeout"
        assert "Hang" in driver.text()
        assert next(driver.then(f"click({driver.id('Go')})").find("button", "1"))


def test_a_page_that_hangs_again_is_given_up_and_others_go_on():
    page = "<button onclick='while(true){}'>Hang</button>"
    with browse(page) as other, browse(page, deadline_s=0.7) as driver:
        refused(driver, f"click({driver.id('Hang')})")
        with pytest.raises(BrowserError) as caught:
            driver.do(f"click({driver.id('Hang')})")
        assert caught.value.kind == "page_hung"
        assert "Hang" in other.text()


def test_a_page_is_given_more_time_while_the_machine_has_more_to_do_than_processors(monkeypatch):
    from agentgym.sandboxes import openpage

    async def slow(scope, receive, send):
        await asyncio.sleep(2)
        await respond(send, 200, b"answer", "text/plain")

    script = "const r=new XMLHttpRequest();r.open('GET','/slow',false);r.send();"
    page = f'<button onclick="{script}this.textContent=r.responseText">Ask</button>'
    monkeypatch.setattr(openpage, "crowded", lambda: True)
    with browse({"/": page, "/slow": slow}, deadline_s=1.5) as driver:
        assert next(driver.then(f"click({driver.id('Ask')})").find("button", "answer"))


def test_a_loop_in_a_timer_of_frozen_time_is_stopped_too():
    page = "<button onclick='setTimeout(() => { while(true){} }, 100)'>Later</button>"
    with browse(page, deadline_s=0.7) as driver:
        assert refused(driver, f"click({driver.id('Later')})").kind == "timeout"
        assert "Later" in driver.text()


def test_timers_that_set_timers_for_ever_do_not_keep_time_from_passing():
    page = "<p id=n>0</p><script>const go=()=>{n.textContent++;setTimeout(go,0)};go()</script>"
    with browse(page) as driver:
        first = driver.text()
        assert driver.do("wait(1000)") == []
        assert driver.text() != first


# ---------------------------------------------------------------------------- crashes


def test_a_renderer_that_crashes_is_a_fault_of_the_infrastructure():
    with browse("<p>x") as driver:

        async def crash():
            await asyncio.wait([asyncio.ensure_future(driver.session.page.cdp.send("Page.crash"))],
                               timeout=2)  # fmt: skip

        driver.run(crash())
        with pytest.raises(SandboxError) as caught:
            driver.look()
        assert caught.value.kind == "page_crash"
        assert "page_crash" in str(caught.value)
    with browse("<p>again") as driver:
        assert "again" in driver.text()


def test_a_browser_that_is_killed_is_a_fault_and_the_next_session_has_another():
    with browse("<p>x") as driver:
        host = driver.host
        launches = host.launches
        kill_browsers()
        with pytest.raises(SandboxError) as caught:
            look_until(driver, time.monotonic() + 5)
        assert caught.value.kind in ("browser_gone", "page_crash", "no_page")
    with browse("<p>again") as driver:
        assert "again" in driver.text()
        assert driver.host.launches == launches + 1


def look_until(driver, deadline):
    while time.monotonic() < deadline:
        driver.look()
        time.sleep(0.05)


# ---------------------------------------------------------------------------- questions


def test_an_alert_is_told_and_accepted():
    with browse('<button onclick=\'alert("Saved!");this.textContent="ok"\'>Save</button>') as d:
        page = d.then(f"click({d.id('Save')})")
        assert page.events == ["alert: Saved!"]
        assert next(page.find("button", "ok"))


ASKS = "<button onclick='this.textContent=confirm(\"Sure?\")'>Delete</button>"
PROMPTS = "<button onclick='this.textContent=prompt(\"Name?\")'>Name</button>"


def test_a_question_waits_for_an_answer():
    with browse(ASKS) as driver:
        page = driver.then(f"click({driver.id('Delete')})")
        assert page.dialog == "Sure?"
        assert page.events[0].startswith("confirm: Sure?")
        assert next(driver.then("dialog()").find("button", "true"))
        driver.do(f"click({driver.id('true')})")
        assert next(driver.then("dialog(accept=false)").find("button", "false"))


def test_a_question_for_text_takes_text():
    with browse(PROMPTS) as driver:
        driver.do(f"click({driver.id('Name')})")
        assert next(driver.then('dialog(text="Ada")').find("button", "Ada"))


def test_a_question_that_is_not_answered_is_dismissed():
    with browse(ASKS) as driver:
        driver.do(f"click({driver.id('Delete')})")
        page = driver.then("wait()")
        assert next(page.find("button", "false"))
        assert "the question was dismissed, as it was not answered" in page.events
        assert refused(driver, "dialog()").kind == "no_dialog"


def test_leaving_a_page_that_asks_not_to_is_accepted():
    page = (
        "<script>addEventListener('beforeunload',e=>{e.preventDefault();e.returnValue=1})</script>"
    )
    pages = {"/": page + "<button>b</button><a href=/next>next</a>", "/next": "<p>there"}
    with browse(pages) as driver:
        driver.do(f"click({driver.id('b')})")
        driver.do(f"click({driver.id('next')})")
        assert "there" in driver.text()


# ---------------------------------------------------------------------------- tabs and files


def test_popups_are_capped():
    page = "<button onclick='for(let i=0;i<20;i++)window.open(\"/p\"+i)'>Open</button>"
    pages = {"/": page, **{f"/p{i}": f"<p>popup {i}" for i in range(20)}}
    with browse(pages, popups=3, deadline_s=30.0) as driver:
        page = driver.then(f"click({driver.id('Open')})")
        assert len(page.tabs) <= 3
        assert any("closed at once" in event for event in page.events)


def test_a_link_to_a_new_tab_is_followed_and_can_be_closed():
    pages = {"/": "<a href=/two target=_blank>two</a>", "/two": "<title>T</title><p>second"}
    with browse(pages) as driver:
        page = driver.then(f"click({driver.id('two')})")
        assert [tab.url for tab in page.tabs] == [f"http://{SITE}/", f"http://{SITE}/two"]
        assert page.tab == 1
        assert "second" in driver.text()
        page = driver.then("close_tab()")
        assert page.tab == 0
        assert next(page.find("link", "two"))
        assert refused(driver, "close_tab()").kind == "no_tab"


def test_the_last_tab_that_closes_itself_leaves_a_blank_one():
    pages = {
        "/": "<a href=/two target=_blank>two</a>",
        "/two": "<button onclick=window.close()>bye</button>",
    }
    with browse(pages) as driver:
        driver.do(f"click({driver.id('two')})")
        page = driver.then(f"click({driver.id('bye')})")
        assert page.tab == 0
        assert next(page.find("link", "two"))


def test_downloads_are_denied():
    async def attachment(scope, receive, send):
        told = {"content-disposition": "attachment; filename=x.csv"}
        await respond(send, 200, b"a,b", "text/csv", told)

    with browse({"/": "<a href=/x.csv>get</a>", "/x.csv": attachment}) as driver:
        page = driver.then(f"click({driver.id('get')})")
        assert any("x.csv" in event and "denied" in event for event in page.events)
        assert page.url == f"http://{SITE}/"


def test_only_files_of_the_task_can_be_uploaded(tmp_path):
    (tmp_path / "cv.txt").write_text("hello")
    page = "<input type=file onchange='out.textContent=this.files[0].name'><p id=out>none</p>"
    with browse(page, files={"cv.txt": tmp_path / "cv.txt"}) as driver:
        field = driver.id("", "file")
        assert refused(driver, f'upload({field}, "/etc/passwd")').kind == "no_file"
        driver.do(f'upload({field}, "cv.txt")')
        assert "cv.txt" in driver.text()


# ---------------------------------------------------------------------------- where it may go

FORBIDDEN = [
    "file:///etc/hostname",
    "view-source:http://site.test/",
    "chrome://version",
    "about:settings",
    "data:text/html,<p>x",
    "javascript:alert(1)",
    "blob:http://site.test/1",
    "http://127.0.0.1/",
    "http://localhost/",
    "http://[::1]/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://example.com/",
    "http://site.test:8731/",
    "http://site.test@example.com/",
    "http://user:pass@site.test/",
    "ftp://site.test/",
    "http://other.test/",
    "site.test",
    "",
    "http://[",
]


def test_addresses_that_may_not_be_opened_are_refused():
    with browse("<p>home") as driver:
        for url in FORBIDDEN:
            error = refused(driver, f"goto({url!r})".replace("'", '"'))
            assert error.kind == "blocked_url", url
        assert driver.look().url == f"http://{SITE}/"


def test_pages_themselves_reach_nothing_else_either():
    links = [url for url in FORBIDDEN if url.startswith(("http", "file"))]
    script = """
      async () => {
        const tried = [];
        for (const url of %s) {
          try { const r = await fetch(url, {mode: "no-cors"}); tried.push([url, r.status]); }
          catch { /* as it must be */ }
        }
        return tried;
      }
    """
    with browse("<p>home") as driver:
        urls = [url for url in links if f"{SITE}/" not in url]
        driver.host.serve("other.test", driver.site)
        before = len(driver.site.asked)
        answered = driver.evaluate(f"({script % urls!s})()")
        assert [url for url, _ in answered] in ([], ["http://other.test/"]), "a 403, opaque"
        assert len(driver.site.asked) == before
        assert driver.evaluate("typeof RTCPeerConnection") == "undefined"
        told = driver.evaluate("navigator.serviceWorker?.register('/sw.js').then(()=>1,()=>0)")
        assert told in (0, None)


GATHER = """async (port) => {
  const found = [];
  const made = new RTCPeerConnection({iceServers: [{urls: `stun:127.0.0.1:${port}`}]});
  made.onicecandidate = (event) => { if (event.candidate) found.push(event.candidate.candidate) };
  made.createDataChannel("x");
  const complete = new Promise((go) => {
    made.onicegatheringstatechange = () => made.iceGatheringState === "complete" && go();
  });
  await made.setLocalDescription(await made.createOffer());
  await Promise.race([complete, new Promise((go) => setTimeout(go, 5000))]);
  return [made.iceGatheringState, found];
}"""


def test_a_peer_connection_finds_no_way_out_even_where_a_page_has_got_hold_of_one():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, browse("<p>x") as driver:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)

        async def gather():
            context = await driver.session.context.browser.new_context()  # without our script
            page = await context.new_page()
            told = await page.evaluate(GATHER, server.getsockname()[1])
            await context.close()
            return told

        assert driver.run(gather()) == ["complete", []]
        with pytest.raises(BlockingIOError):
            server.recv(1)


def test_other_processes_are_not_answered():
    import urllib.error
    import urllib.request

    with browse("<p>home") as driver:
        url = f"http://127.0.0.1:{driver.host.server.port}/"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(url, headers={"Host": SITE}))
        assert caught.value.code == 403
        caught.value.close()


ODD = [
    "<div role=password>x</div>",
    "<form role=button>Go <b>on</b></form><form role=listitem>One <i>two</i></form>",
    "<form onclick='1' role=none>Go</form>",
    "<svg><select></select><slot/></svg><math><select></select></math>",
    f"<div role={'x' * 50_000}>long</div>",
    "<form style='position:fixed;inset:0'><input name=closest><input name=shadowRoot></form>",
    "<form style='position:fixed;inset:0'><input name=getAttribute><input name=tagName></form>",
    "<form><input name=localName><input name=firstChild><input name=nextSibling></form>",
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_no_element_keeps_the_rest_of_a_page_from_being_read(odd):
    with browse(f"<button id=b>Here</button>{odd}<p>The end") as driver:
        assert 'text "The end"' in driver.text()
        with contextlib.suppress(InvalidAction):
            driver.do(f"click({driver.id('Here')})")
        driver.do("scroll_at(400, 300, 100)")
        assert 'text "The end"' in driver.text()


@pytest.mark.parametrize("name", ["parentNode", "parentElement", "host", "scrollBy", "shadowRoot"])
def test_fields_named_as_what_scrolls_lead_nowhere_else(name):
    page = f"<form style='padding:90px'><input name={name}><b onclick=1>Go</b></form>"
    with browse(f"{page}<p style='height:2000px'>Long") as driver:
        driver.do("scroll_at(60, 60, 100)")
        assert driver.evaluate("scrollY") == 100
        driver.do(f'scroll("50", id={driver.id("Go")})')
        assert driver.evaluate("scrollY") == 150


def test_a_page_is_not_told_that_it_is_read_and_cannot_say_what_listens():
    page = """<p id=p>plain</p><p id=q>quiet</p><b id=r>real</b><script>
    p.dispatchEvent(new Event("agentgym:heard", {bubbles: true, composed: true}));
    for (const kind of ["ask", "heard"])
      addEventListener("agentgym:" + kind, () => { q.textContent = "told" }, true);
    r.addEventListener("click", () => 1);
    EventTarget.prototype.dispatchEvent = Event = () => { q.textContent = "told" };</script>"""
    with browse(page) as driver:
        assert driver.text().splitlines() == [
            'text "plain"',
            'text "quiet"',
            '[1] clickable "real"',
        ]


def test_a_page_that_leads_elsewhere_is_left_again():
    page = "<a id=a href='http://example.com/'>out</a><a href='http://other.test/'>sibling</a>"
    with browse(page) as driver:
        driver.host.serve("other.test", driver.site)
        for name in ("out", "sibling"):
            page = driver.then(f"click({driver.id(name)})")
            assert page.url == f"http://{SITE}/"
            (event,) = page.events
            assert event.startswith("blocked: ")


def test_that_a_host_is_not_there_is_said_once():
    gone = "http://gone.invalid/"
    with browse(f"<a href={gone}>gone</a>", hosts=(SITE, "gone.invalid")) as driver:
        page = driver.then(f"click({driver.id('gone')})")
        assert page.url == f"http://{SITE}/"
        assert list(page.events) == [f"'{gone}' cannot be opened"]
        with pytest.raises(InvalidAction, match=f"'{gone}' cannot be opened: net::ERR_NAME"):
            driver.do(f"goto('{gone}')")
        page = driver.look()
        assert (page.url, list(page.events)) == (f"http://{SITE}/", [])


def test_nothing_is_left_for_the_next_episode():
    page = "<script>document.cookie='a=1';localStorage.b=1;sessionStorage.c=1</script>"
    with browse(page) as driver:
        assert driver.evaluate("document.cookie + localStorage.b") == "a=11"
        driver.run(driver.session.renew(driver.session.settings))
        driver.site.pages["/"] = "<p>clean"
        driver.goto()
        assert driver.evaluate("document.cookie + (localStorage.b ?? '')") == ""
        assert driver.evaluate("sessionStorage.length") == 0


def test_two_sessions_share_nothing_and_headers_tell_them_apart():
    page = "<p>x"
    with (
        browse(page, headers={"X-Session": "one"}) as one,
        browse(page, headers={"X-Session": "two"}) as two,
    ):
        one.evaluate("void (document.cookie = 'who=one')")
        assert two.evaluate("document.cookie") == ""
        one.goto("/?1")
        assert two.site.asked[-1][2]["x-session"] == "one"


# ---------------------------------------------------------------------------- servers


def test_a_server_that_never_answers_costs_its_deadline():
    async def silent(scope, receive, send):
        await asyncio.sleep(60)

    with browse({"/": "<a href=/never>never</a>", "/never": silent}, load_s=0.7) as driver:
        page = driver.then(f"click({driver.id('never')})")
        assert "the page is still loading" in page.events


def test_an_endless_redirect_is_an_observation():
    async def around(scope, receive, send):
        await respond(send, 302, b"", "text/plain", {"location": "/around"})

    with browse({"/": "<p>home", "/around": around}) as driver:
        assert refused(driver, f'goto("http://{SITE}/around")').kind == "unreachable"
        assert driver.look().url in (f"http://{SITE}/", "about:blank")


def test_an_error_of_the_server_is_a_page_like_any_other():
    with browse({"/": "<a href=/none>none</a>"}) as driver:
        page = driver.then(f"click({driver.id('none')})")
        assert "not found" in driver.text()
        assert page.url.endswith("/none")


def test_a_page_that_is_no_utf8_is_read():
    with browse(b"<meta charset=latin-1><p>caf\xe9 \xff") as driver:
        assert "café" in driver.text()


# ---------------------------------------------------------------------------- tampering

TAMPER = """<script>
JSON.stringify = () => '{"rows": []}';
Array.prototype.push = () => 0;
Element.prototype.getBoundingClientRect = () => ({});
Element.prototype.getAttribute = () => 'forged';
Map.prototype.get = () => undefined;
document.elementFromPoint = () => null;
</script><button onclick="this.textContent='done'">Honest</button>"""


def test_a_page_cannot_forge_what_is_seen_of_it():
    with browse(TAMPER) as driver:
        assert next(driver.look().find("button", "Honest")).hit
        assert next(driver.then(f"click({driver.id('Honest')})").find("button", "done"))


def test_reading_a_page_leaves_no_trace_in_it():
    page = """<button aria-label=x>b</button><script>
      window.seen = 0;
      new MutationObserver(() => { seen++ }).observe(document, {subtree: true, childList: true,
        attributes: true, characterData: true});
    </script>"""
    with browse(page) as driver:
        for _ in range(3):
            driver.look()
        assert driver.evaluate("seen") == 0
        assert driver.evaluate("typeof __agentgym") == "undefined"


# ---------------------------------------------------------------------------- numbers that went


def test_a_stale_number_names_the_element_that_took_its_place():
    page = (
        "<div id=d><button>Buy</button></div><button onclick='d.innerHTML=d.innerHTML'>New</button>"
    )
    with browse(page) as driver:
        old, again = driver.id("Buy"), driver.id("New")
        new = next(driver.then(f"click({again})").find("button", "Buy"))
        error = refused(driver, f"click({old})")
        assert error.kind == "stale"
        assert f"[{new.id}]" in error.message
        assert refused(driver, "click(9999)").kind == "stale"


def test_numbers_are_not_used_again_on_the_next_page():
    with browse({"/": "<a href=/b>b</a>", "/b": "<button>other</button>"}) as driver:
        old = driver.id("b")
        page = driver.then(f"click({old})")
        assert next(page.find("button", "other")).id != old
        assert refused(driver, f"click({old})").kind == "stale"


REFUSALS = """
<button disabled>off</button>
<div style='position:relative'><button>under</button>
  <div role=dialog style='position:absolute;inset:0;background:#fff'>over it</div></div>
<input readonly aria-label=fixed value=1><p><button>no field</button></p>
<select aria-label=pick><option>a<option>b</select>
<button style='position:fixed;left:-500px'>away</button>
"""


@pytest.mark.parametrize(
    ("name", "call", "kind"),
    [
        ("off", "click({})", "disabled"),
        ("under", "click({})", "covered"),
        ("fixed", 'fill({}, "x")', "not_editable"),
        ("no field", 'fill({}, "x")', "not_editable"),
        ("pick", 'select({}, ["c"])', "no_option"),
        ("no field", 'select({}, ["c"])', "no_option"),
        ("away", "click({})", "offscreen"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_kind(name, call, kind):
    with browse(REFUSALS) as driver:
        error = refused(driver, call.format(driver.id(name)))
        assert error.kind == kind
        assert str(driver.id(name)) in error.message


def test_other_mistakes_have_kinds_too():
    with browse("<p>x") as driver:
        kinds = {
            'press("Nope")': "unknown_key",
            'press("a+b")': "unknown_key",
            "tab(7)": "no_tab",
            "back()": "no_history",
            "forward()": "no_history",
            "zoom(1.0, 1.0, 2.0, 2.0)": "out_of_bounds",
            'scroll("sideways")': "arguments",
        }
        assert {text: refused(driver, text).kind for text in kinds} == kinds


# ---------------------------------------------------------------------------- what is left behind

CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from browsing import browse
with browse("<p>x") as driver:
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("killed_too", [(), ("node",), ("node", "headless-shell", "chrom")])
def test_a_killed_process_leaves_no_browser_and_no_profile(killed_too, tmp_path):
    code = CHILD.format(tests=str(Path(__file__).parent.parent))
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert child.stdout.readline() == "up\n"
        assert processes_of(child.pid)
        assert list(tmp_path.iterdir())
        for process in [*driver_of(child.pid), *processes_of(child.pid)]:
            # Playwright's own process would end the browser, and remove its profile.
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{process}/cmdline").read_text()
                if any(word in command.partition("\0")[0] for word in killed_too):
                    os.kill(int(process), signal.SIGKILL)
        child.kill()
        child.wait()
        deadline = time.monotonic() + 10
        while (left := [*processes_of(child.pid), *tmp_path.iterdir()]) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.1)
        assert left == []
    finally:
        child.kill()
        child.stdout.close()


def driver_of(process):
    """Playwright's own process, which is a child of the process."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(process):
                yield entry.name


def test_a_session_that_nobody_uses_is_closed(monkeypatch):
    from agentgym.sandboxes import host as hosts

    monkeypatch.setattr(hosts, "IDLE_S", 0.2)
    monkeypatch.setattr(hosts, "_REAP_S", 0.1)
    running = hosts.BrowserHost()
    try:
        session = running.run_now(running.lease(PageSettings(hosts=(SITE,))), 60, "lease")
        deadline = time.monotonic() + 10
        while not session.closed and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(BrowserError):
            running.run_now(session.observe(), 5, "observe")
    finally:
        running.close()


def test_a_host_replaces_browsers_that_are_used_up(monkeypatch):
    from agentgym.sandboxes import host as hosts

    monkeypatch.setattr(hosts, "LEASES", 2)
    running = hosts.BrowserHost()
    try:
        for _ in range(3):
            session = running.run_now(running.lease(PageSettings(hosts=(SITE,))), 60, "lease")
            running.run_now(session.close(), 20, "close")
        assert running.launches == 2
    finally:
        running.close()


def test_browsers_that_serve_nobody_do_not_add_up():
    from agentgym.sandboxes import host as hosts

    running = hosts.BrowserHost()
    try:
        kept = running.run_now(running.lease(PageSettings(hosts=(SITE,))), 60, "lease")
        counts = []
        for number in range(4):  # a browser knows from its start which hosts it may reach
            settings = PageSettings(hosts=(f"{number}.example",))
            session = running.run_now(running.lease(settings), 60, "lease")
            counts.append(len(browser_pids()))
            running.run_now(session.close(), 20, "close")
        deadline = time.monotonic() + 10
        while len(browser_pids()) > counts[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(browser_pids()) == counts[0]
        assert not kept.closed
    finally:
        running.close()


def test_a_context_that_was_on_the_internet_is_not_used_again():
    outside = browse("<p>x", hosts=(SITE, "outside.example"))
    with outside as driver, pytest.raises(BrowserError, match="not used again"):
        driver.run(driver.session.renew(driver.session.settings))


def test_no_browser_is_said_with_what_to_do(monkeypatch, tmp_path):
    from agentgym.sandboxes import browser
    from agentgym.sandboxes import host as hosts

    monkeypatch.setattr(browser, "find_browser", lambda **_: None)
    running = hosts.BrowserHost()
    try:
        with pytest.raises(SandboxError, match="install one"):
            running.run_now(running.lease(PageSettings()), 60, "lease")
        script = tmp_path / "chromium"
        script.write_text("#!/bin/sh\necho 'error while loading shared libraries' >&2\nexit 127\n")
        script.chmod(0o755)
        monkeypatch.setattr(browser, "find_browser", lambda **_: script)
        with pytest.raises(SandboxError, match="does not start"):
            running.run_now(running.lease(PageSettings()), 60, "lease")
    finally:
        running.close()
