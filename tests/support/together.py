"""Scenarios that do not disturb each other, played side by side on the one Airflow; each test awaits its own.

All scenarios of a session begin at the first test that has one, as many at a time as two cores bear: so the waits of
one are the work of another. Those of the fixture `aftermath` begin together when all others have ended: they disturb
others, or take long, and bear each other and the browser tests. What bears nobody is a test with the fixture
`undisturbed`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import pytest

from tests.support.airflow_stack import LiveAirflow
from tests.support.instances import Instance, Instances

AT_ONCE = 16
ARGUMENT = "scenario"


@dataclass(frozen=True)
class Stage:
    """Where scenarios are played: on the common instance if they leave its settings alone and count no requests."""

    airflow: LiveAirflow
    common: Instance
    instances: Instances


Scenario = Callable[[Stage], None]
_LASTING: list[Scenario] = []


def lasting(scenario: Scenario) -> Scenario:
    """Mark one that waits long, so that it begins among the first."""
    _LASTING.append(scenario)
    return scenario


def scenarios(*played: Scenario) -> pytest.MarkDecorator:
    """The decorator of the test that awaits them one by one, named after them."""
    return pytest.mark.parametrize(ARGUMENT, played, ids=[scenario.__name__ for scenario in played])


def chosen(items: Iterable[pytest.Item], awaiting: str) -> list[Any]:
    """The scenarios that the chosen tests with this argument await, those that wait long ahead of the others.

    Tests whose other fixtures ask for it do not count: they await something else.
    """
    found = [
        item.callspec.params[ARGUMENT]
        for item in items
        if isinstance(item, pytest.Function)
        and awaiting in signature(item.obj).parameters
        and hasattr(item, "callspec")
    ]
    return sorted(found, key=lambda scenario: scenario not in _LASTING)


@dataclass(frozen=True)
class Played:
    """Scenarios that have begun."""

    futures: Mapping[Scenario, Future[None]]

    def result(self, scenario: Scenario) -> None:
        """Wait for the end of one. Raises what went wrong in it."""
        self.futures[scenario].result()

    def wait_for_all(self) -> None:
        """Wait until nothing is played, well or not."""
        wait(self.futures.values())


@contextmanager
def played_together(begun: Iterable[Scenario], stage: Stage, at_once: int = AT_ONCE) -> Iterator[Played]:
    """Begin scenarios, each in a thread; those that have not begun at the end never do."""
    pool = ThreadPoolExecutor(at_once)
    futures = {scenario: pool.submit(scenario, stage) for scenario in begun}
    try:
        yield Played(futures)
    finally:
        if not all(future.done() for future in futures.values()):
            stage.airflow.give_up()
        pool.shutdown(cancel_futures=True)


class Outage:
    """A component that is dead while several look at it: it dies when all have come, and is replaced when all leave."""

    def __init__(self, airflow: LiveAirflow, component: str, witnesses: int) -> None:
        self._airflow = airflow
        self._component = component
        self._is_dead = False
        self._came = threading.Barrier(witnesses, self._kill)
        self._left = threading.Barrier(witnesses, self._restart)

    def __enter__(self) -> Outage:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._is_dead:
            self._restart()

    def look_at(self, witness: Callable[[Stage, Outage], None], stage: Stage) -> None:
        """Let somebody look at it; when that fails, the others do not wait in vain."""
        try:
            witness(stage, self)
        except BaseException:
            self._came.abort()
            self._left.abort()
            raise

    @contextmanager
    def seen(self) -> Iterator[None]:
        """While it is dead."""
        self._came.wait()
        yield
        self._left.wait()

    def _kill(self) -> None:
        self._airflow.kill(self._component)
        self._is_dead = True

    def _restart(self) -> None:
        self._airflow.restart(self._component)
        self._is_dead = False
