"""Every kind of login, with secrets that tests search for."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote_plus

import pytest

from aem_guides.hooks import hook
from aem_guides.hooks.token_cache import TokenVault
from tests.support.emulator import PASSWORD, TOKEN, EmulatorProcess
from tests.support.keys import PRIVATE_KEY, PUBLIC_KEY

OAUTH_SECRET = "canary/oauth+secret=81c4"
JWT_SECRET = "canary-jwt-secret-2e07"
ISSUED = "canary-issued-"
"""The beginning of all tokens, also CSRF tokens, that an emulator with `SETTINGS` issues."""

SETTINGS: dict[str, object] = {"csrf": True, "token_prefix": ISSUED}
SCOPES = ["openid", "AdobeID"]
OAUTH_CLIENT = {"secret": OAUTH_SECRET, "scopes": SCOPES}
METASCOPE = "ent_aem_cloud_api"
ORGANISATION, ACCOUNT = "org@example", "account@techacct.example"


_SIGNED = base64.urlsafe_b64encode(b'{"alg":"RS256","typ":"JWT"}').decode()

CANARIES = (
    PASSWORD,
    base64.b64encode(f"admin:{PASSWORD}".encode()).decode(),
    TOKEN,
    OAUTH_SECRET,
    quote_plus(OAUTH_SECRET),
    JWT_SECRET,
    ISSUED,
    _SIGNED,
    *PRIVATE_KEY.splitlines()[1:-1],
)
"""Texts that must not appear anywhere. A signed JWT is recognised by its beginning, a key by any of its lines."""


@dataclass(frozen=True)
class Login:
    """One kind of login. It makes the Airflow connection to an emulator that knows the client."""

    name: str
    connection: Callable[[EmulatorProcess], str]


def account_document(ims: str, **changes: object) -> dict[str, object]:
    """The service credentials of a technical account, in the form of the download."""
    integration = {
        "imsEndpoint": ims,
        "metascopes": METASCOPE,
        "technicalAccount": {"clientId": "jwt-client", "clientSecret": JWT_SECRET},
        "email": "x@example.com",
        "id": ACCOUNT,
        "org": ORGANISATION,
        "privateKey": PRIVATE_KEY,
        "publicKey": PUBLIC_KEY,
    }
    return {"ok": True, "integration": integration | changes, "statusCode": 200}


def jwt_client(emulator: EmulatorProcess) -> dict[str, object]:
    """The identity service's data of the technical account."""
    return {
        "secret": JWT_SECRET,
        "public_key": PUBLIC_KEY,
        "audience": f"{emulator.url}/c/jwt-client",
        "org": ORGANISATION,
        "id": ACCOUNT,
        "metascopes": [f"{emulator.url}/s/{METASCOPE}"],
    }


def _basic(emulator: EmulatorProcess) -> str:
    return emulator.connection()


def _bearer(emulator: EmulatorProcess) -> str:
    return json.dumps({"conn_type": "aem_guides", "host": emulator.url, "password": TOKEN})


def _oauth(emulator: EmulatorProcess) -> str:
    emulator.settings(oauth_clients={"oauth-client": OAUTH_CLIENT})
    extra = {
        "auth": "oauth",
        "client_id": "oauth-client",
        "client_secret": OAUTH_SECRET,
        "scopes": ",".join(SCOPES),
        "ims_url": emulator.url,
    }
    return json.dumps({"conn_type": "aem_guides", "host": emulator.url, "extra": extra})


def _service_credentials(emulator: EmulatorProcess) -> str:
    emulator.settings(jwt_clients={"jwt-client": jwt_client(emulator)})
    document = json.dumps(account_document(emulator.url))
    extra = {"auth": "service_credentials", "service_token": document, "ims_url": emulator.url}
    return json.dumps({"conn_type": "aem_guides", "host": emulator.url, "extra": extra})


TOKEN_SERVICES = {"token_oauth": _oauth, "token_jwt": _service_credentials}
"""The endpoints that issue access tokens, each with the Airflow connection that uses it, under the same name."""


def connect_all(patch: pytest.MonkeyPatch, emulator: EmulatorProcess, **extra: object) -> None:
    """Create the connection to an emulator with its password, and those with its token services."""
    patch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(**extra))
    for name, made in TOKEN_SERVICES.items():
        reported = json.loads(made(emulator))
        patch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(reported | {"extra": reported["extra"] | extra}))


def forget_tokens() -> None:
    """Forget all tokens, so that new ones must be fetched."""
    hook._VAULT = TokenVault()


def connection_for(endpoint: str) -> str:
    """The connection whose use calls an endpoint. A token service is called when a token is needed."""
    return endpoint if endpoint in TOKEN_SERVICES else hook.DEFAULT_CONNECTION


LOGINS = (
    Login("basic", _basic),
    Login("bearer", _bearer),
    Login("oauth", _oauth),
    Login("service_credentials", _service_credentials),
)
