"""Shared fixtures of all tests: a separate Airflow home, before Airflow is imported."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

HOME = Path(tempfile.mkdtemp(prefix="aem-guides-tests-"))
ROOT = Path(__file__).resolve().parents[1]
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
)

import pytest  # noqa: E402  # Airflow reads its environment when it is first imported
from airflow.sdk._shared.secrets_masker import _secrets_masker  # noqa: E402
from hypothesis import settings as hypothesis_settings  # noqa: E402

from aem_guides.hooks import bodies  # noqa: E402
from tests.support.airflow_stack import LiveAirflow  # noqa: E402
from tests.support.clocks import Clock  # noqa: E402
from tests.support.emulator import CONTENT, EmulatorProcess  # noqa: E402
from tests.support.instances import Instances  # noqa: E402
from tests.support.times import keep_times  # noqa: E402
from tests.support.together import Played, Stage, chosen, lasts, played_together  # noqa: E402

hypothesis_settings.register_profile("steady", derandomize=True, deadline=None, print_blob=True)
hypothesis_settings.load_profile("steady")

WITH_AIRFLOW = {"airflow", "spread"}
"""The fixtures that start a whole Airflow. Tests with one of them get the mark `airflow`."""

TURNS = {"undisturbed": 4, "chromium": 1, "aftermath": 3}
"""The browser tests run while the last scenarios wait, and beside those of `aftermath`."""
TURN_OF_LASTING = 2

CORPUS = ROOT.parent / "shared" / "corpus" / "dita-ot-docs"


class _EndInOrder:
    """A signal that ends the tests also ends what they started, as Ctrl-C does. A second signal does not disturb
    that."""

    def __init__(self) -> None:
        self._ended = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if not self._ended:
            self._ended = True
            raise KeyboardInterrupt


def pytest_configure(config: pytest.Config) -> None:
    keep_times(config)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _EndInOrder())


@pytest.hookimpl(tryfirst=True)  # before the marks select
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and WITH_AIRFLOW & set(item.fixturenames):
            item.add_marker("airflow")
    items.sort(key=turn)


def turn(item: pytest.Item) -> int:
    """The order of a test, by the first of these fixtures that it has. Tests of scenarios that end soon come first."""
    named = item.fixturenames if isinstance(item, pytest.Function) else []
    without = TURN_OF_LASTING if lasts(item) else 0
    return next((turn for fixture, turn in TURNS.items() if fixture in named), without)


@pytest.fixture(autouse=True)
def _no_instance_is_asked_less_for_what_another_test_did() -> None:
    bodies.MANNERS.clear()


@pytest.fixture(autouse=True)
def _secrets_are_masked_for_their_test_only() -> Iterator[None]:
    """Airflow compiles one expression of all secrets, anew for each new one: the tokens of hundreds of tests would
    soon take tens of milliseconds each."""
    masker = _secrets_masker()
    patterns, replacer = set(masker.patterns), masker.replacer
    yield
    masker.patterns, masker.replacer = patterns, replacer


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The clock of a module's tests and of its emulator: the real one, unless a folder or module overrides it."""
    return Clock()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[EmulatorProcess]:
    """One emulator for the tests of a module."""
    with EmulatorProcess(tmp_path_factory.mktemp("emulator"), clock=clock) as running:
        yield running


@pytest.fixture(scope="session")
def live_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """The emulator that the real Airflow works with."""
    contents = dict(CONTENT)
    if CORPUS.exists():
        contents["/content/dam/corpus"] = CORPUS
    with EmulatorProcess(tmp_path_factory.mktemp("live-emulator"), contents=contents) as running:
        yield running


@pytest.fixture(scope="session")
def airflow(live_emulator: EmulatorProcess) -> Iterator[LiveAirflow]:
    """One real Airflow for all tests of a session."""
    with LiveAirflow(live_emulator) as running:
        yield running


@pytest.fixture(scope="session")
def stage(airflow: LiveAirflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The one Airflow with a common instance for all scenarios that do not change it."""
    instances = Instances(airflow, tmp_path_factory.mktemp("instances"))
    with instances.new() as common:
        yield Stage(airflow, common, instances)


@pytest.fixture(scope="session")
def played(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Played]:
    """The scenarios of all selected tests, begun together."""
    with played_together(chosen(request.session.items, "played"), stage) as begun:
        yield begun


@pytest.fixture(scope="session")
def aftermath(request: pytest.FixtureRequest, stage: Stage, played: Played) -> Iterator[Played]:
    """The scenarios that disturb all others but each other, begun together when the others have ended."""
    rough = chosen(request.session.items, "aftermath")
    with played_together(rough, stage, after=played) as begun:
        yield begun


@pytest.fixture(scope="session")
def undisturbed(stage: Stage, played: Played, aftermath: Played) -> Stage:
    """The stage when all scenarios have ended."""
    played.wait_for_all()
    aftermath.wait_for_all()
    return stage
