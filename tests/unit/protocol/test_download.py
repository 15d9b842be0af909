"""Download a log: the ZIP, or the files that the instance lists, each as a separate part and complete."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest
from airflow.sdk import Connection

from aem_guides.hooks.bodies import absolute_url
from aem_guides.hooks.connection import read_connection
from aem_guides.protocol.contract import read_job
from aem_guides.protocol.errors import AemGuidesError, MalformedAnswerError
from aem_guides.protocol.models import JsonValue
from aem_guides.protocol.procedures.download import MOST_LOG_FILES, ForeignOriginError, download_log, has_no_log
from aem_guides.protocol.procedures.parts import ArchivePart
from aem_guides.protocol.steps import HttpRequest, Read, Reply, Send
from tests.unit.protocol.driving import World


@dataclass
class Instance(World):
    """Streams its content at a target. Its list has the targets of its log files."""

    listed: list[str] = field(default_factory=list)
    files: Mapping[str, bytes] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    charset: str = "utf-8"
    body: bytes = b""

    def _act(self, step: object) -> object:  # type: ignore[override]  # one step more
        if isinstance(step, Read):
            block, self.body = self.body, b""
            return block
        if isinstance(step, Send):
            self.sent.append(step.request)
            return self._stream(step.request)
        return super()._act(step)

    def _stream(self, request: HttpRequest) -> Reply:
        if request.target.partition("?")[0].endswith("/logs/download"):
            self.body = json.dumps({"logFilePaths": self.listed}, ensure_ascii=False).encode(self.charset)
            return Reply(200, {"content-type": f"application/json; charset={self.charset.removesuffix('-sig')}"})
        self.body = self.files[request.target]
        return Reply(200, {"content-type": "text/plain", **self.headers})

    def download(self) -> list[ArchivePart]:
        self.run(download_log(self.conversation(), "p", base_url="http://author:4502"))
        return [cast("ArchivePart", item) for item in self.emitted]


def an_instance(listed: list[str], files: Mapping[str, bytes], **headers: str) -> Instance:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Instance(responder=lambda _request: Reply(404, {}), listed=listed, files=files, headers=named)


def test_nothing_is_asked_for_in_a_packed_form() -> None:
    instance = an_instance(["/var/a.log"], {"/var/a.log": b"a\n"})
    assert b"".join(part.block for part in instance.download()) == b"a\n"
    assert [request.headers["Accept-Encoding"] for request in instance.sent] == ["identity", "identity"]


def test_a_file_that_comes_packed_all_the_same_is_not_taken_for_whole() -> None:
    instance = an_instance(["/var/a.log"], {"/var/a.log": b"half of it"}, content_encoding="gzip")
    with pytest.raises(MalformedAnswerError, match="gzip"):
        instance.download()
    assert instance.emitted == []


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-16", "utf-16-le", "iso-8859-1"])
def test_a_list_is_read_in_any_charset_and_with_a_byte_order_mark(charset: str) -> None:
    instance = an_instance(["/var/Précautions.log"], {"/var/Pr%C3%A9cautions.log": b"a\n"})
    instance.charset = charset
    assert b"".join(part.block for part in instance.download()) == b"a\n"


def test_a_list_of_more_files_than_an_archive_may_have_is_refused_before_any_is_asked_for() -> None:
    instance = an_instance(["/a.log"] * (MOST_LOG_FILES + 1), {})
    with pytest.raises(MalformedAnswerError, match="names 10,001 files; at most 10,000"):
        instance.download()
    assert len(instance.sent) == 1


def test_files_that_differ_in_their_query_alone_or_not_at_all_are_parts_of_their_own() -> None:
    listed = ["/bin/log?file=a.log", "/bin/log?file=b.log", "/bin/log?file=b.log"]
    instance = an_instance(listed, {"/bin/log?file=a.log": b"a\n", "/bin/log?file=b.log": b"b\n"})
    parts = [(part.position, part.name, part.block) for part in instance.download() if part.block]
    assert parts == [(0, listed[0], b"a\n"), (1, listed[1], b"b\n"), (2, listed[2], b"b\n")]


def test_a_number_sign_belongs_to_the_name_of_a_file() -> None:
    instance = an_instance(["/var/a#1.log"], {"/var/a%231.log": b"a\n"})
    assert [part.name for part in instance.download() if part.block] == ["/var/a%231.log"]


@pytest.mark.parametrize(
    ("listed", "asked"),
    [
        ("/bin/log?from=https://cdn.example.com/a.log", "/bin/log?from=https://cdn.example.com/a.log"),
        ("bin/log?from=https://cdn.example.com/a.log", "/bin/log?from=https://cdn.example.com/a.log"),
        ("/var/a://b.log", "/var/a://b.log"),
        ("var/a://b.log", "/var/a://b.log"),
        ("/var/a:b.log", "/var/a:b.log"),
        ("bulk_2026-02-26T08:59:10.755Z.log", "/bulk_2026-02-26T08:59:10.755Z.log"),
        ("C:/aem/bulk.log", "/C:/aem/bulk.log"),
        ("bulk-2026-02-26T08:59:10.log", "/bulk-2026-02-26T08:59:10.log"),
        ("\\\\cdn.example.com\\a.log", "/%5C%5Ccdn.example.com%5Ca.log"),
        ("ht\ntps://cdn.example.com/a.log", "/https://cdn.example.com/a.log"),
        ("http://author:4502", "/"),
        (
            "http://author:4502/bin/log?from=https://cdn.example.com/a.log",
            "/bin/log?from=https://cdn.example.com/a.log",
        ),
        ("HTTP://AUTHOR:4502/a.log", "/a.log"),
        ("//author:4502/a.log", "/a.log"),
    ],
)
def test_a_part_of_a_path_that_looks_like_a_url_belongs_to_the_path(listed: str, asked: str) -> None:
    instance = an_instance([listed], {asked: b"a\n"})
    assert [part.block for part in instance.download()] == [b"", b"a\n"]
    assert not instance.sent[-1].is_elsewhere


@pytest.mark.parametrize(
    "listed",
    [
        "https://cdn.example.com/a.log",
        "//cdn.example.com/a.log",
        "http://author:4503/a.log",
        "https://author:4502/a.log",
        "http://author:4502@cdn.example.com/a.log",
        "file:///etc/passwd",
    ],
)
def test_a_file_on_another_origin_is_not_asked_for(listed: str) -> None:
    instance = an_instance(["/var/a.log", listed], {"/var/a.log": b"a\n"})
    with pytest.raises(AemGuidesError):
        instance.download()
    assert len(instance.sent) == 1


@pytest.mark.parametrize("listed", ["http://[x/a.log", "http://author:99999/a.log", "http://author:port/a.log"])
def test_a_list_of_what_can_be_no_place_is_an_answer_that_cannot_be_read(listed: str) -> None:
    instance = an_instance(["/var/a.log", listed], {})
    with pytest.raises(MalformedAnswerError, match="Entry 2 of logFilePaths"):
        instance.download()
    assert len(instance.sent) == 1


@dataclass
class OneAnswer(Instance):
    """Answers the download with a status and a body."""

    status: int = 200
    content: bytes = b""

    def _stream(self, request: HttpRequest) -> Reply:
        self.body = self.content
        return Reply(self.status, {"content-type": "application/zip"})

    def says_no_log(self, *, status: str = "SUCCESS", **reported: JsonValue) -> bool:
        job = read_job({"processingId": "p", "status": status, **reported})
        return self.run(has_no_log(self.conversation(attempts=1), job))


def answering(status: int, content: bytes = b"") -> OneAnswer:
    return OneAnswer(responder=lambda _request: Reply(404, {}), status=status, content=content)


@pytest.mark.parametrize("nothing", [(404, b""), (200, b""), (200, b"PK\x05\x06" + bytes(18))])
def test_an_ended_job_that_says_it_has_no_log_has_none_if_there_is_none(nothing: tuple[int, bytes]) -> None:
    assert answering(*nothing).says_no_log(hasLogs=False)


@pytest.mark.parametrize(
    "reported", [{}, {"hasLogs": True}, {"hasLogs": None}, {"hasLogs": False, "status": "RUNNING"}]
)
def test_a_job_that_does_not_say_so_or_runs_still_is_not_asked(reported: dict[str, JsonValue]) -> None:
    instance = answering(404)
    assert not instance.says_no_log(**reported)  # type: ignore[arg-type]  # status is a word
    assert instance.sent == []


def test_a_log_that_is_there_is_not_left_out_whatever_the_job_says() -> None:
    assert not answering(200, b"PK\x03\x04...").says_no_log(hasLogs=False)
    with pytest.raises(AemGuidesError):
        answering(500).says_no_log(hasLogs=False)
    with pytest.raises(AemGuidesError):
        answering(401).says_no_log(hasLogs=False)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        (
            "/bin/log?from=https://cdn.example.com/a.log",
            "http://author:4502/bin/log?from=https://cdn.example.com/a.log",
        ),
        ("//cdn.example.com/a.log", "http://author:4502//cdn.example.com/a.log"),
        ("https://ims.example.com/token", "https://ims.example.com/token"),
    ],
)
def test_a_path_is_asked_of_the_instance_whatever_is_in_its_query(target: str, url: str) -> None:
    settings = read_connection(Connection(conn_id="c", conn_type="aem_guides", host="http://author:4502", password="t"))
    assert absolute_url(settings, HttpRequest("GET", target)) == url


DOWNLOAD = "log download (GET /bin/guides/v1/assets/process/logs/download)"


def refused(content: bytes) -> MalformedAnswerError:
    instance = answering(200, content)
    with pytest.raises(MalformedAnswerError) as caught:
        instance.run(download_log(instance.conversation(), "p", base_url="http://author:4502"))
    return caught.value


@pytest.mark.parametrize(
    ("content", "excerpt", "what"),
    [
        (b"", "", "It is empty, but a log archive was expected."),
        (b"no \n log of s3cret\xff", "no log of ***\ufffd", "It is neither a ZIP nor a list of log files"),
        (b"x" * 4001, "x" * 200, "It is neither a ZIP nor a list of log files"),
        (b"{}", "", "logFilePaths is missing or empty"),
        (b'{"logFilePaths": []}', "", "logFilePaths is missing or empty"),
        (b"{", "", "logFilePaths is missing or empty"),
    ],
)
def test_what_is_neither_an_archive_nor_a_list_is_shown_without_secrets(
    content: bytes, excerpt: str, what: str
) -> None:
    error = refused(content)
    assert (error.request, error.status, error.excerpt) == (DOWNLOAD, 200, excerpt)
    assert what in str(error)


@pytest.mark.parametrize("signature", [b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"])
def test_an_archive_is_passed_on_as_it_is(signature: bytes) -> None:
    instance = answering(200, signature + b"...")
    instance.run(download_log(instance.conversation(), "p", base_url="http://author:4502"))
    assert instance.emitted == [ArchivePart(None, signature + b"...", 0)]


def test_a_list_may_name_its_own_instance_in_full_and_no_other() -> None:
    own = an_instance(["http://author:4502/var/a.log?x=1", "var/b.log"], {"/var/a.log?x=1": b"a", "/var/b.log": b"b"})
    assert [part.block for part in own.download() if part.block] == [b"a", b"b"]
    for foreign in ("http://other:4502/a", "https://author:4502/a", "http://author/a", "//other/a"):
        instance = an_instance(["/var/a.log", foreign], {})
        with pytest.raises(
            ForeignOriginError, match=r"on another origin \((other|author)\)\. The file was not requested"
        ):
            instance.download()
        assert len(instance.sent) == 1


def test_a_compressed_file_is_reported_with_its_own_request() -> None:
    instance = an_instance(["/var/a.log"], {"/var/a.log": b"half of it"}, content_encoding="GZIP")
    with pytest.raises(MalformedAnswerError, match=r"was compressed \(gzip\)") as caught:
        instance.download()
    assert (caught.value.request, caught.value.status) == ("log file (GET /var/a.log)", 200)
    assert an_instance(["/var/a.log"], {"/var/a.log": b"a"}, content_encoding="Identity").download()
