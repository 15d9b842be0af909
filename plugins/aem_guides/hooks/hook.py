"""The two hooks that carry out what the protocol decides: one blocking, one asynchronous. Both run a generator of
`protocol.steps.Steps`, carry out what it yields, and return its result.

They decide nothing themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import aiohttp
import requests
import yarl
from airflow.providers.http.hooks.http import HttpAsyncHook, HttpHook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import amask_secret, mask_secret

from aem_guides.hooks import bodies
from aem_guides.hooks.api import Consumer, InstanceApi, ignore
from aem_guides.hooks.connection import CONNECTION_TYPE, InstanceSettings, read_connection
from aem_guides.hooks.connection_fields import ConnectionLike
from aem_guides.hooks.diagnosis import diagnose, without_name
from aem_guides.hooks.patient_sockets import Watch
from aem_guides.hooks.token_cache import AbandonedPurchaseError, TokenVault
from aem_guides.hooks.transport import BLOCK_BYTES, aread_body, in_time, new_client, new_session, next_block, read_body
from aem_guides.protocol.contract import Call
from aem_guides.protocol.conversation import Conversation, RetrySettings
from aem_guides.protocol.credentials import bearer
from aem_guides.protocol.errors import AemGuidesError, ConfigurationError
from aem_guides.protocol.limits import TRICKLES, LeastRate, longest_answer, longest_pause
from aem_guides.protocol.steps import (
    Answer,
    Authorize,
    Compute,
    Emit,
    HttpRequest,
    Mask,
    Read,
    Reply,
    Send,
    Step,
    Steps,
    TransportFailure,
    Wait,
)

T = TypeVar("T")
DEFAULT_CONNECTION = "aem_guides_default"
_VAULT = TokenVault()


class AemGuidesHook(InstanceApi, HttpHook):
    """Call an AEM Guides instance and wait for the answer.

    :param aem_guides_conn_id: the Airflow connection of type `aem_guides`.
    :param retries: how calls are repeated; the defaults suit an AEM author behind a CDN.

    Every method raises the errors of `protocol.errors`. Use it as a context manager, or call `close`.
    """

    conn_name_attr = "aem_guides_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = CONNECTION_TYPE
    hook_name = "AEM Guides"

    def __init__(self, aem_guides_conn_id: str = DEFAULT_CONNECTION, *, retries: RetrySettings | None = None) -> None:
        super().__init__(method="GET", http_conn_id=aem_guides_conn_id)
        self.aem_guides_conn_id = aem_guides_conn_id
        self._retries = retries
        self._session: requests.Session | None = None
        self._settings: InstanceSettings | None = None
        self._talk: Conversation | None = None
        self._response: requests.Response | None = None
        self._rate, self._watch = LeastRate(0.0), Watch(lambda: bodies.surroundings().elapsed())
        self._vault = _VAULT

    @property
    def settings(self) -> InstanceSettings:
        """The checked connection. Raises ConfigurationError."""
        if self._settings is None:
            try:
                connection = self.get_connection(self.aem_guides_conn_id)
            except AirflowNotFoundException:
                raise bodies.unknown_connection(self.aem_guides_conn_id) from None
            self._settings = read_connection(cast("ConnectionLike", connection))
            for secret in self._settings.secrets:
                mask_secret(secret)
            for warning in self._settings.warnings:
                self.log.warning(warning)
        return self._settings

    @property
    def talk(self) -> Conversation:
        """The conversation with the instance, for the generators of `protocol.procedures`."""
        if self._talk is None:
            self._talk = bodies.new_conversation(self.settings, self._retries)
        return self._talk

    def get_conn(
        self, headers: Mapping[str, str] | None = None, extra_options: Mapping[str, object] | None = None
    ) -> requests.Session:
        """The one kept session. The connection's extra fields never become headers of it."""
        if self._session is None:
            self.base_url = self.settings.base_url
            self._base_url_initialized = True
            kept_alive = self.keep_alive_adapter.socket_options if self.keep_alive_adapter else ()
            self._session = new_session(self.settings, self._watch, kept_alive)
        if headers:
            self._session.headers.update(headers)
        return self._session

    def close(self) -> None:
        """Close the session."""
        self._drop_response()
        if self._session is not None:
            self._session.close()
            self._session = None

    def __enter__(self) -> AemGuidesHook:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def drive(self, steps: Steps[T], consume: Consumer = ignore) -> T:
        """Run a generator. `consume` gets what it emits, before the generator continues."""
        answer: Answer = None
        error: BaseException | None = None
        try:
            while True:
                step = steps.send(answer) if error is None else steps.throw(error)
                error = None
                try:
                    answer = self._act(step, consume)
                except AemGuidesError as raised:
                    if not isinstance(step, Authorize):
                        raise
                    error, answer = raised, None
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            steps.close()
            self._drop_response()

    def test_connection(self) -> tuple[bool, str]:
        """Check the connection, for the Test button."""
        self._retries = self._retries or RetrySettings(attempts=1)  # the user of the button can press it again
        self._vault = TokenVault()  # a cached token would hide that the credentials are no longer accepted
        try:
            diagnosis = self.drive(diagnose(self.talk, self.settings))
        except ConfigurationError as error:
            return False, f"Nothing was sent. {without_name(error, self.aem_guides_conn_id)}"
        finally:
            self.close()
        return diagnosis.passed, str(diagnosis)

    def _act(self, step: Step, consume: Consumer) -> Answer:
        match step:
            case Send(request, stream):
                return self._send(request, stream)
            case Read():
                return self._read()
            case Wait(seconds, why):
                self.log.debug("Waiting %.1f s: %s", seconds, why)
                bodies.surroundings().sleep(seconds)
            case Authorize(talk, refused):
                return self._authorize(talk, refused)
            case Emit(item):
                return cast("Answer", consume(item))
            case Mask(secret):
                mask_secret(secret)
            case Compute(work):
                work()
        return None

    def _send(self, request: HttpRequest, stream: bool) -> Reply | TransportFailure:
        self._drop_response()
        url = bodies.absolute_url(self.settings, request)
        proxy = bodies.proxy_for(self.settings, url)
        self._watch.begin(longest_answer(self.settings.read_timeout))
        try:
            response = self.get_conn().request(
                request.method,
                url,
                data=request.body,
                headers=dict(request.headers),
                timeout=(self.settings.connect_timeout, self.settings.read_timeout),
                allow_redirects=False,
                stream=True,
                proxies={"http": proxy, "https": proxy} if proxy else None,
            )
            self._response, self._rate = response, LeastRate(bodies.surroundings().elapsed())
            headers = bodies.headers_of(response.headers)
            if stream and response.status_code == 200:
                return Reply(response.status_code, headers)
            largest = bodies.LONGEST_ERROR_BODY if stream else request.largest_answer
            body = read_body(response, largest)
            self._drop_response()
            return bodies.reply_of(response.status_code, headers, body, largest)
        except requests.RequestException as error:
            self._drop_response()
            if bodies.is_distrust(error):
                self.close()
            return bodies.requests_failure(error)

    def _read(self) -> bytes | TransportFailure:
        if self._response is None:
            return b""
        self._watch.begin(longest_pause(self.settings.read_timeout))
        try:
            block = next_block(self._response)
        except requests.RequestException as error:
            return bodies.requests_failure(error)
        if block and not self._rate.is_kept(len(block), bodies.surroundings().elapsed()):
            self._drop_response()
            return TransportFailure(TRICKLES, sent=True)
        return block

    def _drop_response(self) -> None:
        if self._response is not None:
            self._response.close()
        self._response = None

    def _authorize(self, talk: Conversation, refused: Mapping[str, str] | None) -> Mapping[str, str]:
        credentials = self.settings.credentials
        if not bodies.is_renewable(credentials):
            return credentials.headers()
        while True:
            claim = self._vault.claim(credentials.identity, bodies.token_in(refused), talk.now(), talk.is_hurried)
            if claim.is_buyer:
                with self._vault.settling(claim) as settle:
                    settle(self.drive(credentials.obtain(talk)))
            with contextlib.suppress(AbandonedPurchaseError):
                return bearer(claim.outcome.result())


