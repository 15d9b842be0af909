"""Which assets a job with a filter had: listed by the instance, and believed only where their number is right."""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from aem_guides.protocol.asset_verdict import AssetQuestion
from aem_guides.protocol.contract import read_job
from aem_guides.protocol.models import JobFilter, JsonObject, ProcessingRequest
from aem_guides.protocol.procedures import asset_list
from aem_guides.protocol.procedures.asset_list import MOST_ASSETS, PAGE, assets_of_job
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


def page(*hits: object, **more: object) -> Reply:
    return reply(200, {"success": True, "hits": list(hits), **more})


def at(name: object) -> JsonObject:
    return {"jcr:path": f"{FOLDER}/{name}"}


def listed_by(*pages: Reply, files: int = 2, request: ProcessingRequest = REQUEST) -> tuple[str, ...]:
    left = list(pages)
    world = World(lambda _request: left.pop(0) if len(left) > 1 else left[0])
    return world.run(assets_of_job(world.conversation(), question(files, request)))


def test_a_full_page_is_not_the_whole_list_even_where_the_instance_does_not_say_that_there_are_more() -> None:
    """Without a guess of the total, the query builder says `more: false` on every page."""
    first = [at(number) for number in range(PAGE)]
    assert len(listed_by(page(*first, more=False, total=PAGE + 1), page(at("z"), more=False), files=PAGE + 1)) == 1001
    assert listed_by(page(*first, more=False), page(at("z"), more=False), files=PAGE) == ()


def test_an_instance_that_shows_fewer_than_were_asked_for_and_than_there_are_is_not_believed() -> None:
    assert listed_by(page(at(1), at(2), more=False, total=3)) == ()


def test_a_hit_without_a_path_is_an_asset_that_is_not_known() -> None:
    assert listed_by(page(at(1), at(2), {"jcr:path": ""}, more=False)) == ()
    assert listed_by(page(at(1), at(2), more=True), page({}, None, 3, more=True)) == ()


def test_a_list_that_ends_although_the_instance_says_that_there_are_more_is_not_believed() -> None:
    assert listed_by(page(at(1), at(2), more=True), page(more=True)) == ()


@pytest.mark.parametrize("path", ["/content/dam/b/2", "/content/dam/ab", "/content/dam", "/etc/passwd"])
def test_a_list_with_assets_elsewhere_is_not_that_of_the_job(path: str) -> None:
    assert listed_by(page(at(1), {"jcr:path": path}, more=False)) == ()


def test_pages_that_overlap_list_each_asset_once() -> None:
    first = page(*[at(number) for number in range(PAGE)], more=True)
    second = page(*[at(number) for number in range(PAGE - 3, PAGE + 2)], more=False)
    found = listed_by(first, second, files=PAGE + 2)
    assert len(found) == len(set(found)) == PAGE + 2


def test_an_instance_that_lists_them_one_by_one_is_not_asked_ten_thousand_times() -> None:
    def respond(request: HttpRequest) -> Reply:
        offset = int(parse_qs(request.target.partition("?")[2])["p.offset"][0])
        return page(at(f"old/{offset}"), more=True)

    world = World(respond)
    asked = question(2, replace(REQUEST, excluded_paths=(f"{FOLDER}/old",)))
    assert world.run(assets_of_job(world.conversation(), asked)) == ()
    assert len(world.sent) <= 2 * MOST_ASSETS / PAGE + 1


def test_assets_that_were_created_after_the_end_of_the_job_are_not_asked_for() -> None:
    instance = Instance(f"{FOLDER}/1")
    asked = question(1, replace(REQUEST, created_before=None))
    assert asked.job is not None
    instance.listed(replace(asked, job=replace(asked.job, completed_at=1_755_000_000_000)))
    assert instance.bounds[1] == "2025-08-12T12:00:00.000+00:00"


@pytest.mark.parametrize("shown", [JobFilter(("DITAMAP",)), JobFilter((), 5), JobFilter((), None, 7)])
def test_a_job_with_another_filter_than_the_request_had_other_assets(shown: JobFilter) -> None:
    instance, asked = Instance(f"{FOLDER}/1"), question(1)
    assert asked.job is not None
    assert instance.listed(replace(asked, job=replace(asked.job, job_filter=shown))) == ()
    same = JobFilter((), REQUEST.created_after, REQUEST.created_before)
    assert instance.listed(replace(asked, job=replace(asked.job, job_filter=same))) == (f"{FOLDER}/1",)


def test_many_exclusions_cost_no_time() -> None:
    many = tuple(f"{FOLDER}/old/{number}" for number in range(5_000))
    hits = [at(number) for number in range(999)]
    began = time.process_time()
    assert len(listed_by(page(*hits, more=False), files=999, request=replace(REQUEST, excluded_paths=many))) == 999
    assert time.process_time() - began < 2


@pytest.mark.parametrize("status", [429, 502, 503])
def test_an_instance_that_is_busy_is_asked_for_the_list_again(status: int) -> None:
    assert len(listed_by(reply(status), reply(status), page(at(1), at(2), more=False))) == 2
    assert listed_by(reply(status)) == ()


@pytest.mark.parametrize("answer", [reply(404), reply(403), reply(200, {"hits": 7}), reply(500), reply(200, ["odd"])])
def test_an_instance_that_does_not_list_them_is_asked_once_and_leaves_it_open(answer: Reply) -> None:
    world = World(lambda _request: answer)
    assert world.run(assets_of_job(world.conversation(), question(2))) == ()
    assert len(world.sent) == 1
