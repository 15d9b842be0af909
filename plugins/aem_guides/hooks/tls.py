"""How both bodies check TLS certificates: with the same trust roots."""

from __future__ import annotations

import os
import ssl

import certifi
from urllib3.connection import HTTPSConnection


class HandshakeError(ssl.SSLError):
    """The TLS handshake failed, so nothing was sent. Any other TLS error may follow a sent request."""


class HandshakeConnection(HTTPSConnection):
    """Distinguishes an error of the handshake from a later one."""

    def connect(self) -> None:
        try:
            super().connect()
        except ssl.SSLError as error:
            raise HandshakeError(*error.args) from error


_FileVersion = tuple[int, int, int] | None
_kept: dict[tuple[bool, str | None], tuple[_FileVersion, ssl.SSLContext]] = {}


def tls_context(verify: bool, ca_file: str | None) -> ssl.SSLContext:
    """The TLS check: the system's trust roots, the public ones, and those of the CA file.

    The context is kept until the CA file changes, because reading the roots costs 50 ms of processor time. While the CA
    file is half written, the earlier context is used.
    """
    version, kept = _version(ca_file), _kept.get((verify, ca_file))
    if kept is not None and kept[0] == version:
        return kept[1]
    try:
        context = _new_context(verify, ca_file)
    except (ssl.SSLError, OSError):
        if kept is None:
            raise
        return kept[1]
    _kept[verify, ca_file] = version, context
    return context


def _version(file: str | None) -> _FileVersion:
    """A value that changes when the file changes, even if it is written in place. None without a file."""
    if file is None:
        return None
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _new_context(verify: bool, ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.load_verify_locations(cafile=certifi.where())
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context
