from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import pytest

from ...conftest import CHROMIUM
from ..conftest import PORTRAIT
from ..running import Running, serving

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@dataclasses.dataclass
class Visit:
    """A browser's tab at a service, and what must not happen in it.

    Attributes:
        page: Playwright's page.
        server: The service.
        refusals: Statuses that the test provokes, which the browser's console reports.
        away: The test stops the service, and the browser's console reports that.
    """

    page: Any
    server: Running
    refusals: set[int] = dataclasses.field(default_factory=set)
    away: bool = False
    messages: list[str] = dataclasses.field(default_factory=list)
    foreign: list[str] = dataclasses.field(default_factory=list)

    def go(self, view: str) -> None:
        """Shows a view."""
        self.page.goto(f"{self.server.address}/#{view}")
        name = view.partition("/")[0]
        self.page.wait_for_selector(f'#nav a[data-view="{name}"][aria-current]')
        self.page.wait_for_selector("main h1")

    def upload(self, selector: str, *pictures: tuple[str, bytes]) -> None:
        """Gives pictures to the first file input below a selector."""
        files = [
            {"name": name, "mimeType": "image/jpeg", "buffer": data} for name, data in pictures
        ]
        self.page.locator(f"{selector} input[type=file]").first.set_input_files(files)

    def has(self, selector: str, count: int) -> None:
        """Waits until there are this many of something."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_have_count(count, timeout=20_000)

    def note(self, message: Any) -> None:
        """Keeps errors and warnings of the console."""
        expected = any(f"the status of {status}" in message.text for status in self.refusals) or (
            any(f"a status of {status}" in message.text for status in self.refusals)
        )
        away = self.away or self.server.server.should_exit
        expected |= away and "net::ERR_" in message.text
        if message.type in ("error", "warning") and not expected:
            self.messages.append(f"{message.text} ({message.location.get('url')})")

    def request(self, request: Any) -> None:
        """Keeps requests to others than the service."""
        if not request.url.startswith((self.server.address, "blob:", "data:")):
            self.foreign.append(request.url)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as program:
        browser = program.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Opens tabs; afterwards, none of them may have logged an error or asked anybody else."""
    visits, contexts = [], []

    def open_tab(server: Running, **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        found = Visit(context.new_page(), server)
        found.page.set_default_timeout(20_000)
        found.page.on("console", found.note)
        found.page.on("pageerror", lambda error: found.messages.append(str(error)))
        found.page.on("request", found.request)
        visits.append(found)
        return found

    yield open_tab
    for context in contexts:
        context.close()
    assert [message for one in visits for message in one.messages] == []
    assert [url for one in visits for url in one.foreign] == []


@pytest.fixture(scope="package")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with a gallery for this package's tests alone."""
    path = tmp_path_factory.mktemp("page") / "people.gallery"
    with serving(gallery=path) as server:
        yield server


@pytest.fixture
def empty(own: Running) -> Iterator[Running]:
    """The same; the gallery is empty before and after."""
    yield own
    with own.client() as client:
        for person in client.get("/api/v1/people").json()["people"]:
            client.delete(f"/api/v1/people/{person['person_id']}").raise_for_status()


@pytest.fixture(scope="session")
def variants() -> list[bytes]:
    """The six pictures of docs/astronaut_variants.jpg."""
    image = cv2.imread(str(PORTRAIT.with_name("astronaut_variants.jpg")))
    parts = [image[:, 150 * i : 150 * (i + 1)] for i in range(6)]
    return [cv2.imencode(".jpg", part)[1].tobytes() for part in parts]
