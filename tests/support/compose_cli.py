"""The command line of `docker compose`, from compose_help.txt: the parts of a command, or why Compose refuses it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_HELP = Path(__file__).with_name("compose_help.txt")
_PROGRAM = "docker compose"


class UsageError(Exception):
    """Compose would not understand the command."""


@dataclass
class Usage:
    """What a command accepts: for each option whether it needs a value, and whether other commands may follow."""

    options: dict[str, bool] = field(default_factory=dict)
    arguments: str = ""


@dataclass(frozen=True)
class Command:
    """A command as Compose understands it. For `exec` and `run`, `inner` is the command in the container."""

    name: str
    profiles: list[str]
    services: list[str]
    scaled: list[str]
    inner: list[str]


@cache
def usages() -> dict[str, Usage]:
    """The usages by command. The empty name has the options before the command."""
    found: dict[str, Usage] = {}
    usage = Usage()
    for line in _HELP.read_text(encoding="utf-8").splitlines():
        if line.startswith(_PROGRAM):
            usage = found.setdefault(line.removeprefix(_PROGRAM).strip(), Usage())
        elif line.startswith("  arguments "):
            usage.arguments = line.split(maxsplit=1)[1]
        elif line.startswith("  "):
            *names, last = line.split(", ")
            last, _, kind = last.strip().partition(" ")
            usage.options |= {name.strip(): bool(kind) for name in (*names, last)}
    return found


def parse(line: str) -> Command:
    """Parse one command line, without a shell comment. Raises UsageError."""
    words = shlex.split(line, comments=True)
    if words[:2] != _PROGRAM.split():
        raise UsageError(f"not a command of Compose: {line}")
    ahead, rest = _options(words[2:], "")
    if not rest or rest[0] not in usages() or not rest[0]:
        raise UsageError(f"unknown command in: {line}")
    name, *rest = rest
    takes_command = "COMMAND" in usages()[name].arguments
    given, arguments = _options(rest, name, stop=takes_command)
    if takes_command and not arguments:
        raise UsageError(f"without a service: {line}")
    services, inner = (arguments[:1], arguments[1:]) if takes_command else (arguments, [])
    return Command(
        name,
        profiles=[value for option, value in ahead if option == "--profile"],
        services=services,
        scaled=[value for option, value in given if option == "--scale"],
        inner=inner,
    )


def _options(words: list[str], command: str, *, stop: bool = True) -> tuple[list[tuple[str, str]], list[str]]:
    """Options with their values, and the other words. With `stop`, options end at the first other word."""
    known = usages()[command].options
    given: list[tuple[str, str]] = []
    others: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            others.append(word)
            if stop:
                return given, others + left
            continue
        option, equals, value = word.partition("=")
        if option not in known:
            raise UsageError(f"docker compose {command}: unknown flag: {option}")
        if known[option] and not equals:
            if not left:
                raise UsageError(f"docker compose {command}: flag needs an argument: {option}")
            value = left.pop(0)
        given.append((option, value))
    return given, others
