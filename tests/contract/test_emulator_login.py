"""Which logins the emulator accepts, and how it answers the others."""

from __future__ import annotations

import time
from collections.abc import Mapping

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.contract.conftest import PROCESS, Instance
from tests.support.emulator import PASSWORD, TOKEN

SECRET = "canary-secret-77"
SCOPE = "ent_aem_cloud_api"


def ask(instance: Instance, **headers: str) -> httpx.Response:
    return httpx.get(f"{instance.emulator.url}{PROCESS}/history", headers=headers, trust_env=False)


def get_token(instance: Instance, where: str, **form: str) -> httpx.Response:
    return httpx.post(instance.emulator.url + where, data=form, trust_env=False)


def oauth(instance: Instance, **changes: str) -> httpx.Response:
    form = {"grant_type": "client_credentials", "client_id": "me", "client_secret": SECRET, "scope": "openid,aem"}
    return get_token(instance, "/ims/token/v3", **{**form, **changes})


@pytest.mark.parametrize(
    ("style", "status", "content"),
    [("401", 401, "Unauthorized"), ("403", 403, "Forbidden"), ("redirect", 302, ""), ("login_page", 200, "<form>")],
)
def test_a_client_without_a_login_is_answered_in_one_of_four_ways(
    instance: Instance, style: str, status: int, content: str
) -> None:
    instance.emulator.settings(refusal_style=style)
    for wrong in ({}, {"Authorization": "Bearer none"}, {"Authorization": "Basic ???"}, {"Authorization": "None"}):
        answer = ask(instance, **wrong)
        assert answer.status_code == status
        assert content in answer.text
    if style == "redirect":
        where = ask(instance).headers["location"]
        assert "AEM Sign In" in httpx.get(instance.emulator.url + where, trust_env=False).text


def test_a_password_of_any_letters_is_compared_not_tripped_over(instance: Instance) -> None:
    url = f"{instance.emulator.url}{PROCESS}/history"
    assert httpx.get(url, auth=("admin", "pässwörd"), trust_env=False).status_code == 401
    assert httpx.get(url, auth=("nobody", PASSWORD), trust_env=False).status_code == 401
    assert httpx.get(url, auth=("admin", PASSWORD), trust_env=False).status_code == 200
    assert ask(instance, Authorization=f"Bearer {TOKEN}").status_code == 200


@pytest.mark.parametrize("style", ["text", "html"])
def test_a_post_needs_a_csrf_token_that_has_not_run_out(instance: Instance, style: str) -> None:
    instance.emulator.settings(csrf=True, csrf_refusal=style, csrf_life_seconds=60)
    refused = instance.begin("/content/dam/aurora")
    assert refused.status_code == 403
    assert refused.headers["content-type"].startswith("text/plain" if style == "text" else "text/html")
    url = f"{instance.emulator.url}/libs/granite/csrf/token.json"
    instance.client.headers["CSRF-Token"] = instance.client.get(url).json()["token"]
    assert instance.begin("/content/none").status_code == 400
    instance.emulator.settings(csrf_life_seconds=0)
    instance.client.headers["CSRF-Token"] = instance.client.get(url).json()["token"]
    assert instance.begin("/content/none").status_code == 403
    instance.emulator.settings(csrf=False)
    assert instance.client.get(url).json() == {}


def test_an_oauth_client_gets_a_token_that_opens_until_it_runs_out_and_survives_a_restart(instance: Instance) -> None:
    client = {"kind": "oauth", "client_id": "me", "secret": SECRET, "scopes": ["openid", "aem"], "user": "robot"}
    instance.emulator.post("/emulator/clients", client)
    instance.emulator.settings(token_life_seconds=600)
    answer = oauth(instance).json()
    assert answer["expires_in"] == 600
    assert ask(instance, Authorization=f"Bearer {answer['access_token']}").status_code == 200
    instance.emulator.restart()
    assert ask(instance, Authorization=f"Bearer {answer['access_token']}").status_code == 200
    assert instance.emulator.requests("history")[-1]["user"] == "robot"
    instance.emulator.delete("/emulator/tokens")
    assert ask(instance, Authorization=f"Bearer {answer['access_token']}").status_code == 401
    instance.emulator.settings(token_life_seconds=0)
    assert ask(instance, Authorization=f"Bearer {oauth(instance).json()['access_token']}").status_code == 401


