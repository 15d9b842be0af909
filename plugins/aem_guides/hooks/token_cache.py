"""The access tokens of this process, shared by all who log in as the same, and bought once for all of them."""

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
    """Whoever was buying the token was stopped; one of those who waited takes over."""


@dataclass(frozen=True)
class Claim:
    """Somebody's claim to a token: `outcome` has it, or will. `is_buyer`: the one who has to buy it."""

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
        """The kept token, unless it ends soon or is `refused`, which the instance has just turned down.

        Without one, the first who comes is to buy it; all who come until it is settled share what becomes of it, a
        failure too. Who is in a hurry shares with such alone: the others' purchase may wait between its tries.
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
            purchase.set_running_or_notify_cancel()  # one who gives up waiting must not cancel it for the others
            return Claim(key, purchase, is_buyer=True, is_hurried=is_hurried)

    @contextmanager
    def settling(self, claim: Claim) -> Iterator[Callable[[AccessToken], None]]:
        """Buy in this block, and hand the token to what it yields. What fails is in the claim's outcome."""
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
