"""Compose understands each Docker command in pages and comments, and the services in it exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from airflow.cli.cli_parser import get_parser

from tests.support.compose import ROOT, documents
from tests.support.compose_cli import UsageError, parse
from tests.support.pages import pages, text_of


def commands() -> list[str]:
    """The commands in blocks, one per line, and those in the text, which may span lines."""
    parts = [part for file in pages() for part in _in_and_out_of_blocks(file)]
    text = "".join(part for part, in_block in parts if not in_block)
    for name in (".env.example", "docker-compose.yaml"):
        comments = re.findall(r"^\s*#(.*)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        text += "\n" + "\n".join(comments)
    lines = [line.strip() for part, in_block in parts if in_block for line in part.splitlines()]
    lines += [" ".join(inline.split()) for inline in re.findall(r"`([^`]+)`", text)]
    return sorted({line for line in lines if line.startswith("docker ")})


def _in_and_out_of_blocks(file: Path) -> list[tuple[str, bool]]:
    """The parts of a page, and whether each is a block."""
    return [(part, number % 2 == 1) for number, part in enumerate(text_of(file).split("```"))]


def test_there_are_the_commands_to_start_scale_upgrade_and_prune() -> None:
    assert {parse(line).name for line in commands()} == {"build", "down", "exec", "pull", "ps", "restart", "stop", "up"}


@pytest.mark.parametrize("line", commands())
def test_a_command_is_one_that_compose_understands(line: str) -> None:
    command = parse(line)
    known = documents()["services"]
    assert set(command.services) <= known.keys()
    assert {name.partition("=")[0] for name in command.scaled} <= known.keys()
    profiles = {str(profile) for service in known.values() for profile in _listed(service.get("profiles"))}
    assert set(command.profiles) <= profiles


def test_airflow_understands_its_settings_in_a_container() -> None:
    reported = [parse(line).inner for line in commands() if parse(line).inner]
    assert {words[0] for words in reported} == {"airflow", "pg_dump", "pg_restore"}
    for words in reported:
        if words[0] == "airflow":
            get_parser().parse_args(words[1:])
    (cleaning,) = re.findall(r"airflow (db clean .+?)\"\$\$\(date", _prune_script(), re.DOTALL)
    get_parser().parse_args([*cleaning.replace("\\\n", " ").split(), "2026-01-01"])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("docker compose up --profile demo", "unknown flag: --profile"),
        ("docker compose --scale worker=2 up", "unknown flag: --scale"),
        ("docker compose pull --ignore-buildables", "unknown flag"),
        ("docker compose start-over", "unknown command"),
        ("docker compose up --scale", "needs an argument"),
        ("docker compose exec", "without a service"),
        ("docker up", "not a command of Compose"),
    ],
)
def test_what_compose_does_not_understand_is_noticed(line: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse(line)


def test_the_options_of_a_command_in_a_container_are_its_own() -> None:
    command = parse("docker compose --profile demo exec --user root prune find / --version")
    assert (command.profiles, command.services) == (["demo"], ["prune"])
    assert command.inner == ["find", "/", "--version"]


def _prune_script() -> str:
    command = documents()["services"]["prune"]["command"]
    return str(_listed(command)[2])


def _listed(node: object) -> list[object]:
    return node if isinstance(node, list) else []
