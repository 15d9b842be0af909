"""Airflow accepts the examples of the pages, and the messages that they quote are real."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from airflow.api_fastapi.auth.managers.simple.routes.login import login_router
from airflow.api_fastapi.core_api.routes.public.dag_run import dag_run_router
from airflow.dag_processing.dagbag import DagBag
from fastapi.routing import APIRoute

from tests.support.pages import ROOT, blocks, page, text_of

ON_A_REAL_AIRFLOW = ("Runs", "Login and instance")
"""The chapters of `docs/troubleshooting.md` whose cases the tests in `tests/e2e` produce."""


def quoted(*chapters: str) -> set[str]:
    """The messages that chapters of the page quote."""
    return {message for title, text in _chapters() if title in chapters for message in _messages(text)}


def _chapters() -> Iterator[tuple[str, str]]:
    for chapter in page("troubleshooting.md").split("\n## ")[1:]:
        title, _, text = chapter.partition("\n")
        yield title, text


def _messages(text: str) -> list[str]:
    reported = re.findall(r"\*\*Message:\*\*(.+?)\n\n", text, re.DOTALL)
    return [" ".join(message.split()) for part in reported for message in re.findall(r'"([^"]+)"', part)]


def test_the_daily_example_is_a_dag_with_all_tasks(tmp_path: Path) -> None:
    (example,) = blocks("python")
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    bag = DagBag(str(tmp_path))
    assert bag.import_errors == {}
    assert len(bag.dags["nightly_manuals"].tasks) == 9


def test_what_is_posted_to_start_a_run_is_what_the_dag_takes() -> None:
    bag = DagBag(str(ROOT / "dags"))
    posted = re.findall(r"/dags/(\w+)/dagRuns .*?-d '(\{.+?\})'$", text_of(), re.DOTALL | re.MULTILINE)
    assert len(posted) == 2
    for dag_id, body in posted:
        params = bag.dags[dag_id].params
        params.update(json.loads(body)["conf"])
        params.validate()


def test_every_address_that_is_posted_to_is_one_of_airflow() -> None:
    routes = [route for router in (login_router, dag_run_router) for route in router.routes]
    taken = {route.path for route in routes if isinstance(route, APIRoute) and "POST" in route.methods}
    posted = set(re.findall(r"\$URL/(\S+) ", text_of()))
    assert posted >= {"auth/token", "api/v2/dags/aem_guides_process_assets/dagRuns"}
    named = {
        re.sub(r"/dags/\w+/", "/dags/{dag_id}/", path.removeprefix("api/v2").removeprefix("auth")) for path in posted
    }
    assert named <= taken


def test_every_message_that_says_what_is_wrong_is_looked_for_on_the_real_airflow() -> None:
    found = quoted(*ON_A_REAL_AIRFLOW)
    tests = text_of(*(ROOT / "tests" / "e2e").glob("*.py"))
    assert len(found) >= 13
    assert [message for message in sorted(found) if message not in tests] == []


def test_every_other_message_is_one_of_the_code() -> None:
    others = [title for title, _ in _chapters() if title not in ON_A_REAL_AIRFLOW]
    found = quoted(*others)
    # A message may span several lines of the source.
    source = re.sub(r'"\s+f?"', "", text_of(*(ROOT / "plugins").rglob("*.py")))
    assert len(found) >= 4
    assert [message for message in sorted(found) if message not in source] == []


def test_every_symptom_has_a_message_or_a_remedy() -> None:
    symptoms = [symptom for _, text in _chapters() for symptom in text.split("\n### ")[1:]]
    assert len(symptoms) >= 18
    assert [symptom for symptom in symptoms if "**Remedy:**" not in symptom] == []
