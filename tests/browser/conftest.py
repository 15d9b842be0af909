"""One Chromium for the browser tests, and a page of its own for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, StorageState, sync_playwright

from tests.support.airflow_stack import LiveAirflow
from tests.support.browser import Ui, launch, sign_in
from tests.support.together import Played


@pytest.fixture(scope="package")
def chromium(aftermath: Played) -> Iterator[Browser]:
    """It ends with the last browser test: while it is there, no other event loop can run in this thread."""
    del aftermath  # has begun: its scenarios mostly wait, and do so while this thread waits for pages
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
    with chromium.new_context(
        base_url=airflow.rest.url,
        storage_state=signed_in,
        locale="en-GB",
        timezone_id="Europe/Paris",
        reduced_motion="reduce",
    ) as context:
        shown = Ui(context.new_page())
        yield shown
        shown.show(f"end of {request.node.name}")
        shown.explain()
    assert not shown.complaints, "\n".join(shown.complaints)
