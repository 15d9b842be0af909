"""The emulator answers as the contract says, whatever it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from schemathesis.specs.openapi import checks

from tests.support.emulator import PASSWORD, TOKEN, EmulatorProcess

schema = schemathesis.openapi.from_path(Path(__file__).with_name("openapi.yaml"))
QUICK = hypothesis_settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.ignored_auth,
]


@schema.parametrize()  # type: ignore[untyped-decorator]  # mypy is spared schemathesis
@QUICK
def test_any_request_gets_an_answer_of_the_contract(case: Any, emulator: EmulatorProcess) -> None:
    case.call_and_validate(base_url=emulator.url, auth=("admin", PASSWORD), checks=CHECKS)


@schema.parametrize()  # type: ignore[untyped-decorator]  # mypy is spared schemathesis
@hypothesis_settings(QUICK, max_examples=3)
def test_a_bearer_token_opens_the_same_doors(case: Any, emulator: EmulatorProcess) -> None:
    case.call_and_validate(base_url=emulator.url, headers={"Authorization": f"Bearer {TOKEN}"}, checks=CHECKS)


def test_the_window_shows_the_last_five_and_every_job_in_it_fits_the_contract(emulator: EmulatorProcess) -> None:
    client = httpx.Client(base_url=emulator.url, auth=("admin", PASSWORD), trust_env=False)
    with client:
        started = []
        for number in range(7):
            emulator.virtual_folder(f"/content/dam/window-{number}", 1)
            answer = client.post(
                "/bin/guides/v1/assets/process",
                json={"path": f"/content/dam/window-{number}", "type": "ASSET_PROCESSING"},
            )
            started.append(answer.json()["processingId"])
        shown = client.get("/bin/guides/v1/assets/process/history")
        schema["/bin/guides/v1/assets/process/history"]["GET"].validate_response(schemathesis.Response.from_any(shown))
        assert {job["processingId"] for job in shown.json()["executionHistory"]} <= set(started[2:]) | {
            job["processingId"] for job in shown.json()["executionHistory"] if job["createdBy"] != "admin"
        }
        assert len(shown.json()["executionHistory"]) == 5


@pytest.mark.parametrize("agent", ["Mozilla/5.0", "Opera/9.80"])
def test_a_browser_is_sent_to_the_login_page(emulator: EmulatorProcess, agent: str) -> None:
    answer = httpx.get(
        f"{emulator.url}/bin/guides/v1/assets/process/history",
        auth=("admin", PASSWORD),
        headers={"User-Agent": agent},
        trust_env=False,
    )
    assert answer.status_code == 302
