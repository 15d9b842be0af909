"""Airflow's UI in a real Chromium: signing in, finding what a person sees, and noting what went wrong in the page."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import jwt
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Frame,
    Locator,
    Page,
    Playwright,
    Request,
    Response,
    StorageState,
    expect,
)

from tests.support.airflow_stack import LiveAirflow
from tests.support.emulator import ROOT

SCREENSHOTS = ROOT / ".local" / "screenshots"
PATIENCE = 120_000.0
"""Milliseconds that the page is given for anything: a bound on a test that fails, and no measure of speed."""

_KEEP_NOTICES = """
window.notices = [];
new MutationObserver(() => {
  for (const notice of document.querySelectorAll('[data-scope=toast][data-part=root]')) {
    if (window.notices.at(-1) !== notice.textContent) window.notices.push(notice.textContent);
  }
}).observe(document, {subtree: true, childList: true, characterData: true});
"""
"""The page keeps the words of each notice: it takes them away after some seconds, and a busy machine looks too late."""

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SIZE = {"width": 1400, "height": 1000}
_AIRFLOWS_OWN = "both allow-scripts and allow-same-origin"
"""What Chromium says of the frame in which Airflow shows the page of a plugin."""
_LEFT = "net::ERR_ABORTED"
"""The browser gives up by itself what is still being loaded for a page that it leaves: nothing failed."""


def launch(playwright: Playwright) -> Browser:
    """The Chromium of the machine, without a window."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    assert program, f"none of {', '.join(_NAMES)} is there: install Debian's chromium"
    expect.set_options(timeout=PATIENCE)
    # The sandbox refuses to run as root, as CI does; every page comes from loopback. Where /dev/shm is small, as in
    # containers, Chromium would die of it.
    return playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])


def sign_in(browser: Browser, airflow: LiveAirflow) -> StorageState:
    """Sign in as a person does; what the browser keeps of it."""
    with browser.new_context(base_url=airflow.rest.url) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto("/")
        page.locator("input[name=username]").fill(airflow.rest.login["username"])
        page.locator("input[name=password]").fill(airflow.rest.login["password"])
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("link", name="Dags").first).to_be_visible()
        return context.storage_state()


def as_viewer(state: StorageState, airflow: LiveAirflow) -> StorageState:
    """What the browser of somebody keeps who has signed in to the same Airflow and may only look."""
    secret = airflow.stack.environment["AIRFLOW__API_AUTH__JWT_SECRET"]
    cookies = [dict(cookie) for cookie in state["cookies"]]
    for cookie in cookies:
        if cookie["name"] == "_token":
            token = str(cookie["value"])
            claims = jwt.decode(token, options={"verify_signature": False})
            algorithm = jwt.get_unverified_header(token)["alg"]
            cookie["value"] = jwt.encode({**claims, "sub": "vera", "role": "viewer"}, secret, algorithm)
    return cast("StorageState", {**state, "cookies": cookies})


@contextmanager
def opened(browser: Browser, airflow: LiveAirflow, state: StorageState, name: str) -> Iterator[Ui]:
    """A page in which somebody in Paris is signed in. At the end nothing may have gone wrong in it."""
    with browser.new_context(
        base_url=airflow.rest.url,
        storage_state=state,
        locale="en-GB",
        timezone_id="Europe/Paris",
        reduced_motion="reduce",
    ) as context:
        shown = Ui(context.new_page())
        yield shown
        shown.show(f"end of {name}")
        shown.explain()
    assert not shown.complaints, "\n".join(shown.complaints)


