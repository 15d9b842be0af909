"""A model of an instance: it starts, resumes and forgets jobs, answers or not, and other users work on it, too."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from email.utils import formatdate

from hypothesis import strategies as st

from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.steps import HttpRequest, Reply, TransportFailure
from tests.unit.protocol.driving import World, reply

REQUEST = ProcessingRequest("/content/dam/a", ("/content/dam/a/x",))
FATES = st.sampled_from(
    [
        "fine",
        "fine",
        "fine",
        "lost before",
        "lost after",
        "503 before",
        "503 after",
        "no id",
        "no csrf",
        "crash before",
        "crash after",
    ]
)
STRANGERS = st.sampled_from(
    ["none", "none", "none", "elsewhere", "flood", "ends", "ends in a flood", "same path", "same request"]
)


class Crash(BaseException):
    """The process of the try dies."""


@dataclass
class Instance:
    """The behaviour of an instance, as a model: jobs, a window, a history that lags, a lock on each path."""

    world: World = field(init=False)
    window: int = 5
    lag: float = 0.0
    keeps_id: bool = True
    fates: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    jobs: list[JsonObject] = field(default_factory=list)
    ours: list[str] = field(default_factory=list)
    resumed: int = 0

    def __post_init__(self) -> None:
        self.world = World(self.respond)

    def respond(self, request: HttpRequest) -> Reply | TransportFailure:
        self._strangers_act()
        path = request.target.partition("?")[0].rpartition("/")[2]
        if path == "history":
            return self._answer({"executionHistory": self._visible()})
        if path == "status":
            wanted = request.target.rpartition("=")[2]
            return next((self._answer(job) for job in self.jobs if job["processingId"] == wanted), reply(400))
        if path == "token.json":
            return reply(500)
        fate = self.fates.pop() if self.fates else "fine"
        if fate == "no csrf":
            return reply(403, b"a token is due")
        if fate in ("lost before", "503 before", "crash before"):
            return self._fail(fate)
        accepted = self._start(request, ours=True) if path == "process" else self._resume(request)
        if accepted is None:
            return reply(409, {"message": "active"})
        if fate == "no id":
            return self._answer({} if path == "process" else {"processingId": accepted})
        return self._answer({"processingId": accepted}) if fate == "fine" else self._fail(fate)

    def stranger(self, path: str, **reported: JsonValue) -> str | None:
        if any(job["path"] == path and job["status"] == "RUNNING" for job in self.jobs):
            return None
        number = f"job-{len(self.jobs)}"
        self.jobs.append(
            {
                "processingId": number,
                "path": path,
                "excludedPaths": [],
                "status": "RUNNING",
                "startedAt": self._now(),
                **reported,
            }
        )
        return number

    def _start(self, request: HttpRequest, *, ours: bool) -> str | None:
        body = json.loads(request.body or b"{}")
        excluded: list[JsonValue] = [str(path).lstrip("/") for path in body.get("excludedPaths", [])]
        number = self.stranger(str(body["path"]), excludedPaths=excluded)
        if number is not None and ours:
            self.ours.append(number)
        return number

    def _resume(self, request: HttpRequest) -> str | None:
        wanted = str(json.loads(request.body or b"{}")["processingId"])
        job = next(job for job in self.jobs if job["processingId"] == wanted)
        if job["status"] == "RUNNING" or not job.get("resumable"):
            return None
        self.resumed += 1
        job["resumable"] = False
        if not self.keeps_id:
            return self.stranger(str(job["path"]), excludedPaths=job["excludedPaths"])
        job["status"], job["completedAt"] = "RUNNING", 0
        return wanted

    def _strangers_act(self) -> None:
        match self.strangers.pop() if self.strangers else "none":
            case "elsewhere":
                self._elsewhere()
            case "flood":
                for _ in range(self.window + 1):
                    self._elsewhere()
            case "ends" | "ends in a flood" as act:
                for job in self.jobs:
                    if job["status"] == "RUNNING":
                        job["status"], job["completedAt"] = "SUCCESS", self._now()
                for _ in range(self.window + 1 if act == "ends in a flood" else 0):
                    self._elsewhere()
            case "same path":
                self.stranger(REQUEST.path, excludedPaths=["/content/dam/a/y"])
            case "same request":
                self.stranger(REQUEST.path, excludedPaths=list(REQUEST.excluded_paths))

    def _elsewhere(self) -> None:
        self.world.clock += 0.001
        self.stranger(f"/content/dam/other-{len(self.jobs)}", status="SUCCESS")

    def _visible(self) -> list[JsonObject]:
        seen = [job for job in self.jobs if int(str(job["startedAt"])) <= self._now() - self.lag * 1000]
        return [dict(job) for job in seen[-self.window :]]

    def _fail(self, fate: str) -> Reply | TransportFailure:
        if fate.startswith("crash"):
            raise Crash
        if fate.startswith("503"):
            return reply(503, b"<html>first byte timeout</html>", content_type="text/html")
        return TransportFailure("ConnectionResetError", sent=True)

    def _answer(self, body: object) -> Reply:
        return reply(200, body, date=formatdate(self.world.clock, usegmt=True))

    def _now(self) -> int:
        return int(self.world.clock * 1000)


instances = st.builds(
    Instance,
    window=st.integers(5, 8),
    lag=st.sampled_from([0.0, 0.0, 3.0, 15.0]),
    keeps_id=st.booleans(),
    fates=st.lists(FATES, max_size=8),
    strangers=st.lists(STRANGERS, max_size=30),
)
