"""Who it is, and what they may do: Airflow's auth manager says both, at every request."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated

from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN, ResourceMethod
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.sdk.configuration import conf
from fastapi import Depends, HTTPException, Request

PROCESS, CONTROL, RECONCILE = "aem_guides_process_assets", "aem_guides_control_job", "aem_guides_reconcile_history"
READ = (PROCESS, CONTROL, RECONCILE)
"""Whoever may read these may read the pages."""


@dataclass(frozen=True)
class Visitor:
    """Who it is. `token` is theirs in this session: whoever posts an action shows it."""

    name: str
    token: str
    may_control: bool
    may_process: bool


def visitor(request: Request, user: GetUserDep) -> Visitor:
    """Who asks. Raises 401 and 403."""
    for dag_id in READ:
        requires_access_dag("GET", None, dag_id)(request, user)
    return Visitor(
        str(user.get_name()),
        token_of(request, str(user.get_id())),
        may_control=_may_trigger(request, user, CONTROL),
        may_process=_may_trigger(request, user, PROCESS),
    )


def may_clear(request: Request, user: GetUserDep, dag_id: str) -> bool:
    """Whether the user may clear tasks of a DAG."""
    return _may(request, user, "PUT", DagAccessEntity.TASK_INSTANCE, dag_id)


UserDep = GetUserDep
VisitorDep = Annotated[Visitor, Depends(visitor)]


def _may_trigger(request: Request, user: GetUserDep, dag_id: str) -> bool:
    return _may(request, user, "POST", DagAccessEntity.RUN, dag_id)


def _may(request: Request, user: GetUserDep, method: ResourceMethod, entity: DagAccessEntity, dag_id: str) -> bool:
    try:
        requires_access_dag(method, entity, dag_id)(request, user)
    except HTTPException:
        return False
    return True


def credential(request: Request) -> str:
    """What the user has shown, and Airflow has taken: the bearer token, else that of the session's cookie."""
    kind, _, bearer = request.headers.get("authorization", "").partition(" ")
    return bearer.strip() if kind.lower() == "bearer" else request.cookies.get(COOKIE_NAME_JWT_TOKEN, "")


def token_of(request: Request, user_id: str) -> str:
    """A token that no other site and no other session can know."""
    secret = str(conf.get("api", "secret_key"))
    bound = f"aem-guides-console\0{user_id}\0{credential(request)}"
    return hmac.new(secret.encode(), bound.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def came_from_here(request: Request) -> bool:
    """Whether a browser says that a page of this very site sent the request; a program says nothing of it."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    # A proxy may give another host, and says then which one it was: another site cannot make a browser say so.
    hosts = {request.headers.get("host"), request.headers.get("x-forwarded-host")}
    return origin is None or origin.partition("://")[2] in hosts
