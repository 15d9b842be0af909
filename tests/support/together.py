"""Independent scenarios, played side by side on the one Airflow. Each test awaits its own.

All scenarios of a session begin at the first test that has one, as many at a time as two cores can run, so that one
works while another waits. The scenarios of the fixture `aftermath` begin together when all others have ended: they
disturb others, but not each other or the browser tests. A test that must run alone has the fixture `undisturbed`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeGuard

import pytest

from tests.support.airflow_stack import LiveAirflow
from tests.support.instances import Instance, Instances
from tests.support.times import spanning

AT_ONCE = 16
ARGUMENT = "scenario"


@dataclass(frozen=True)
class Stage:
    """The place where scenarios are played: the common instance, if they do not change its settings or count
    requests."""

    airflow: LiveAirflow
    common: Instance
    instances: Instances


Scenario = Callable[[Stage], None]
_LASTING: list[Scenario] = []


def lasting(scenario: Scenario) -> Scenario:
    """Mark a scenario that waits long, so that it begins among the first."""
    _LASTING.append(scenario)
    return scenario


def lasts(item: pytest.Item) -> bool:
    """Whether a test awaits a scenario that waits long."""
    return _has_parameters(item) and item.callspec.params.get(ARGUMENT) in _LASTING


def _has_parameters(item: pytest.Item) -> TypeGuard[pytest.Function]:
    return isinstance(item, pytest.Function) and hasattr(item, "callspec")


def scenarios(*played: Scenario) -> pytest.MarkDecorator:
    """The decorator of the test that awaits the scenarios one by one, named after them."""
    return pytest.mark.parametrize(ARGUMENT, played, ids=[scenario.__name__ for scenario in played])


def chosen(items: Iterable[pytest.Item], awaiting: str) -> list[Any]:
    """The scenarios that the selected tests with this argument await. Those that wait long come first.

    Tests whose other fixtures need it do not count, because they await something else.
    """
    found = [
        item.callspec.params[ARGUMENT]
        for item in items
        if _has_parameters(item) and awaiting in signature(item.obj).parameters
    ]
    return sorted(found, key=lambda scenario: scenario not in _LASTING)


@dataclass(frozen=True)
class Played:
    """The scenarios that have begun."""

    futures: Mapping[Scenario, Future[None]]

    def result(self, scenario: Scenario) -> None:
        """Wait for the end of a scenario. Raises its error."""
        self.futures[scenario].result()

    def wait_for_all(self) -> None:
        """Wait until no scenario is running, whatever the results."""
        wait(self.futures.values())


@contextmanager
def played_together(
    begun: Iterable[Scenario], stage: Stage, at_once: int = AT_ONCE, after: Played | None = None
) -> Iterator[Played]:
    """Begin scenarios, each in its own thread, once those of `after` have ended. Those that have not begun at the end
    are dropped."""

    def play(scenario: Scenario) -> None:
        if after is not None:
            after.wait_for_all()
        with spanning(scenario.__name__):
            scenario(stage)

    pool = ThreadPoolExecutor(at_once)
    futures = {scenario: pool.submit(play, scenario) for scenario in begun}
    try:
        yield Played(futures)
    finally:
        if not all(future.done() for future in futures.values()):
            stage.airflow.give_up()
        pool.shutdown(cancel_futures=True)


class Outage:
    """A component that is dead while several scenarios look at it. It dies when all have come, and is replaced when all
    leave."""

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
        """Let a scenario look at it. If that fails, the others do not wait in vain."""
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