def test_errors_of_an_oauth_client_are_distinguished(instance: Instance) -> None:
    client = {"kind": "oauth", "client_id": "me", "secret": SECRET, "scopes": ["openid", "aem"]}
    instance.emulator.post("/emulator/clients", client)
    for changes, status, error in (
        ({"client_id": "you"}, 401, "invalid_client"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"scope": "openid,foreign"}, 400, "invalid_scope"),
        ({"scope": ""}, 400, "invalid_scope"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ):
        answer = oauth(instance, **changes)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert SECRET not in instance.emulator.admin.get("/emulator/settings").text
    assert SECRET not in instance.emulator.admin.get("/emulator/requests").text


def pem(key: rsa.RSAPrivateKey) -> str:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()


def test_service_credentials_are_exchanged_and_their_errors_distinguished(instance: Instance) -> None:
    key, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    audience = "https://ims.example/c/me"
    client: dict[str, object] = {
        "kind": "jwt",
        "client_id": "me",
        "secret": SECRET,
        "public_key": pem(key),
        "org": "ORG@AdobeOrg",
        "id": "TECH@techacct.adobe.com",
        "audience": audience,
        "metascopes": [SCOPE],
    }
    instance.emulator.post("/emulator/clients", client)
    claims: dict[str, object] = {
        "iss": "ORG@AdobeOrg",
        "sub": "TECH@techacct.adobe.com",
        "aud": audience,
        "exp": int(time.time()) + 60,
        f"https://ims.example/s/{SCOPE}": True,
    }

    def exchange(
        changes: Mapping[str, object] | None = None, signer: rsa.RSAPrivateKey = key, secret: str = SECRET
    ) -> httpx.Response:
        token = jwt.encode({**claims, **(changes or {})}, signer, algorithm="RS256")
        return get_token(instance, "/ims/exchange/jwt", client_id="me", client_secret=secret, jwt_token=token)

    good = exchange().json()
    assert good["expires_in"] == 86_399_000
    assert ask(instance, Authorization=f"Bearer {good['access_token']}").status_code == 200
    reported = {
        exchange(secret="wrong").json()["error"],
        exchange({"exp": int(time.time()) - 60}).json()["error_description"],
        exchange(signer=other).json()["error_description"].partition(":")[0],
        exchange({"sub": "other"}).json()["error_description"],
        exchange({f"https://ims.example/s/{SCOPE}": False}).json()["error"],
    }
    assert reported == {
        "invalid_client",
        "JWT has expired",
        "Could not match JWT signature to any of the bindings",
        "Invalid subject",
        "invalid_scope",
    }
    for changes in ({"aud": "https://ims.example/c/you"}, {"iss": "OTHER"}):
        assert exchange(changes).json()["error"] == "invalid_token"
    instance.emulator.post("/emulator/clients", {**client, "certificate_expired": True})
    assert "certificate" in exchange().json()["error_description"]
    wrong = instance.emulator.admin.post("/emulator/clients", json={**client, "public_key": "no key"})
    assert wrong.json()["message"].startswith("public_key: ")


def test_the_starter_of_a_job_is_shown(instance: Instance) -> None:
    body = {"path": instance.folder(1), "type": "ASSET_PROCESSING"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    httpx.post(instance.emulator.url + PROCESS, json=body, headers=headers, trust_env=False)
    assert instance.history()[0]["createdBy"] == "technical-account"


def test_every_issued_token_begins_as_configured(instance: Instance) -> None:
    instance.emulator.settings(token_prefix="canary-", csrf=True)
    instance.emulator.post("/emulator/clients", {"kind": "oauth", "client_id": "me", "secret": SECRET})
    assert oauth(instance).json()["access_token"].startswith("canary-")
    url = f"{instance.emulator.url}/libs/granite/csrf/token.json"
    assert instance.client.get(url).json()["token"].startswith("canary-")
