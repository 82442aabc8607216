"""A local HTTP server for large maps: columns as Arrow, pictures and texts when they are first displayed.

It listens on 127.0.0.1 only, serves paths under a random token only, refuses foreign hosts and origins, and serves
nothing but the resources of its own maps. At most 32 requests are answered at once; further ones wait.
"""

from __future__ import annotations

import json
import secrets
import socketserver
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from memorymaps.viz.explorer.arrow_columns import to_text
from memorymaps.viz.explorer.html_page import content_security_policy, html_document
from memorymaps.viz.explorer.packing import PackedMap

_MAX_PATH_LENGTH = 200  # characters; paths of this server are shorter
_TIMEOUT = 20  # seconds per request
_MAX_THREADS = 32  # requests answered at once
_BACKLOG = 1024  # connections that wait for a thread; the system may allow fewer


class _ServedMap:
    """The resources of one map."""

    def __init__(self, packed: PackedMap, names: list[str], at: int) -> None:
        self.packed = packed
        chooser = json.dumps({"names": names, "at": at}).encode()
        self._parts = {
            "": ("text/html; charset=utf-8", html_document(packed.meta["title"], [], "'self'").encode()),
            "meta": ("application/json", packed.meta_json().encode()),
            "maps": ("application/json", chooser),
            "table.arrow": ("application/vnd.apache.arrow.stream", packed.arrow()),
        }

    def part(self, name: str) -> tuple[str, bytes] | None:
        """Media type and bytes of a resource; None if there is no such resource."""
        kind, _, number = name.partition("/")
        if name in self._parts:
            return self._parts[name]
        if not _is_number(number):
            return None
        meta, k = self.packed.meta, int(number)
        if kind == "sheet" and meta["pictures"] and k < meta["pictures"]["sheets"]:
            return meta["pictures"]["mime"], self.packed.sheet(k)
        if kind == "texts" and meta["texts"] and k < meta["texts"]["chunks"]:
            return "application/json", self.packed.text_chunk(k)
        return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


class _BoundedServer(ThreadingHTTPServer):
    """A thread for each request, at most so many at once: further connections wait in the system's queue."""

    daemon_threads = True
    request_queue_size = _BACKLOG

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(_MAX_THREADS)
        self._closing = threading.Event()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, as soon as one is free; close the connection if the server is closed before."""
        while not self._free.acquire(timeout=0.2):
            if self._closing.is_set():
                return self.shutdown_request(request)
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, then let the next one begin."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error on standard error; a client that has gone away, or a server that is closed, is none."""
        if not (isinstance(sys.exception(), ConnectionError) or self._closing.is_set()):
            socketserver.BaseServer.handle_error(self, request, client_address)

    def close(self) -> None:
        """Stop accepting connections; those in threads end with the process or with their client."""
        self._closing.set()
        self.shutdown()
        self.server_close()


class Server:
    """Serves one packed map, or several as `{name: packed map}`, until the context is left.

    Examples
    --------
    >>> from urllib.request import urlopen
    >>> from memorymaps import memory_map
    >>> from memorymaps.data.datasets import demo_model
    >>> from memorymaps.viz.explorer.options import ExplorerOptions
    >>> from memorymaps.viz.explorer.packing import pack_lazily
    >>> m = memory_map(*demo_model())
    >>> with Server(pack_lazily(m, ExplorerOptions())) as server:
    ...     urlopen(server.url).status
    200
    """

    def __init__(self, packed: PackedMap | Mapping[str, PackedMap], port: int = 0) -> None:
        named = {"": packed} if isinstance(packed, PackedMap) else packed
        if not named:
            raise ValueError("no maps to serve: expected at least one, {name: packed map}")
        names = [to_text(name) for name in named]
        self._maps = [_ServedMap(one, names, k) for k, one in enumerate(named.values())]
        self.token = secrets.token_urlsafe(24)
        self._http = _BoundedServer(("127.0.0.1", port), _handler(self))
        self._thread: threading.Thread | None = None
        self._encoder = ThreadPoolExecutor(1, "memorymaps sheets")

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """The address to open; contains the token."""
        return f"http://127.0.0.1:{self.port}/{self.token}/"

    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._encoder.shutdown(cancel_futures=True)
        if self._thread:
            self._thread.join()

    def wait(self) -> None:
        """Serve until interrupted."""
        if self._thread is None:
            raise RuntimeError("the server has not been started: with Server(…) as server: server.wait()")
        while self._thread.is_alive():
            self._thread.join(1)

    def part(self, path: str) -> tuple[str, bytes] | None:
        """A resource of map `k` under `k/…`, of the first map without a number; None if there is no such resource."""
        first, slash, rest = path.partition("/")
        k, name = (int(first), rest) if slash and _is_number(first) else (0, path)
        if k >= len(self._maps):
            return None
        if name.startswith("sheet/"):  # in one thread: each thread that encodes keeps memory of its own
            return self._encoder.submit(self._maps[k].part, name).result()
        return self._maps[k].part(name)

    def refusal_status(self, host: str | None, origin: str | None, path: str) -> HTTPStatus | None:
        """HTTP status with which a request is refused; None if it is served."""
        hosts = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        if host not in hosts:  # DNS rebinding: a foreign name that resolves to this machine
            return HTTPStatus.FORBIDDEN
        if origin is not None and origin not in {f"http://{name}" for name in hosts}:
            return HTTPStatus.FORBIDDEN
        if len(path) > _MAX_PATH_LENGTH:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        given = path.lstrip("/").partition("/")[0]
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return HTTPStatus.NOT_FOUND
        return None


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    headers = {
        "Content-Security-Policy": content_security_policy("'self'") + "; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }

    class Handler(BaseHTTPRequestHandler):
        server_version = "memorymaps"
        sys_version = ""
        timeout = _TIMEOUT

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            refused = server.refusal_status(self.headers.get("Host"), self.headers.get("Origin"), path)
            if refused is not None:
                return self.send_error(refused)
            found = server.part(path.lstrip("/").partition("/")[2])
            if found is None:
                return self.send_error(HTTPStatus.NOT_FOUND)
            return self._send(*found)

        def _send(self, kind: str, content: bytes) -> None:
            self.send_response(HTTPStatus.OK)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """No log: addresses contain the token."""

    return Handler
