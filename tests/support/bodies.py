"""Both hooks, driven the same way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from aem_guides.hooks.hook import DEFAULT_CONNECTION, AemGuidesAsyncHook, AemGuidesHook
from aem_guides.protocol.conversation import Conversation, RetrySettings
from aem_guides.protocol.steps import Steps

T = TypeVar("T")
QUICK = RetrySettings(attempts=3, base_seconds=0.01, cap_seconds=0.02, retry_after_cap_seconds=0.05)


class Body(Protocol):
    """Either hook, driven the same way."""

    def drive(
        self,
        procedure: Callable[[Conversation], Steps[T]],
        consume: Callable[[object], None] = ...,
        conn_id: str = ...,
    ) -> T: ...


class SyncBody:
    def drive(
        self,
        procedure: Callable[[Conversation], Steps[T]],
        consume: Callable[[object], None] = lambda _item: None,
        conn_id: str = DEFAULT_CONNECTION,
    ) -> T:
        with AemGuidesHook(conn_id, retries=QUICK) as hook:
            return hook.drive(procedure(hook.talk), consume)


class AsyncBody:
    def drive(
        self,
        procedure: Callable[[Conversation], Steps[T]],
        consume: Callable[[object], None] = lambda _item: None,
        conn_id: str = DEFAULT_CONNECTION,
    ) -> T:
        async def run() -> T:
            async with AemGuidesAsyncHook(conn_id, retries=QUICK) as hook:
                return await hook.drive(procedure(await hook.talk()), consume)

        return asyncio.run(run())
