"""Commands, options and variables in the pages exist."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from typing import cast

import pytest
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf

from aem_guides.provider_info import get_provider_info
from tests.support.pages import DOCS, README, ROOT, blocks, page, pages, text_of

OPTIONS = cast("dict[str, dict[str, dict[str, object]]]", get_provider_info()["config"])["aem_guides"]["options"]


def inline() -> set[str]:
    """The code that the pages quote within their text, which may span lines."""
    text = re.sub(r"^```.*?^```", "", text_of(), flags=re.DOTALL | re.MULTILINE)
    return {" ".join(quoted.split()) for quoted in re.findall(r"`([^`]+)`", text)}


def of_airflow() -> list[str]:
    return sorted(command for command in inline() if command.startswith("airflow "))


@pytest.mark.parametrize("command", of_airflow())
def test_a_command_of_airflow_is_one_that_it_understands(command: str) -> None:
    words = shlex.split(command)[1:]
    if any(word.startswith("-") for word in words):
        get_parser().parse_args(words)
    else:  # the reader adds its arguments
        with pytest.raises(SystemExit) as ended:
            get_parser().parse_args([*words, "--help"])
        assert ended.value.code == 0


def test_a_command_that_airflow_does_not_have_is_noticed() -> None:
    with pytest.raises(SystemExit) as ended:
        get_parser().parse_args(["connections", "gat", "--help"])
    assert ended.value.code == 2


def test_there_are_commands_of_airflow_with_and_without_arguments() -> None:
    assert {"airflow connections get", "airflow connections list --show-values --hide-sensitive"} <= set(of_airflow())


def test_every_module_that_is_run_is_there() -> None:
    named = set(re.findall(r"python -m ([\w.]+)", text_of()))
    assert {"aem_guides.ledger", "aem_guides.plans.schema", "pages"} <= named
    assert [name for name in named if find_spec(name) is None] == []


def test_every_option_that_is_named_is_one_of_the_provider_and_each_is_explained() -> None:
    variables = re.findall(r"AIRFLOW__AEM_GUIDES__([A-Z_]+)\b", text_of())
    sections = re.findall(r"`\[aem_guides\] (\w+)`", text_of())
    named = {name.lower() for name in variables if not name.endswith("_")} | set(sections)
    assert named <= OPTIONS.keys()
    assert [name for name in OPTIONS if f"| `{name}` |" not in page("operate.md")] == []


def test_every_option_of_airflow_that_is_named_is_there() -> None:
    named = set(re.findall(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)\b", text_of()))
    others = {(section.lower(), name.lower()) for section, name in named if section != "AEM_GUIDES"}
    assert ("core", "auth_manager") in others
    assert [option for option in others if not conf.has_option(*option)] == []


def test_every_variable_of_the_compose_file_that_is_named_is_read_there() -> None:
    read = text_of(ROOT / "docker-compose.yaml", ROOT / ".env.example")
    text = page("deploy.md") + page("operate.md") + page("security.md")
    named = {word for word in re.findall(r"`([A-Z][A-Z_]{4,})(?:='[^`]*')?`", text) if not word.startswith("AIRFLOW__")}
    assert {"AIRFLOW_WORKERS", "FERNET_KEY", "AIRFLOW_URL"} <= named
    outside = {"AIRFLOW_HOME", "LEDGER", "FORWARDED_ALLOW_IPS"}  # Airflow's own, the reader's, the API server's
    assert [name for name in sorted(named - outside) if name not in read] == []


def test_every_block_is_closed_and_the_readme_shows_both_commands() -> None:
    assert [file.name for file in pages() if text_of(file).count("```") % 2] == []
    assert any("make demo " in block and "make test " in block for block in blocks("", README))
    assert (DOCS / "index.md").is_file()
