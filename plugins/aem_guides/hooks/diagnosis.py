"""The result of the Test button of the connection: a sentence for each check, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from aem_guides.hooks.connection import InstanceSettings
from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.credentials import BasicCredentials, BearerCredentials, Credentials
from aem_guides.protocol.errors import (
    AemGuidesError,
    AnswerError,
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    ScopeError,
    UnreachableError,
)
from aem_guides.protocol.models import SystemStatus
from aem_guides.protocol.steps import Steps
from aem_guides.protocol.tokens import OAuthCredentials
from aem_guides.protocol.wording import counted

_NO_GUIDES = (
    "AEM Guides: this host has no bulk processing API (404). Check that the field host names the author, and that AEM "
    "Guides is installed there in a version with this API."
)


@dataclass
class Diagnosis:
    """The sentences of the result. `passed`: all checks that a run needs have passed."""

    sentences: list[str] = field(default_factory=list)
    passed: bool = True

    def right(self, sentence: str) -> None:
        """Add a check that passed, or that could not be made."""
        self.sentences.append(sentence)

    def wrong(self, sentence: str) -> None:
        """Add a check that failed."""
        self.sentences.append(sentence)
        self.passed = False

    def __str__(self) -> str:
        return " ".join(sentence if sentence.endswith(".") else f"{sentence}." for sentence in self.sentences)


def diagnose(talk: Conversation, settings: InstanceSettings) -> Steps[Diagnosis]:
    """Check everything that a run needs: network, login, AEM Guides and its database, history. Raises nothing."""
    diagnosis = Diagnosis([_without_name(warning, settings.conn_id) for warning in settings.warnings])
    try:
        history = yield from talk.call(contract.history())
    except AemGuidesError as error:
        goes_on = _add_refusal(diagnosis, settings, error)
        if goes_on:
            yield from _check_system_status(diagnosis, talk)
        return diagnosis
    _add_reached(diagnosis, settings)
    diagnosis.right(f"Accepted: {_login(settings.credentials)}.")
    yield from _check_system_status(diagnosis, talk)
    active = sum(job.is_active for job in history.jobs)
    diagnosis.right(f"History readable: {counted(len(history.jobs), 'job')}, {active} active.")
    if history.unreadable:
        diagnosis.right(f"{len(history.unreadable)} of its entries cannot be read.")
    return diagnosis


def without_name(error: ConfigurationError, conn_id: str) -> str:
    """The error without the connection's name, which Airflow invents for a test."""
    return _without_name(str(error), conn_id)


def _without_name(text: str, conn_id: str) -> str:
    return _sentence(text.removeprefix(f"Connection {conn_id}, "))


def _sentence(error: object) -> str:
    """An error as a sentence after another one."""
    return str(error)[:1].upper() + str(error)[1:]


def _add_reached(diagnosis: Diagnosis, settings: InstanceSettings) -> None:
    diagnosis.right(f"Reached: {settings.base_url}.")


def _add_refusal(diagnosis: Diagnosis, settings: InstanceSettings, error: AemGuidesError) -> bool:
    """Add the check that failed. Returns whether further checks are useful."""
    of_identity_service = "://" in str(getattr(error, "request", ""))
    if isinstance(error, UnreachableError):
        where = "the identity service" if of_identity_service else settings.base_url
        diagnosis.wrong(f"Not reached: {where}. {error.reason}")
    elif of_identity_service and isinstance(error, AuthenticationError) and (error.status < 400 or error.status == 404):
        diagnosis.wrong(f"No answer from the identity service: {error}")
    elif of_identity_service:
        diagnosis.wrong(f"Refused by the identity service: {_login(settings.credentials)}. {_sentence(error)}")
    elif isinstance(error, ScopeError):
        _add_reached(diagnosis, settings)
        diagnosis.wrong(f"Accepted, but not allowed to do this: {_login(settings.credentials)}. {_sentence(error)}")
    elif isinstance(error, AuthenticationError) and error.status < 300:
        _add_reached(diagnosis, settings)
        diagnosis.wrong(f"No answer from AEM Guides: {error}")
    elif isinstance(error, AuthenticationError):
        _add_reached(diagnosis, settings)
        diagnosis.wrong(f"Refused: {_login(settings.credentials)}. {_sentence(error)}")
    elif isinstance(error, NotFoundError):
        _add_reached(diagnosis, settings)
        diagnosis.wrong(_NO_GUIDES)
    elif isinstance(error, AnswerError):
        _add_reached(diagnosis, settings)
        diagnosis.wrong(f"History not readable: {error}")
        return True
    elif isinstance(error, ConfigurationError):
        diagnosis.wrong(f"Nothing was sent. {error}")
    else:
        diagnosis.wrong(str(error))
    return False


def _check_system_status(diagnosis: Diagnosis, talk: Conversation) -> Steps[None]:
    try:
        status = yield from talk.call(contract.system_status())
    except NotFoundError:
        diagnosis.right("AEM Guides: this instance does not show the state of its database.")
    except AemGuidesError as error:
        diagnosis.wrong(f"AEM Guides: the state of its database cannot be read. {_sentence(error)}")
    else:
        _add_database(diagnosis, status)


def _add_database(diagnosis: Diagnosis, status: SystemStatus) -> None:
    kind = {True: "database-based", False: "JCR-based", None: "of an unknown kind"}[status.is_database]
    check = f", and its database check says {status.database_check}" if status.database_check else ""
    diagnosis.right(f"AEM Guides: processing is {kind}{check}.")
    if not status.is_fit:
        diagnosis.wrong("Its database does not work. Stop using the system until it works again.")


def _login(credentials: Credentials) -> str:
    """The credentials in words, without any secret."""
    if isinstance(credentials, BasicCredentials):
        return f"user {credentials.user} with a password"
    if isinstance(credentials, BearerCredentials):
        return "the access token"
    if isinstance(credentials, OAuthCredentials):
        return f"OAuth client {credentials.client_id}"
    return "the service credentials"
