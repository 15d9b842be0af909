"""An instance that says what became of as many assets as wanted, in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from urllib.parse import parse_qs, urlsplit

_BLOCK = 1_000
PATH = "/content/dam/bench/a-folder-whose-name-is-about-as-long-as-they-are"


def blocks(count: int, every: int) -> Iterator[bytes]:
    """The answer about `count` assets, of which each `every`th failed; with a thousand assets a block."""
    yield b'{"jobId": "q", "status": "SUCCESS", "assets": ['
    for start in range(0, count, _BLOCK):
        numbers = range(start, min(start + _BLOCK, count))
        told = ", ".join(_asset(number, failed=number % every == 0) for number in numbers)
        yield (", " if start else "").encode() + told.encode()
    yield b"]}"


def _asset(number: int, *, failed: bool) -> str:
    state = '"FAILURE", "reason": "not well-formed"' if failed else '"SUCCESS"'
    uuid = f"GUID-{number:08x}-6f0e-4a53-9a46-2f2f7d1c3a10"
    return f'{{"path": "{PATH}/topic_{number:07}.dita", "uuid": "{uuid}", "status": {state}, "exists": true}}'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        # The number of assets and of failures is the last part of the path that is asked for.
        self._send(200, json.dumps({"jobId": body["paths"][0].rpartition("/")[2]}).encode())

    def do_GET(self) -> None:
        job_id = parse_qs(urlsplit(self.path).query).get("jobId")
        if job_id is None:
            self._send(400, b"jobId is missing")
            return
        count, every = (int(part) for part in job_id[0].split("-"))
        self._head(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for block in blocks(count, every):
            self.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_told: object) -> None:
        """Nothing."""

    def _head(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")

    def _send(self, status: int, body: bytes) -> None:
        self._head(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(port: Connection) -> None:
    """Serve for ever, and give out the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    port.send(server.server_address[1])
    server.serve_forever()
