"""The content of docker-compose.yaml, with the variables of an environment filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "include" / "docker" / "Dockerfile"
COMPOSE_FILE = ROOT / "docker-compose.yaml"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^${}]*))?\}")
_DOLLAR = "\0"

Node: TypeAlias = "str | int | float | bool | list[Node] | dict[str, Node] | None"


class UnsetError(Exception):
    """A required variable is not set."""


@dataclass(frozen=True)
class Service:
    """One service: its command, environment, health check and number of replicas."""

    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    health: list[str]
    replicas: int
    limits: dict[str, str]
    profiles: list[str]
    raw: dict[str, Node]


def read_text() -> str:
    return COMPOSE_FILE.read_text()


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """Fill in variables as Compose does: `${A}`, `${A:-default}` also nested, `${A:?}`, and `$$` for a dollar sign."""

    def value(found: re.Match[str]) -> str:
        given = environment.get(found["name"], "")
        if given or found["kind"] is None:
            return given.replace("$", _DOLLAR)
        if found["kind"] == "?":
            raise UnsetError(found["name"])
        return found["rest"]

    text = text.replace("$$", _DOLLAR)
    while (further := _VARIABLE.sub(value, text)) != text:
        text = further
    return text.replace(_DOLLAR, "$")


def services(environment: Mapping[str, str]) -> dict[str, Service]:
    """All services by name, with or without a profile. Raises UnsetError."""
    return {name: _service(name, raw, environment) for name, raw in documents()["services"].items()}


def documents() -> dict[str, dict[str, dict[str, Node]]]:
    """The file with its anchors and merges resolved."""
    return dict(yaml.safe_load(read_text()))


def _service(name: str, raw: dict[str, Node], environment: Mapping[str, str]) -> Service:
    def put_in(node: Node) -> Node:
        if isinstance(node, dict):
            return {key: put_in(value) for key, value in node.items()}
        if isinstance(node, list):
            return [put_in(value) for value in node]
        return interpolate(node, environment) if isinstance(node, str) else node

    whole = put_in(raw)
    assert isinstance(whole, dict)
    deploy = _mapping(whole, "deploy")
    limits = _mapping(_mapping(deploy, "resources"), "limits")
    replicas = deploy.get("replicas", 1)
    assert isinstance(replicas, (int, str))
    return Service(
        name=name,
        image=str(whole["image"]),
        command=_texts(whole.get("command")),
        environment={key: str(value) for key, value in _mapping(whole, "environment").items()},
        health=_texts(_mapping(whole, "healthcheck").get("test")),
        replicas=int(replicas),
        limits={key: str(value) for key, value in limits.items()},
        profiles=_texts(whole.get("profiles")),
        raw=raw,
    )


def _mapping(node: dict[str, Node], key: str) -> dict[str, Node]:
    found = node.get(key) or {}
    assert isinstance(found, dict), key
    return found


def _texts(node: Node) -> list[str]:
    return [str(part) for part in node] if isinstance(node, list) else []
