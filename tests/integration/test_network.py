"""Proxies and TLS: the same through both bodies, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook
from aem_guides.protocol import contract, limits
from aem_guides.protocol.conversation import RetrySettings
from aem_guides.protocol.errors import AemGuidesError, ConfigurationError, RejectedError, UnreachableError
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.start import Origin, Started, StartOutcome, StartPolicy, start_once
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.network import forward_proxy, self_signed, serving, tls_front, tls_front_that_breaks, trickling

QUICK = StartPolicy(patience=(0.1, 0.2, 0.5))
ONCE = RetrySettings(attempts=1)
PROXY_LOGIN = "carol:c%40nary-proxy"


def blocking() -> None:
    with AemGuidesHook(retries=ONCE) as hook:
        hook.get_history()


def asynchronous() -> None:
    async def run() -> None:
        async with AemGuidesAsyncHook(retries=ONCE) as hook:
            await hook.call(contract.history())

    asyncio.run(run())


def start_blocking(request: ProcessingRequest) -> Started:
    with AemGuidesHook(retries=ONCE) as hook:
        return started(hook.drive(start_once(hook.talk, request, policy=QUICK, run="run")))


def start_asynchronous(request: ProcessingRequest) -> Started:
    async def run() -> Started:
        async with AemGuidesAsyncHook(retries=ONCE) as hook:
            return started(await hook.drive(start_once(await hook.talk(), request, policy=QUICK, run="run")))

    return asyncio.run(run())


def started(outcome: StartOutcome) -> Started:
    assert isinstance(outcome, Started)
    return outcome


STARTING = {blocking: start_blocking, asynchronous: start_asynchronous}
pytestmark = pytest.mark.parametrize("body", [blocking, asynchronous])
Body = Callable[[], None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def connected(host: str, **extra: object) -> None:
        reported = {"conn_type": "aem_guides", "host": host, "login": "admin", "password": PASSWORD, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", json.dumps(reported))

    return connected


@pytest.fixture
def secure(emulator: EmulatorProcess, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The emulator behind TLS: its base URL, and the file of the CA."""
    certificate = self_signed(tmp_path)
    with tls_front(emulator.port, certificate) as port:
        yield f"https://localhost:{port}", str(certificate.file)


def refused(body: Body) -> str:
    with pytest.raises(AemGuidesError) as caught:
        body()
    assert "nary" not in str(caught.value)
    assert isinstance(caught.value, UnreachableError | RejectedError)
    assert getattr(caught.value, "sent", False) is False
    return str(caught.value)


def test_the_ca_file_is_what_an_own_authority_is_trusted_by(
    body: Body, connect: Callable[..., None], secure: tuple[str, str]
) -> None:
    url, authority = secure
    connect(url, ca_file=authority)
    body()


def test_a_certificate_without_a_trusted_root_is_refused_and_the_field_named(
    body: Body, connect: Callable[..., None], secure: tuple[str, str]
) -> None:
    connect(secure[0])
    assert "field ca_file" in refused(body)


def test_a_certificate_for_another_host_is_refused_and_the_field_named(
    body: Body, connect: Callable[..., None], secure: tuple[str, str]
) -> None:
    url, authority = secure
    connect(url.replace("localhost", "127.0.0.1"), ca_file=authority)
    assert "check the field host" in refused(body)


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_nothing_is_checked_with_verify_off(body: Body, connect: Callable[..., None], secure: tuple[str, str]) -> None:
    connect(secure[0].replace("localhost", "127.0.0.1"), verify=False)
    body()


def test_an_expired_certificate_is_refused_and_said_to_be_expired(
    body: Body, connect: Callable[..., None], emulator: EmulatorProcess, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path, expired=True)
    with tls_front(emulator.port, certificate) as port:
        connect(f"https://localhost:{port}", ca_file=str(certificate.file))
        assert "has expired. It must be renewed" in refused(body)


def test_https_to_a_port_that_speaks_http_is_reported_so(
    body: Body, connect: Callable[..., None], emulator: EmulatorProcess
) -> None:
    connect(emulator.url.replace("http:", "https:"))
    assert "does not speak TLS" in refused(body)


def test_a_start_whose_answer_cannot_be_decrypted_may_have_been_accepted(
    body: Body, connect: Callable[..., None], emulator: EmulatorProcess, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path)
    path = f"/content/dam/undecipherable-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10, rate=1000)
    with tls_front_that_breaks(emulator.port, certificate) as port:
        connect(f"https://localhost:{port}", ca_file=str(certificate.file))
        started = STARTING[body](ProcessingRequest(path))
    assert started.origin is Origin.RECOVERED
    assert [job["processing_id"] for job in emulator.jobs(path)] == [started.processing_id]


@pytest.mark.parametrize("login", [None, PROXY_LOGIN])
def test_requests_go_through_the_proxy_with_its_login(
    body: Body, connect: Callable[..., None], emulator: EmulatorProcess, login: str | None
) -> None:
    with forward_proxy(login and login.replace("%40", "@")) as proxy:
        connect(emulator.url, proxy=f"http://{login + '@' if login else ''}127.0.0.1:{proxy.port}")
        body()
    assert proxy.requests == [f"GET {emulator.url}/bin/guides/v1/assets/process/history HTTP/1.1"]


@pytest.mark.parametrize("login", [None, PROXY_LOGIN])
def test_tls_goes_through_the_proxy_s_tunnel_and_is_checked(
    body: Body, connect: Callable[..., None], secure: tuple[str, str], login: str | None
) -> None:
    url, authority = secure
    with forward_proxy(login and login.replace("%40", "@")) as proxy:
        address = f"http://{login + '@' if login else ''}127.0.0.1:{proxy.port}"
        connect(url, proxy=address, ca_file=authority)
        body()
        assert [line.split()[:2] for line in proxy.requests] == [["CONNECT", url.removeprefix("https://")]]
        connect(url, proxy=address)
        assert "field ca_file" in refused(body)