class AemGuidesAsyncHook(HttpAsyncHook):
    """Call an AEM Guides instance from an event loop. Use it as an asynchronous context manager.

    :param aem_guides_conn_id: the Airflow connection of type `aem_guides`.
    :param retries: how calls are repeated.
    """

    conn_name_attr = "aem_guides_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = CONNECTION_TYPE
    hook_name = "AEM Guides"

    def __init__(self, aem_guides_conn_id: str = DEFAULT_CONNECTION, *, retries: RetrySettings | None = None) -> None:
        super().__init__(method="GET", http_conn_id=aem_guides_conn_id)
        self.aem_guides_conn_id = aem_guides_conn_id
        self._retries = retries
        self._kept: aiohttp.ClientSession | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._rate = LeastRate(0.0)
        self._read_settings: InstanceSettings | None = None
        self._talk: Conversation | None = None

    async def settings(self) -> InstanceSettings:
        """The checked connection. Raises ConfigurationError."""
        if self._read_settings is None:
            try:
                connection = await BaseHook.aget_connection(self.aem_guides_conn_id)
            except AirflowNotFoundException:
                raise bodies.unknown_connection(self.aem_guides_conn_id) from None
            self._read_settings = read_connection(cast("ConnectionLike", connection))
            for secret in self._read_settings.secrets:
                await amask_secret(secret)
            for warning in self._read_settings.warnings:
                self.log.warning(warning)
        return self._read_settings

    async def talk(self) -> Conversation:
        """The conversation with the instance, for the generators of `protocol.procedures`."""
        if self._talk is None:
            self._talk = bodies.new_conversation(await self.settings(), self._retries)
        return self._talk

    async def close(self) -> None:
        """Close the session."""
        self._drop_response()
        if self._kept is not None:
            await self._kept.close()
            self._kept = None

    async def __aenter__(self) -> AemGuidesAsyncHook:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def drive(self, steps: Steps[T], consume: Callable[[object], object] = ignore) -> T:
        """Run a generator. `consume` gets what it emits; a coroutine function is awaited."""
        answer: Answer = None
        error: BaseException | None = None
        try:
            while True:
                step = steps.send(answer) if error is None else steps.throw(error)
                error = None
                try:
                    answer = await self._act(step, consume)
                except AemGuidesError as raised:
                    if not isinstance(step, Authorize):
                        raise
                    error, answer = raised, None
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            steps.close()
            self._drop_response()

    async def call(self, call: Call[T]) -> T:
        """Send one call of `protocol.contract`."""
        return await self.drive((await self.talk()).call(call))

    async def _act(self, step: Step, consume: Callable[[object], object]) -> Answer:
        match step:
            case Send(request, stream):
                return await self._send(request, stream)
            case Read():
                return await self._read()
            case Wait(seconds, _):
                await bodies.surroundings().asleep(seconds)
            case Authorize(talk, refused):
                return await self._authorize(talk, refused)
            case Emit(item):
                consumed = consume(item)
                return cast("Answer", await consumed if asyncio.iscoroutine(consumed) else consumed)
            case Mask(secret):
                await amask_secret(secret)
            case Compute(work):
                await asyncio.to_thread(work)
        return None

    async def _send(self, request: HttpRequest, stream: bool) -> Reply | TransportFailure:
        self._drop_response()
        seconds = longest_answer((await self.settings()).read_timeout)
        try:
            return await in_time(self._exchange(request, stream), seconds)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if bodies.is_distrust(error):
                await self.close()
            return bodies.aiohttp_failure(error)

    async def _exchange(self, request: HttpRequest, stream: bool) -> Reply:
        settings = await self.settings()
        url = bodies.absolute_url(settings, request)
        if self._kept is None:
            self._kept = await new_client(settings)
        response = await self._kept.request(
            request.method,
            yarl.URL(url, encoded=True),
            data=request.body,
            headers=dict(request.headers),
            allow_redirects=False,
            proxy=bodies.proxy_for(settings, url),
        )
        headers = bodies.headers_of(response.headers)
        if stream and response.status == 200:
            self._response, self._rate = response, LeastRate(bodies.surroundings().elapsed())
            return Reply(response.status, headers)
        largest = bodies.LONGEST_ERROR_BODY if stream else request.largest_answer
        async with response:
            body = await aread_body(response, largest)
        return bodies.reply_of(response.status, headers, body, largest)

    async def _read(self) -> bytes | TransportFailure:
        if self._response is None:
            return b""
        seconds = longest_pause((await self.settings()).read_timeout)
        try:
            block = await in_time(self._response.content.read(BLOCK_BYTES), seconds)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return bodies.aiohttp_failure(error)
        if block and not self._rate.is_kept(len(block), bodies.surroundings().elapsed()):
            self._drop_response()
            return TransportFailure(TRICKLES, sent=True)
        return block

    def _drop_response(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    async def _authorize(self, talk: Conversation, refused: Mapping[str, str] | None) -> Mapping[str, str]:
        credentials = (await self.settings()).credentials
        if not bodies.is_renewable(credentials):
            return credentials.headers()
        while True:
            claim = _VAULT.claim(credentials.identity, bodies.token_in(refused), talk.now(), talk.is_hurried)
            if claim.is_buyer:
                with _VAULT.settling(claim) as settle:
                    settle(await self.drive(credentials.obtain(talk)))
            with contextlib.suppress(AbandonedPurchaseError):
                return bearer(await asyncio.wrap_future(claim.outcome))
