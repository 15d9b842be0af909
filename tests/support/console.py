"""The console in an application that stands in for Airflow's, with users who may do more or less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI, HTTPException, Request
from fastapi.testclient import TestClient

from aem_guides.console import PREFIX, access
from aem_guides.console.app import make_app
from aem_guides.console.instance_health import Watch
from aem_guides.console.instance_log import InstanceLogs
from aem_guides.ledger import database
from aem_guides.ledger.database import open_engine
from aem_guides.ledger.store import Ledger
from tests.support.new_ledgers import new_ledger

ADMIN, STARTER, VIEWER, STRANGER = "admin", "starter", "viewer", "stranger"
_MAY = {ADMIN: {"GET", "POST", "PUT"}, STARTER: {"GET", "POST"}, VIEWER: {"GET"}, STRANGER: set[str]()}


class _User:
    """A user, as an auth manager knows one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_id(self) -> str:
        return self.name

    def get_name(self) -> str:
        return self.name


@dataclass
class Host:
    """An application in Airflow's place: it has mounted the console, and keeps the runs that it is asked to start.

    `states` are those of the runs, by id; a run that is there is not started again.
    """

    app: FastAPI = field(default_factory=FastAPI)
    started: list[dict[str, Any]] = field(default_factory=list)
    answer: int = 200
    states: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app.mount(PREFIX, _new_console())

        @self.app.post("/api/v2/dags/{dag_id}/dagRuns")
        async def start(dag_id: str, request: Request) -> dict[str, object]:
            if self.answer != 200:
                raise HTTPException(self.answer, "as the test wants it")
            body = await request.json()
            told = {"dag_id": dag_id, "user": _user_of(request).name, **body}
            if self.states.setdefault(body["dag_run_id"], "new") != "new":
                raise HTTPException(409, "It is there already")
            self.states[body["dag_run_id"]] = "running"
            self.started.append(told)
            return told | {"state": "queued"}

        @self.app.get("/api/v2/dags/{dag_id}/dagRuns/{run_id}")
        def state(dag_id: str, run_id: str) -> dict[str, object]:
            if self.answer != 200:
                raise HTTPException(self.answer, "as the test wants it")
            if run_id not in self.states:
                raise HTTPException(404, "There is no such run")
            return {"dag_id": dag_id, "dag_run_id": run_id, "state": self.states[run_id]}

    def client(self, user: str | None = ADMIN) -> TestClient:
        """A browser in which somebody has signed in."""
        cookies = {"_token": user} if user else {}
        return TestClient(self.app, base_url=f"http://airflow.test{PREFIX}/", cookies=cookies, follow_redirects=False)


@cache
def _console() -> FastAPI:
    """Its routes take FastAPI long to prepare, and all tests may share them."""
    console = make_app()
    console.dependency_overrides[get_user] = _user_of
    return console


def _new_console() -> FastAPI:
    """The console as it is at the start of the API server."""
    console = _console()
    console.state.watch, console.state.instance_logs = Watch(), InstanceLogs()
    return console


def _user_of(request: Request) -> _User:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    shown = token if kind == "Bearer" else request.cookies.get("_token", "")
    name, _, _ = shown.partition("#")  # behind it, the number of a session
    if name not in _MAY:
        raise HTTPException(401, "Not authenticated")
    return _User(name)


def _requires(method: str, _entity: object, _dag_id: str) -> Any:
    def check(_request: Request, user: _User) -> None:
        if method not in _MAY[user.name]:
            raise HTTPException(403, "Forbidden")

    return check


@contextmanager
def console(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Host, Ledger]]:
    """The console over a SQLite ledger in a folder."""
    url = new_ledger(folder / "ledger.db")
    monkeypatch.setattr(database, "ledger_url", lambda: url)
    monkeypatch.setattr(access, "requires_access_dag", _requires)
    with Ledger(open_engine(url)) as ledger:
        yield Host(), ledger


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self._goes_on = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "wbr":
            self._goes_on = True
            return
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action")]

    def handle_data(self, data: str) -> None:
        if self._goes_on and self.found:
            self.found[-1] += data
        else:
            self.found.append(data)
        self._goes_on = False


@dataclass(frozen=True)
class Read:
    """A page as a person reads it: its words, the addresses in it, its elements."""

    words: str
    addresses: list[str]
    tags: list[str]


def read(html: str) -> Read:
    parser = _Words()
    parser.feed(html)
    return Read(" ".join(" ".join(parser.found).split()), parser.addresses, parser.tags)
