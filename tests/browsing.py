"""A browser host for tests, and sites of a few lines."""

from __future__ import annotations

import contextlib
import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import missing

from agentgym.actions.web import grammar

SITE = "site.test"
GRAMMAR = grammar("all", max_calls=20)


def need_browser():
    from agentgym.sandboxes.browser import find_browser

    for module in ("playwright", "uvicorn", "miniwob"):
        if find_spec(module) is None:
            missing(f"{module} is not installed: pip install 'agentgym-env[web]'")
    if find_browser() is None:
        missing("there is no Chromium")


def browser_pids():
    """The browsers of this process: what carries our name and is no other's child."""
    from agentgym.sandboxes import janitor

    marked = f"{janitor.VARIABLE}={janitor.owner()}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if marked in (entry / "environ").read_bytes().split(b"\0"):
                command = (entry / "cmdline").read_bytes()
                if b"--type=" not in command and b"remote-debugging" in command:
                    found.append(int(entry.name))
        except OSError:
            continue
    assert found, "no browser of ours runs"
    return found


def processes_of(pid):
    """What a process started that has its name on it, browsers and their children."""
    from agentgym.sandboxes import janitor

    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(
            each.startswith(f"{janitor.VARIABLE}=".encode()) and f"-{pid}-".encode() in each
            for each in told
        ):
            found.append(int(entry.name))
    return found


def kill_browsers():
    for pid in browser_pids():
        os.kill(pid, signal.SIGKILL)


class Site:
    """Pages by path, as text; a value that is called is an ASGI application of its own."""

    def __init__(self, pages):
        self.pages = pages
        self.asked = []

    async def __call__(self, scope, receive, send):
        from agentgym.sandboxes.serving import respond

        path = scope["path"]
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        self.asked.append((scope["method"], path, headers))
        page = self.pages.get(path)
        if page is None:
            await respond(send, 404, b"<p>not found", "text/html")
        elif callable(page):
            await page(scope, receive, send)
        elif isinstance(page, bytes):
            await respond(send, 200, page, "text/html")
        else:
            await respond(send, 200, page.encode(), "text/html; charset=utf-8")


class Driver:
    """A session on a site, driven from plain code."""

    def __init__(self, host, session):
        self.host, self.session = host, session

    def run(self, work, timeout_s=60):
        return self.host.run_now(work, timeout_s, "test")

    def goto(self, path="/"):
        self.run(self.session.goto(path if "://" in path else f"http://{SITE}{path}"))
        return self.look()

    def look(self, **options):
        return self.run(self.session.observe(**options))

    def do(self, text):
        from agentgym.actions import Action

        told = []
        for call in GRAMMAR.parse(Action(text)).calls:
            told += self.run(self.session.act(call))
        return told

    def then(self, text):
        self.do(text)
        return self.look()

    def id(self, name, role=""):
        return next(row.id for row in self.look().find(role, name))

    def text(self):
        from agentgym.sandboxes.render import render

        return render(self.look())

    def picture(self):
        return self.run(self.session.screenshot())

    def evaluate(self, expression):
        return self.run(self.session.evaluate(expression))


@contextlib.contextmanager
def browse(pages, *, start="/", **settings):
    """A session on a site of these pages."""
    from agentgym.sandboxes.host import host
    from agentgym.sandboxes.page import PageSettings

    need_browser()
    site = Site({"/": pages} if isinstance(pages, (str, bytes)) else pages)
    running = host()
    running.serve(SITE, site)
    usual = {"viewport": (800, 600), "hosts": (SITE,), "deadline_s": 10.0}  # on busy machines
    told = PageSettings(**{**usual, **settings})
    session = running.run_now(running.lease(told), 60, "lease")
    driver = Driver(running, session)
    driver.site = site
    try:
        if start:
            driver.goto(start)
        yield driver
    finally:
        running.run_now(session.close(), 20, "close")


raises = pytest.raises
