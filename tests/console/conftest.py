"""A browser and a server for the console's tests.

Playwright's synchronous interface runs an event loop in the test's thread, and Django then refuses
the database there. The browser therefore lives in a thread of its own, and tests talk to it through
`Browser.run`; what they do with the database stays in their own thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from playwright.sync_api import BrowserContext, Page, sync_playwright

from autopilot.accounts.roles import Role
from executions.events.hub import HUB
from tests.factories import UserFactory

Result = TypeVar("Result")

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]


class Browser:
    """Chromium in a thread of its own. `run(work)` does `work()` there and answers its result."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="browser")
        self.run(self._start)

    def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return self._thread.submit(work, *arguments).result()

    def _start(self) -> None:
        self._playwright = sync_playwright().start()
        self._chromium = self._playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)

    def context(self, **options: Any) -> BrowserContext:
        return self.run(lambda: self._chromium.new_context(**options))

    def close(self) -> None:
        self.run(self._chromium.close)
        self.run(self._playwright.stop)
        self._thread.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


# A text that is still fading in has little contrast for a moment. Endless ones are no fading.
SETTLED = """Promise.all(document.getAnimations()
    .filter((each) => each.effect.getComputedTiming().iterations !== Infinity)
    .map((each) => each.finished.catch(() => null)))
    .then(() => null)"""


class Visit:
    """One person's window. What went wrong on any page is in `complaints`."""

    def __init__(self, browser: Browser, base: str, **options: Any) -> None:
        self.base = base
        self.complaints: list[str] = []
        self._browser = browser
        self._context = browser.context(**options)
        self._page: Page = browser.run(self._open)

    def _open(self) -> Page:
        page = self._context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("request", self._note_request)
        return page

    def _note_console(self, message: Any) -> None:
        # The browser itself reports answers of 400 and above; the tests that cause them expect so.
        if (
            message.type == "error"
            and "the server responded with a status of 4" not in message.text
        ):
            self.complaints.append(f"console: {message.text}")

    def _note_request(self, request: Any) -> None:
        host = urlsplit(request.url).hostname
        if not request.url.startswith(("data:", "blob:")) and host != urlsplit(self.base).hostname:
            self.complaints.append(f"request to another host: {request.url}")

    def do(self, work: Callable[[Page], Result]) -> Result:
        """Do something with the page."""
        return self._browser.run(work, self._page)

    def open(self, path: str) -> int:
        """Go there; answers the HTTP status."""
        response = self.do(lambda page: page.goto(f"{self.base}{path}"))
        assert response is not None
        return response.status

    def sign_in(self, user: Any) -> None:
        """With a session that was made without the page for it, which has a test of its own."""
        client = Client()
        client.force_login(user)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME]
        given = {"name": cookie.key, "value": cookie.value, "url": self.base}
        self._browser.run(self._context.add_cookies, [given])

    def text(self, selector: str = "main") -> str:
        return " ".join(self.do(lambda page: page.locator(selector).inner_text()).split())

    def wait_for(self, text: str, selector: str = "main") -> None:
        """Until the text stands on the page, without reloading it."""
        self.do(
            lambda page: page.locator(selector).get_by_text(text).first.wait_for(state="visible")
        )

    def press(self, name: str, role: Any = "button") -> None:
        self.do(lambda page: page.get_by_role(role, name=name, exact=True).click())

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.do(
            lambda page: page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        )

    def turn(self, *, dark: bool) -> None:
        """Between the themes, without loading the page again; the page itself looks only once."""

        def work(page: Page) -> None:
            page.emulate_media(color_scheme="dark" if dark else "light")
            page.evaluate("(dark) => document.documentElement.classList.toggle('dark', dark)", dark)

        self.do(work)

    def violations(self) -> list[str]:
        """What axe finds once nothing fades or moves any more: rule, and the first place."""
        self.do(lambda page: page.evaluate(SETTLED))
        found = self.do(lambda page: Axe().run(page)).response["violations"]
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]

    def close(self) -> None:
        self._browser.run(self._context.close)


@pytest.fixture
def visit(
    browser: Browser, live_server: Any, transactional_db: None
) -> Iterator[Callable[..., Visit]]:
    """`visit(Role.OPERATOR, dark=True, width=390)`: a window of a new person with that role."""
    visits: list[Visit] = []

    def make(
        role: Role | None = Role.ADMINISTRATOR,
        *,
        dark: bool = False,
        width: int = 1440,
        name: str = "admin",
    ) -> Visit:
        visit = Visit(
            browser,
            live_server.url,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
        )
        visits.append(visit)
        visit.sign_in(UserFactory.create(role=role, username=name, is_staff=True))
        return visit

    yield make
    complaints = [complaint for visit in visits for complaint in visit.complaints]
    for visit in visits:
        visit.close()
    # Their streams end with it, and the connection that it reads with.
    HUB.close()
    assert complaints == []
