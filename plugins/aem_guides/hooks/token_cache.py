"""The access tokens of this process. All hooks with the same credentials share one token, which is fetched once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from aem_guides.protocol.credentials import AccessToken
from aem_guides.protocol.errors import AemGuidesError


class AbandonedPurchaseError(Exception):
    """The caller that fetched the token was stopped. One of the waiting callers takes over."""


@dataclass(frozen=True)
class Claim:
    """A caller's claim to a token: `outcome` has the token, or will have it. `is_buyer`: this caller must fetch it."""

    key: str
    outcome: Future[AccessToken]
    is_buyer: bool
    is_hurried: bool = False


class TokenVault:
    """The access tokens of this process, one for each identity. Threads and event loops may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[str, AccessToken] = {}
        self._purchases: dict[tuple[str, bool], Future[AccessToken]] = {}

    def claim(self, identity: str, refused: str | None, now: float, is_hurried: bool = False) -> Claim:
        """The kept token, unless it expires soon or is `refused`: the instance has just refused it.

        Without a token, the first caller must fetch it. All later callers share the result, also a failure. Urgent
        callers share only with each other, because other callers may wait between their tries.
        """
        key = _key(identity)
        with self._lock:
            kept = self._tokens.get(key)
            if kept is not None and kept.is_fresh(now) and kept.value != refused:
                return Claim(key, _settled(kept), is_buyer=False)
            under_way = self._purchases.get((key, is_hurried))
            if under_way is not None:
                return Claim(key, under_way, is_buyer=False)
            purchase: Future[AccessToken] = Future()
            self._purchases[key, is_hurried] = purchase
            purchase.set_running_or_notify_cancel()  # a caller that stops waiting must not cancel it for the others
            return Claim(key, purchase, is_buyer=True, is_hurried=is_hurried)

    @contextmanager
    def settling(self, claim: Claim) -> Iterator[Callable[[AccessToken], None]]:
        """Fetch the token in this block, and pass it to the yielded function. An error is passed to the claim's
        outcome."""
        bought: list[AccessToken] = []
        error: BaseException = AbandonedPurchaseError()
        try:
            yield bought.append
        except AemGuidesError as failure:
            error = failure
        finally:
            with self._lock:
                self._purchases.pop((claim.key, claim.is_hurried), None)
                if bought:
                    self._tokens[claim.key] = bought[0]
            if bought:
                claim.outcome.set_result(bought[0])
            else:
                claim.outcome.set_exception(error)


def _settled(token: AccessToken) -> Future[AccessToken]:
    outcome: Future[AccessToken] = Future()
    outcome.set_result(token)
    return outcome


def _key(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()
