"""Users and passwords with letters beyond ASCII: sent in AEM's encoding, and never shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aem_guides.protocol import contract
from aem_guides.protocol.errors import AuthenticationError, ConfigurationError
from aem_guides.protocol.models import History
from tests.support.bodies import AsyncBody, Body, SyncBody
from tests.support.clocks import Clock
from tests.support.emulator import PASSWORD, EmulatorProcess

UMLAUTS = "grün-pâté-canary"


@pytest.fixture(params=[SyncBody, AsyncBody], ids=["blocking", "asynchronous"])
def body(request: pytest.FixtureRequest) -> Body:
    made: Body = request.param()
    return made


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[EmulatorProcess]:
    """An emulator whose user has such a password, which it decodes as Sling does."""
    arguments = ("--password", UMLAUTS)
    with EmulatorProcess(tmp_path_factory.mktemp("emulator"), arguments=arguments, clock=clock) as running:
        yield running


def ask(body: Body) -> History:
    return body.drive(lambda talk: talk.call(contract.history()))


def test_a_password_with_letters_of_western_europe_is_sent_as_aem_reads_it(
    body: Body, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection().replace(PASSWORD, UMLAUTS))
    assert ask(body).jobs == ()


def test_a_wrong_one_is_refused_and_shown_in_no_form(
    body: Body, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection().replace(PASSWORD, f"{UMLAUTS}-wrong"))
    emulator.fault("history", "echo", status=401, count=None)
    with pytest.raises(AuthenticationError, match=r"Basic \*\*\*") as caught:
        ask(body)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("field", "login"), [("password", "admin"), ("login", "admın")])
def test_one_with_a_letter_that_aem_cannot_take_is_refused_before_anything_is_sent(
    body: Body, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, field: str, login: str
) -> None:
    wrong = emulator.connection().replace(PASSWORD, "canary-€" if field == "password" else UMLAUTS)
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", wrong.replace('"admin"', f'"{login}"'))
    asked = len(emulator.requests())
    with pytest.raises(ConfigurationError, match=f"{field}.*ISO-8859-1") as caught:
        ask(body)
    assert "canary" not in str(caught.value)
    assert len(emulator.requests()) == asked
