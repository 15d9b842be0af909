"""The product understands the connections that the pages show, set by a shell as a reader does."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from airflow.sdk import BaseHook

from aem_guides.hooks.connection import InstanceSettings, read_connection
from tests.support.logins import account_document
from tests.support.pages import DOCS, README, blocks

VARIABLE = "AIRFLOW_CONN_AEM_GUIDES_DEFAULT"
AUTHOR = "https://author.example.com"
EMULATOR = "http://127.0.0.1:4502"


def examples(*files: Path) -> list[str]:
    """Each command in the pages that sets the connection."""
    found = [block.removesuffix("make up\n") for block in blocks("", *files) if f"export {VARIABLE}=" in block]
    return [f"export {command}".strip() for block in found for command in block.split("export ")[1:]]


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstanceSettings:
    """The settings that the product reads after the shell has run the command."""
    document = json.dumps(account_document("https://ims.example.com"), indent=2)
    (tmp_path / "service_token.json").write_text(document, encoding="utf-8")
    script = f'{request.param}\nprintf %s "${VARIABLE}"'
    done = subprocess.run(["/bin/bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    monkeypatch.setenv(VARIABLE, done.stdout)
    return read_connection(BaseHook.get_connection("aem_guides_default"))


@pytest.mark.parametrize("settings", sorted(set(examples())), indirect=True)
def test_a_connection_in_a_page_is_one_to_an_author_without_a_warning(settings: InstanceSettings) -> None:
    assert settings.base_url in (AUTHOR, EMULATOR)
    assert settings.warnings == ()


def test_there_are_both_forms_of_each_kind_of_login() -> None:
    kinds = {"bearer": '"token"', "oauth": "oauth", "service_credentials": "service_credentials"}
    forms = Counter(
        next((kind for kind, sign in kinds.items() if sign in command or "?token=" in command), "basic")
        for command in examples(DOCS / "connection.md")
    )
    assert forms == Counter(dict.fromkeys(("basic", *kinds), 2))


def test_the_readme_shows_one_connection_as_json() -> None:
    assert len(examples(README)) == 1
