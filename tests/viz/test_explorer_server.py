"""The explorer's server under load: connections wait for a free thread, sheets are encoded once; progress is shown."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import memorymaps as mm
from memorymaps.viz.explorer import server as server_module
from memorymaps.viz.explorer.options import ExplorerOptions
from memorymaps.viz.explorer.packing import pack, pack_lazily
from memorymaps.viz.explorer.server import Server
from memorymaps.viz.explorer.thumbnails import SheetCache

RNG = np.random.default_rng(0)


def small_map(n=40):
    X = RNG.normal(size=(n, 2))
    return mm.memory_map(Ridge().fit(X, X[:, 0]), X, X[:, 0])


def pictured(n=2100):
    return pack_lazily(small_map(n), ExplorerOptions(payload=RNG.integers(0, 255, size=(n, 8, 8), dtype=np.uint8)))


def test_a_sheet_is_encoded_once_however_many_threads_ask():
    encoded, at_once, most = [], 0, 0

    def encode(k):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.01)
        encoded.append(k)
        at_once -= 1
        return bytes([k]) * 10

    cache = SheetCache(encode)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(cache, [0, 1, 2] * 30))
    assert found == [bytes([k]) * 10 for k in [0, 1, 2] * 30]
    assert sorted(encoded) == [0, 1, 2]
    assert most == 1


def test_the_sheets_that_were_asked_for_last_are_kept():
    encoded = []
    cache = SheetCache(lambda k: encoded.append(k) or b"x" * 10, max_bytes=25)
    for k in (0, 1, 0, 2, 0, 1):
        cache(k)
    assert encoded == [0, 1, 2, 1]
    assert cache.size == 20
    assert SheetCache(lambda k: b"x" * 10, max_bytes=1)(0) == b"x" * 10


@pytest.mark.slow
def test_no_connection_is_dropped_and_threads_are_bounded():
    before = threading.active_count()

    def client(url, k):
        total = 0
        for j in range(3):
            with urlopen(f"{url}sheet/{(k + j) % 3}", timeout=120) as answer:
                total += len(answer.read()) > 0
        return total

    with Server(pictured()) as server, ThreadPoolExecutor(60) as pool:
        answers = [pool.submit(client, server.url, k) for k in range(200)]
        most = 0
        while not all(answer.done() for answer in answers):
            most = max(most, threading.active_count())
            time.sleep(0.005)
        assert sum(answer.result() for answer in answers) == 600
    assert most <= before + 60 + server_module._MAX_THREADS + 10  # and those that are ending


@pytest.mark.slow
def test_clients_that_say_nothing_delay_others_and_do_not_stop_them(monkeypatch):
    monkeypatch.setattr(server_module, "_TIMEOUT", 0.5)
    monkeypatch.setattr(server_module, "_MAX_THREADS", 4)
    with Server(pack_lazily(small_map(), ExplorerOptions())) as server, contextlib.ExitStack() as silent:
        for _ in range(8):
            silent.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert urlopen(server.url, timeout=60).status == 200


def test_a_server_with_waiting_connections_closes(monkeypatch):
    monkeypatch.setattr(server_module, "_MAX_THREADS", 1)
    server = Server(pack_lazily(small_map(), ExplorerOptions()))
    with contextlib.ExitStack() as silent, server:
        for _ in range(3):
            silent.enter_context(socket.create_connection(("127.0.0.1", server.port)))
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port))


@pytest.mark.slow
def test_a_client_that_goes_away_is_no_error():
    with contextlib.redirect_stderr(io.StringIO()) as shown, Server(pictured()) as server:
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset when it is closed
        connection.sendall(b"GET /" + server.token.encode() + b"/sheet/0 HTTP/1.0\r\nHost: 127.0.0.1\r\n")
        connection.close()
        assert urlopen(server.url, timeout=60).status == 200
    assert shown.getvalue() == ""


@pytest.mark.slow
def test_an_unknown_map_and_sheet_are_not_found():
    with Server(pictured()) as server:
        for name in ("sheet/9", "7/sheet/0", "0/sheet/x"):
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            connection.request("GET", f"/{server.token}/{name}")
            assert connection.getresponse().status == 404


def test_a_progress_bar_is_shown_if_asked_for(capsys):
    m, pictures = small_map(), RNG.integers(0, 255, size=(40, 8, 8), dtype=np.uint8)
    pack(m, ExplorerOptions(payload=pictures, progress=False))
    pack(m, ExplorerOptions(payload=pictures))  # no terminal
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_the_first_words_come_before_the_work(tmp_path):
    path = small_map().save(tmp_path / "m.parquet")
    command = [sys.executable, "-m", "memorymaps", "export", str(path), str(tmp_path / "page.html")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [f"reading {path}", f"packing {path}: 40 examples"]
