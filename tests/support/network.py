"""Servers between us and an instance: a forward proxy, and a TLS server."""

from __future__ import annotations

import base64
import contextlib
import datetime
import re
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Seen:
    """A running server: its port, and the request lines that it received."""

    port: int = 0
    requests: list[str] = field(default_factory=list)


class _Server(socketserver.ThreadingTCPServer):
    """Each connection has its own thread. An error ends only that connection."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore the error: a client that disconnects is not an error here."""


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve on a free port of this machine; yields the port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            serve(self.request)

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(10)


def _join(near: socket.socket, host: str, port: int, first: bytes = b"") -> None:
    """Forward data in both directions, until one side ends."""
    with socket.create_connection((host, port), timeout=30) as far:
        far.sendall(first)
        while True:
            waiting = isinstance(near, ssl.SSLSocket) and near.pending()
            readable = [near] if waiting else select.select([near, far], [], [], 30)[0]
            for side in readable:
                block = side.recv(65536)
                if not block:
                    return
                (far if side is near else near).sendall(block)


def _head(near: socket.socket) -> str:
    read = b""
    while b"\r\n\r\n" not in read:
        block = near.recv(65536)
        if not block:
            raise ConnectionResetError
        read += block
    return read.decode("latin-1")


def _body_left(read: str) -> int:
    """How many bytes of a request's body were not read together with its head."""
    reported = re.search(r"^content-length: *(\d+)", read, re.IGNORECASE | re.MULTILINE)
    return (int(reported[1]) if reported else 0) - len(read.partition("\r\n\r\n")[2])


@contextlib.contextmanager
def forward_proxy(login: str | None = None) -> Iterator[Seen]:
    """An HTTP proxy, for plain requests and CONNECT. With `login`, as in "user:password", it requires that login."""
    seen = Seen()
    wanted = f"Proxy-Authorization: Basic {base64.b64encode((login or '').encode()).decode()}".lower()

    def serve(near: socket.socket) -> None:
        head = _head(near)
        line = head.partition("\r\n")[0]
        seen.requests.append(line)
        if login is not None and wanted not in head.lower():
            near.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            return
        method, target, _ = line.split(" ", 2)
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _join(near, host, int(port))
            return
        host, _, port = target.split("/", 3)[2].partition(":")
        origin_form = head.replace(target, "/" + target.split("/", 3)[3], 1)
        origin_form = origin_form.replace("\r\n", "\r\nConnection: close\r\n", 1)  # one request per connection
        _join(near, host, int(port or 80), origin_form.encode("latin-1"))

    with serving(serve) as seen.port:
        yield seen


@contextlib.contextmanager
def trickling() -> Iterator[int]:
    """A proxy that accepts a tunnel and never ends the header fields of its answer. Yields its port."""
    over = threading.Event()

    def serve(near: socket.socket) -> None:
        _head(near)
        near.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not over.wait(0.2):
            near.sendall(b"a")

    with serving(serve) as port:
        try:
            yield port
        finally:
            over.set()


@contextlib.contextmanager
def tls_front(port: int, certificate: Certificate) -> Iterator[int]:
    """A TLS server that forwards to a plain server on this machine. Yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key_file)

    def serve(near: socket.socket) -> None:
        with context.wrap_socket(near, server_side=True) as secured:
            _join(secured, "127.0.0.1", port)

    with serving(serve) as front:
        yield front


@contextlib.contextmanager
def tls_front_that_breaks(port: int, certificate: Certificate) -> Iterator[int]:
    """The same, but it answers the first POST with bytes that cannot be decrypted. Yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key_file)
    undecipherable = b"\x17\x03\x03\x00\x20" + bytes(32)
    broken = threading.Event()

    def serve(near: socket.socket) -> None:
        with context.wrap_socket(near, server_side=True) as secured:
            head = _head(secured)
            with socket.create_connection(("127.0.0.1", port), timeout=30) as far:
                far.sendall(head.replace("\r\n", "\r\nConnection: close\r\n", 1).encode("latin-1"))
                for _ in range(_body_left(head)):
                    far.sendall(secured.recv(1))
                answer = b"".join(iter(lambda: far.recv(65536), b""))
            if head.startswith("POST") and not broken.is_set():
                broken.set()
                with socket.socket(fileno=secured.detach()) as plain:
                    plain.sendall(undecipherable)
            else:
                secured.sendall(answer)

    with serving(serve) as front:
        yield front


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate and its key, as PEM files."""

    file: Path
    key_file: Path


def self_signed(folder: Path, *, expired: bool = False, host: str = "localhost") -> Certificate:
    """Make a certificate for a host. `expired`: it expired yesterday."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    ends = now + datetime.timedelta(days=-1 if expired else 30)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    folder.mkdir(parents=True, exist_ok=True)
    made.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made
