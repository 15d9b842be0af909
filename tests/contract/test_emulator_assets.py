"""The emulator's answers about the assets of an ended job, with every odd answer that it can be set to give."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import Instance

WHERE = "/bin/guides/v1/assets/status"


def asset_status(instance: Instance, path: str) -> dict[str, Any]:
    """The answer for all assets below a path."""
    where = instance.emulator.url + WHERE
    job_id = instance.client.post(where, json={"paths": [path]}).json()["jobId"]
    answer: dict[str, Any] = instance.client.get(where, params={"jobId": job_id}).json()
    return answer


@pytest.fixture
def folder(instance: Instance) -> str:
    """A folder of four assets, all of which were processed."""
    instance.emulator.settings(asset_status_seconds=0)
    path = instance.folder(4, rate=1000)
    instance.end(instance.start(path))
    return path


def test_it_reports_the_configured_states_of_assets(instance: Instance, folder: str) -> None:
    instance.emulator.settings(
        told_assets={
            "*/topic_0000001.dita": {"status": "UNPROCESSED", "reason": "who knows"},
            "*/topic_0000002.dita": {"status": "PENDING", "exists": False},
            "*/topic_0000003.dita": {"omitted": True},
        }
    )
    reported = asset_status(instance, folder)
    assert [(asset["status"], asset["exists"], asset.get("reason")) for asset in reported["assets"]] == [
        ("SUCCESS", True, None),
        ("UNPROCESSED", True, "who knows"),
        ("PENDING", False, None),
    ]


@pytest.mark.parametrize(
    "wrong", [{"*": "SUCCESS"}, {"*": {"state": "SUCCESS"}}, {"*": {"status": 3}}, {"*": {"omitted": "yes"}}]
)
def test_facts_that_it_cannot_report_of_an_asset_are_refused(instance: Instance, wrong: dict[str, object]) -> None:
    refused = instance.emulator.admin.patch("/emulator/settings", json={"told_assets": wrong})
    assert refused.status_code == 400
    assert "told_assets" in refused.text or "state" in refused.text


def test_before_2026_09_the_asset_status_fails_over_a_comma(instance: Instance, folder: str) -> None:
    instance.emulator.settings(comma_fails_asset_status=True)
    assert asset_status(instance, folder)["status"] == "SUCCESS"
    odd = f"{folder}/a, b"
    instance.emulator.virtual_folder(odd, 1)
    for path in (folder, odd):
        reported = asset_status(instance, path)
        assert (reported["status"], reported["assets"]) == ("FAILED", None)


def test_a_job_some_of_whose_assets_failed_may_end_in_a_word_of_its_own(instance: Instance, folder: str) -> None:
    instance.emulator.settings(errors_word="COMPLETED WITH ERRORS")
    broken = instance.folder(3, rate=1000, failed_assets=1)
    ended = instance.wait(instance.start(broken), lambda job: job["completedAt"])
    assert (ended["status"], ended["restartable"]) == ("COMPLETED WITH ERRORS", True)
    assert instance.end(instance.start(folder))["status"] == "SUCCESS"


def test_the_query_builder_says_that_there_are_more_only_where_it_guesses_the_total(
    instance: Instance, folder: str
) -> None:
    def page(**more: str) -> dict[str, Any]:
        query = {"path": folder, "type": "dam:Asset", "p.limit": "2", **more}
        found: dict[str, Any] = instance.client.get(
            f"{instance.emulator.url}/bin/querybuilder.json", params=query
        ).json()
        return found

    assert [page()[name] for name in ("results", "total", "more")] == [2, 4, False]
    assert page(**{"p.guessTotal": "true"})["more"] is True
    assert page(**{"p.guessTotal": "true", "p.offset": "2"})["more"] is False