def barriers(page: Page | Frame) -> list[str]:
    """What axe finds in a page that keeps people out: each rule, and the elements that break it."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {', '.join(node['html'][:200] for node in rule['nodes'])}" for rule in found]


class Ui:
    """A page of Airflow's UI in which somebody is signed in, and what went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._refusals: list[Response] = []
        self._refused: str | None = None
        page.set_default_timeout(PATIENCE)
        page.add_init_script(_KEEP_NOTICES)
        page.on("console", self._said)
        page.on("pageerror", self._broke)
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def open(self, path: str, *, height: int = _SIZE["height"]) -> None:
        """Go to a page; `height` is the window's, for forms that are longer than usual."""
        self.page.set_viewport_size({"width": _SIZE["width"], "height": height})
        self.page.goto(path)

    def show(self, name: str) -> Path:
        """Keep a picture of the page, for a person to look at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        file = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=file, animations="disabled")
        return file

    def explain(self) -> None:
        """Add what Airflow said where it refused something; it can be read as long as the page lives."""
        for refusal in self._refusals:
            with contextlib.suppress(Error):
                self.complaints.append(f"it said: {refusal.text()[:500]}")

    def dialog(self, title: str) -> Form:
        """The dialog with this title, once it is there."""
        heading = self.page.get_by_role("heading", name=title)
        dialog = self.page.get_by_role("dialog").filter(has=heading)
        expect(dialog).to_be_visible()
        return Form(self.page, dialog)

    def said(self, title: str, *words: str) -> str:
        """The notice with this title and these words, once it has been shown."""
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            notices = [str(notice) for notice in self.page.evaluate("window.notices")]
            if found := [notice for notice in notices if all(word in notice for word in (title, *words))]:
                return found[-1]
            assert time.monotonic() < deadline, f"no notice {title!r} with {words} among {notices}"
            self.page.wait_for_timeout(100)

    @contextmanager
    def refused(self, route: str) -> Iterator[None]:
        """Inside it Airflow is to refuse a request to this route: Chromium puts that on the console as an error."""
        self._refused = route
        yield
        self._refused = None

    def _is_expected(self, url: str) -> bool:
        return self._refused is not None and url.split("?")[0].endswith(self._refused)

    def _said(self, message: ConsoleMessage) -> None:
        url = message.location["url"]
        if _AIRFLOWS_OWN in message.text:
            return
        if message.type in ("error", "warning") and not self._is_expected(url):
            self.complaints.append(f"console {message.type}: {message.text} ({url})")

    def _broke(self, error: Error) -> None:
        self.complaints.append(f"page error: {error}")

    def _failed(self, request: Request) -> None:
        if request.failure != _LEFT:
            self.complaints.append(f"request failed: {request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and not self._is_expected(response.url):
            self.complaints.append(f"{response.status}: {response.request.method} {response.url}")
            self._refusals.append(response)


class Form:
    """A form in a dialog, as Airflow makes one of a schema."""

    def __init__(self, page: Page, dialog: Locator) -> None:
        self.page = page
        self.dialog = dialog

    @property
    def sections(self) -> Locator:
        return self.dialog.locator("[data-scope=accordion][data-part=item-trigger]")

    def section(self, title: str) -> Locator:
        """A section, opened."""
        section = self.dialog.locator("[data-scope=accordion][data-part=item]").filter(
            has=self.page.get_by_role("button", name=title, exact=True)
        )
        button = section.get_by_role("button", name=title, exact=True)
        if button.get_attribute("aria-expanded") != "true":
            button.click()
        expect(button).to_have_attribute("aria-expanded", "true")
        expect(section.locator("[data-part=item-content]")).to_be_visible()
        return section

    def labels(self, section: Locator) -> Locator:
        return section.locator("label[data-scope=field][data-part=label]")

    def field(self, title: str) -> Locator:
        """The field with this title, and the explanation below it."""
        label = self.page.locator("label").get_by_text(re.compile(rf"^{re.escape(title)}\s*\*?\s*$"))
        return self.dialog.get_by_role("group").filter(has=label).first

    def write(self, title: str, text: str) -> None:
        self.field(title).locator("input, textarea").first.fill(text)

    def choices(self, title: str) -> list[str]:
        """What a drop-down offers; it is left as it was."""
        box = self.field(title).get_by_role("combobox")
        box.click()
        options = self.page.get_by_role("option")
        expect(options.first).to_be_visible()
        offered = options.all_inner_texts()
        box.press("Tab")
        expect(options).to_have_count(0)
        return offered

    def choose(self, title: str, *names: str) -> None:
        """Choose from a drop-down; several, where it takes several."""
        for name in names:
            self.field(title).get_by_role("combobox").click()
            self.page.get_by_role("option", name=name, exact=True).click()

    def switch(self, title: str) -> None:
        self.field(title).locator("[data-scope=switch][data-part=control]").click()

    def pick(self, title: str, day: str, time: str) -> None:
        """Pick a day (YYYY/MM/DD) and a time (HH:MM), in the time zone of the browser."""
        self.field(title).get_by_test_id("datetime-input").click()
        picker = self.page.locator("[data-scope=popover][data-part=content][data-state=open]")
        picker.get_by_role("textbox").nth(0).fill(day)
        picker.get_by_role("textbox").nth(1).fill(time)
        self.page.keyboard.press("Escape")
        expect(picker).to_have_count(0)
