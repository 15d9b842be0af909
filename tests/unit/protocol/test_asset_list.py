"""Which assets a job with a filter had: listed by the instance, and believed only where their number is right."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from aem_guides.protocol.asset_verdict import AssetQuestion
from aem_guides.protocol.contract import read_job
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures import asset_list
from aem_guides.protocol.procedures.asset_list import MOST_ASSETS, assets_of_job
from aem_guides.protocol.steps import HttpRequest, Reply
from tests.unit.protocol.driving import World, reply

FOLDER = "/content/dam/a"
REQUEST = ProcessingRequest(FOLDER, created_after=1_750_000_000_123, created_before=1_760_000_000_000)


def question(files: int | None, request: ProcessingRequest = REQUEST) -> AssetQuestion:
    migration: JsonObject = {} if files is None else {"migrationSet": {"totalFiles": files}}
    return AssetQuestion(request, read_job({"processingId": "p", "status": "SUCCESS", **migration}))


class Instance:
    """An instance that lists these assets, so many at once."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths
        self.world = World(self.respond)
        self.bounds: tuple[str | None, str | None] = (None, None)

    def respond(self, request: HttpRequest) -> Reply:
        path, _, query = request.target.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        assert (request.method, path) == ("GET", "/bin/querybuilder.json")
        assert (asked["path"], asked["type"], asked["daterange.property"]) == (FOLDER, "dam:Asset", "jcr:created")
        self.bounds = asked.get("daterange.lowerBound"), asked.get("daterange.upperBound")
        offset = int(asked["p.offset"])
        page = self.paths[offset:][: int(asked["p.limit"])]
        more = offset + len(page) < len(self.paths)
        return reply(200, {"success": True, "hits": [{"jcr:path": path} for path in page], "more": more})

    def listed(self, asked: AssetQuestion) -> tuple[str, ...]:
        return self.world.run(assets_of_job(self.world.conversation(), asked))


def test_the_assets_created_in_the_time_of_the_filter_are_those_of_the_job() -> None:
    instance = Instance(f"{FOLDER}/1", f"{FOLDER}/2")
    assert instance.listed(question(2)) == (f"{FOLDER}/1", f"{FOLDER}/2")
    assert instance.bounds == ("2025-06-15T15:06:40.123+00:00", "2025-10-09T08:53:20.000+00:00")


def test_they_are_read_page_by_page_without_those_that_are_excluded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asset_list, "PAGE", 2)
    instance = Instance(*(f"{FOLDER}/{name}" for name in ("1", "old/2", "old/3", "older", "5")))
    request = replace(REQUEST, excluded_paths=(f"{FOLDER}/old",))
    assert instance.listed(question(3, request)) == tuple(f"{FOLDER}/{name}" for name in ("1", "older", "5"))
    assert len(instance.world.sent) == 3


@pytest.mark.parametrize("files", [1, 3])
def test_a_list_of_another_length_is_not_that_of_the_job(files: int) -> None:
    assert Instance(f"{FOLDER}/1", f"{FOLDER}/2").listed(question(files)) == ()


def test_an_asset_that_is_listed_twice_is_one() -> None:
    assert Instance(f"{FOLDER}/1", f"{FOLDER}/1").listed(question(2)) == ()


@pytest.mark.parametrize(
    "asked",
    [
        question(None),
        question(0),
        question(MOST_ASSETS + 1),
        question(2, ProcessingRequest(FOLDER)),
        question(2, replace(REQUEST, file_types=("DITAMAP",))),
    ],
)
def test_no_list_is_asked_for_where_it_could_not_be_that_of_the_job(asked: AssetQuestion) -> None:
    instance = Instance(f"{FOLDER}/1", f"{FOLDER}/2")
    assert instance.listed(asked) == ()
    assert instance.world.sent == []


def test_an_instance_that_lists_more_and_more_is_not_read_for_ever() -> None:
    def respond(request: HttpRequest) -> Reply:
        offset = int(parse_qs(request.target.partition("?")[2])["p.offset"][0])
        hits = [{"jcr:path": f"{FOLDER}/old/{offset + n}"} for n in range(1000)]
        return reply(200, {"hits": hits, "more": True})

    world = World(respond)
    asked = question(2, replace(REQUEST, excluded_paths=(f"{FOLDER}/old",)))
    assert world.run(assets_of_job(world.conversation(), asked)) == ()
    assert len(world.sent) <= 2 * MOST_ASSETS / 1000 + 1


@pytest.mark.parametrize("answer", [reply(404), reply(403), reply(200, {"hits": 7}), reply(503), reply(200, ["odd"])])
def test_an_instance_that_does_not_list_them_is_asked_once_and_leaves_it_open(answer: Reply) -> None:
    world = World(lambda _request: answer)
    assert world.run(assets_of_job(world.conversation(), question(2))) == ()
    assert len(world.sent) == 1
