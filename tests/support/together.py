"""Scenarios that do not disturb each other, played side by side on the one Airflow; each test awaits its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar, cast

import pytest

Stage = TypeVar("Stage")
Scenario = Callable[[Stage], None]
ARGUMENT = "scenario"


@contextmanager
def played_together(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Mapping[Scenario[Stage], Future[None]]]:
    """Begin the scenarios that the module's chosen tests have as their parameter `scenario`, each in a thread."""
    chosen = [
        cast("Scenario[Stage]", item.callspec.params[ARGUMENT])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path == request.path
        and hasattr(item, "callspec")
        and ARGUMENT in item.callspec.params
    ]
    with ThreadPoolExecutor(max(1, len(chosen))) as pool:
        yield {scenario: pool.submit(scenario, stage) for scenario in chosen}


def scenarios(*played: Scenario[Stage]) -> pytest.MarkDecorator:
    """The decorator of the test that awaits them one by one, named after them."""
    return pytest.mark.parametrize(ARGUMENT, played, ids=[scenario.__name__ for scenario in played])
