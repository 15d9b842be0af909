"""The settings of a stack: secrets that are kept, a free port, an environment that keeps the user's choices."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from local import settings
from local.problems import StackError
from local.processes import free_port
from local.settings import (
    ARCHIVE_URI,
    INSTANCE_CONNECTION,
    LEDGER_CONNECTION,
    airflow_environment,
    choose_api_port,
    emulator_connection,
    kept_port,
    kept_secrets,
    write_private,
)

TAKEN = 8124


@pytest.fixture
def taken_port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port that is in use. All other ports are free."""
    monkeypatch.setattr(settings, "is_free", lambda port: port != TAKEN)
    return TAKEN


def environment(folder: Path, **given: str) -> dict[str, str]:
    return airflow_environment(
        given,
        folder,
        dags_folder=folder / "dags",
        port=8123,
        kept=kept_secrets(folder),
        airflow_database="postgresql:///airflow",
        ledger_database="postgresql:///ledger",
    )


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    assert kept_secrets(tmp_path) == kept_secrets(tmp_path)


def test_two_stacks_share_no_secret(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert not set(vars(kept_secrets(first)).values()) & set(vars(kept_secrets(second)).values())


def test_the_key_that_signs_tokens_has_at_least_64_bytes(tmp_path: Path) -> None:
    assert len(kept_secrets(tmp_path).jwt_secret.encode()) >= 64


def test_only_the_owner_can_read_the_secrets(tmp_path: Path) -> None:
    kept_secrets(tmp_path)
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"password": "x"}', '{"unknown": "x"}'])
def test_damaged_secrets_are_reported_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "secrets.json").write_text(text)
    with pytest.raises(StackError, match=r"secrets\.json is damaged\. `make clean`"):
        kept_secrets(tmp_path)


def test_a_private_file_replaces_one_that_others_could_read(tmp_path: Path) -> None:
    file = tmp_path / "up.json"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_port_that_is_asked_for_is_used() -> None:
    free = free_port()
    assert choose_api_port({"AIRFLOW__API__PORT": str(free)}, pytest.fail) == free


def test_a_port_that_is_asked_for_but_taken_is_an_error(taken_port: int) -> None:
    with pytest.raises(StackError, match=rf"AIRFLOW__API__PORT: port {taken_port} is taken\. Choose another"):
        choose_api_port({"AIRFLOW__API__PORT": str(taken_port)}, pytest.fail)


@pytest.mark.parametrize("port", ["http", "-1", "0", "65536", "80.5", "٨٠٨٠"])
def test_a_port_that_is_none_is_an_error_that_says_what_is_one(port: str) -> None:
    with pytest.raises(StackError, match=r"AIRFLOW__API__PORT: .* is not a port\. Give a number from 1 to 65535\."):
        choose_api_port({"AIRFLOW__API__PORT": port}, pytest.fail)


def test_if_the_usual_port_is_taken_another_is_chosen_and_printed(
    taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DEFAULT_API_PORT", taken_port)
    reported: list[str] = []
    port = choose_api_port({}, reported.append)
    assert port != taken_port
    assert reported == [
        f"Port {taken_port} is taken, so Airflow listens on port {port}. Set AIRFLOW__API__PORT to choose another."
    ]


def test_if_the_usual_port_is_free_nothing_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_port()
    monkeypatch.setattr(settings, "DEFAULT_API_PORT", free)
    assert choose_api_port({"AIRFLOW__API__PORT": ""}, pytest.fail) == free


def test_what_the_user_chose_is_kept(tmp_path: Path) -> None:
    chosen = {
        ARCHIVE_URI: "s3://bucket/logs",
        LEDGER_CONNECTION: "postgresql://elsewhere/ledger",
        INSTANCE_CONNECTION: "aem-guides://author",
        "HOME": "/home/someone",
    }
    assert chosen.items() <= environment(tmp_path, **chosen).items()


def test_places_that_were_not_chosen_are_in_the_stacks_folder(tmp_path: Path) -> None:
    made = environment(tmp_path, **{ARCHIVE_URI: ""})
    assert made[ARCHIVE_URI] == f"file://{tmp_path}/archive"
    assert made[LEDGER_CONNECTION] == "postgresql:///ledger"
    assert made["AIRFLOW_HOME"] == f"{tmp_path}/airflow"


def test_airflow_listens_on_loopback_only(tmp_path: Path) -> None:
    made = environment(tmp_path, AIRFLOW__API__HOST="::")
    assert made["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert made["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:8123"
    assert made["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8123/execution/"


def test_no_proxy_stands_between_the_programs_of_a_stack(tmp_path: Path) -> None:
    made = environment(tmp_path, HTTP_PROXY="http://proxy:3128", no_proxy="intranet")
    assert made["no_proxy"] == made["NO_PROXY"] == "intranet,127.0.0.1,localhost,::1"


def test_the_port_of_the_emulator_is_kept_while_it_is_free(tmp_path: Path, taken_port: int) -> None:
    file = tmp_path / "emulator.port"
    assert kept_port(file) == 0
    port = free_port()
    file.write_text(str(port))
    assert kept_port(file) == port
    file.write_text(str(taken_port))
    assert kept_port(file) == 0


@pytest.mark.parametrize("written", ["", "none", "0", "65536", "-1", "²"])
def test_an_invalid_port_means_any_port(tmp_path: Path, written: str) -> None:
    file = tmp_path / "emulator.port"
    file.write_text(written)
    assert kept_port(file) == 0


def test_the_connection_to_the_emulator_is_one_that_airflow_reads() -> None:
    assert json.loads(emulator_connection("http://127.0.0.1:4502", "p:w/@")) == {
        "conn_type": "aem_guides",
        "host": "http://127.0.0.1:4502",
        "login": "admin",
        "password": "p:w/@",
    }