@pytest.mark.parametrize("tunnel", [False, True])
def test_a_proxy_that_wants_another_login_is_reported_and_the_field_named(
    body: Body, connect: Callable[..., None], emulator: EmulatorProcess, secure: tuple[str, str], tunnel: bool
) -> None:
    with forward_proxy("carol:other") as proxy:
        connect(secure[0] if tunnel else emulator.url, proxy=f"http://{PROXY_LOGIN}@127.0.0.1:{proxy.port}")
        said = refused(body)
    assert "407" in said
    assert "field proxy" in said


def test_where_nothing_listens_host_and_port_are_named(body: Body, connect: Callable[..., None]) -> None:
    connect("http://127.0.0.1:9")
    said = refused(body)
    assert "Nothing listens there. Check host and port in the field host" in said
    assert "proxy" not in said


def test_a_proxy_that_is_not_there_is_reported_and_nothing_was_sent(
    body: Body, connect: Callable[..., None], emulator: EmulatorProcess
) -> None:
    connect(emulator.url, proxy=f"http://{PROXY_LOGIN}@127.0.0.1:9")
    said = refused(body)
    assert "field proxy" in said
    assert "field host" not in said


def test_the_environment_s_proxy_serves_where_the_connection_has_none(
    body: Body, connect: Callable[..., None], emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forward_proxy() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        connect(emulator.url)
        body()
        assert len(proxy.requests) == 1
        for spared in ("127.0.0.1", "10.0.0.0/8,127.0.0.0/8", "*"):
            monkeypatch.setenv("no_proxy", spared)
            body()
            assert len(proxy.requests) == 1, spared
        monkeypatch.setenv("no_proxy", "10.0.0.0/8,127.0.0.1:9")
        body()
        assert len(proxy.requests) == 2
        monkeypatch.delenv("http_proxy")
        monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{proxy.port}")
        body()
        assert len(proxy.requests) == 3


@pytest.mark.parametrize("tunnel", [False, True])
def test_a_start_whose_answer_is_lost_behind_a_proxy_may_have_been_accepted(
    body: Body, connect: Callable[..., None], emulator: EmulatorProcess, secure: tuple[str, str], tunnel: bool
) -> None:
    path = f"/content/dam/behind-a-proxy-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10, rate=1000)
    with forward_proxy() as proxy:
        connect(secure[0] if tunnel else emulator.url, proxy=f"http://127.0.0.1:{proxy.port}", ca_file=secure[1])
        emulator.fault("start", "reset_after")
        started = STARTING[body](ProcessingRequest(path))
    assert started.origin is Origin.RECOVERED
    assert [job["processing_id"] for job in emulator.jobs(path)] == [started.processing_id]


def test_a_proxy_whose_tunnel_trickles_for_ever_is_given_up_in_time(
    body: Body, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_ANSWER_SECONDS", 1.0)
    with trickling() as port:
        connect("https://author.example.com", proxy=f"http://127.0.0.1:{port}", read_timeout=1, connect_timeout=1)
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="no answer after 1 attempt"):
            body()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("tunnel", [False, True])
@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", b"what?\r\n\r\n", b""])
def test_the_login_of_the_environment_s_proxy_is_not_shown(
    body: Body, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch, answer: bytes, tunnel: bool
) -> None:
    def answered(near: socket.socket) -> None:
        near.recv(65536)
        near.sendall(answer)

    with serving(answered) as port:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://{PROXY_LOGIN}@127.0.0.1:{port}")
        connect(f"{'https' if tunnel else 'http'}://author.example.com")
        with pytest.raises(AemGuidesError) as caught:
            body()
    assert "nary" not in str(caught.value)


@pytest.mark.parametrize("odd", ["http://carol:ca#nary@proxy:3128", "http://carol:canary@", "socks5://c:canary@proxy"])
def test_a_proxy_of_the_environment_that_is_none_is_reported_and_not_shown(
    body: Body, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    monkeypatch.setenv("https_proxy", odd)
    connect("https://author.example.com")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as caught:
        body()
    assert "nary" not in str(caught.value)


def test_a_proxy_of_the_environment_may_lack_its_scheme(
    body: Body, connect: Callable[..., None], emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forward_proxy() as proxy:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        connect(emulator.url)
        body()
    assert len(proxy.requests) == 1


def ask_twice_blocking(between: Callable[[], None]) -> None:
    with AemGuidesHook(retries=ONCE) as hook:
        with pytest.raises(UnreachableError, match="certificate"):
            hook.get_history()
        between()
        hook.get_history()


def ask_twice_asynchronous(between: Callable[[], None]) -> None:
    async def run() -> None:
        async with AemGuidesAsyncHook(retries=ONCE) as hook:
            with pytest.raises(UnreachableError, match="certificate"):
                await hook.call(contract.history())
            between()
            await hook.call(contract.history())

    asyncio.run(run())


ASKING_TWICE = {blocking: ask_twice_blocking, asynchronous: ask_twice_asynchronous}


def test_a_ca_file_that_is_renewed_in_place_is_read_again(
    body: Body, connect: Callable[..., None], secure: tuple[str, str], tmp_path: Path
) -> None:
    url, authority = secure
    kept = self_signed(tmp_path / "of another").file
    connect(url, ca_file=str(kept))
    assert "field ca_file" in refused(body)
    ASKING_TWICE[body](lambda: write_in_place(kept, Path(authority).read_bytes()))
    body()


def write_in_place(file: Path, content: bytes) -> None:
    with file.open("r+b") as target:
        target.truncate()
        target.write(content)
