"""One Chromium for the browser tests, and a page of its own for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, StorageState, sync_playwright

from tests.support.airflow_stack import LiveAirflow
from tests.support.browser import Ui, as_viewer, launch, opened, sign_in
from tests.support.together import Played


@pytest.fixture(scope="package")
def chromium(aftermath: Played) -> Iterator[Browser]:
    """It ends with the last browser test: while it is there, no other event loop can run in this thread."""
    del aftermath  # its scenarios begin when the others have ended, while this thread waits for pages
    with sync_playwright() as playwright, launch(playwright) as browser:
        yield browser


@pytest.fixture(scope="package")
def signed_in(chromium: Browser, airflow: LiveAirflow) -> StorageState:
    return sign_in(chromium, airflow)


@pytest.fixture
def ui(
    request: pytest.FixtureRequest, chromium: Browser, signed_in: StorageState, airflow: LiveAirflow
) -> Iterator[Ui]:
    """A page in which somebody in Paris is signed in. At the end nothing may have gone wrong in it."""
    with opened(chromium, airflow, signed_in, request.node.name) as shown:
        yield shown


@pytest.fixture
def viewers_ui(
    request: pytest.FixtureRequest, chromium: Browser, signed_in: StorageState, airflow: LiveAirflow
) -> Iterator[Ui]:
    """The same for somebody who may only look."""
    with opened(chromium, airflow, as_viewer(signed_in, airflow), request.node.name) as shown:
        yield shown
