"""The explorer's server under load: 500 clients that ask for 10 sheets of pictures each.

    python benchmarks/server_load.py [--clients 500] [--sheets 10] [--at-once 50 200]

The pictures are noise, 64 × 64, so that sheets are as large as they get. Clients run in a process of their own; printed
are requests without an answer, the server's memory and threads.
"""

from __future__ import annotations

import argparse
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import urlopen

import numpy as np
from sklearn.linear_model import LogisticRegression

import memorymaps as mm
from memorymaps.viz.explorer.options import ExplorerOptions
from memorymaps.viz.explorer.packing import PackedMap, pack_lazily
from memorymaps.viz.explorer.server import Server

EXAMPLES = 16 * 1024


def packed() -> PackedMap:
    """A map of 16,384 examples with 16 sheets of pictures."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(EXAMPLES, 10))
    y = (X[:, 0] > rng.normal(size=EXAMPLES)).astype(int)
    pictures = rng.integers(0, 255, size=(EXAMPLES, 64, 64), dtype=np.uint8)
    return pack_lazily(mm.memory_map(LogisticRegression().fit(X, y), X, y), ExplorerOptions(payload=pictures))


def unanswered(url: str, client: int, sheets: int) -> int:
    """Requests of one client that fail."""
    failed = 0
    for k in range(sheets):
        try:
            with urlopen(f"{url}sheet/{(7 * client + k) % 16}", timeout=120) as answer:
                answer.read()
        except OSError:
            failed += 1
    return failed


def ask(url: str, clients: int, sheets: int, at_once: int, found: Any) -> None:
    """All clients, so many at once."""
    with ThreadPoolExecutor(at_once) as pool:
        found.put(sum(pool.map(lambda client: unanswered(url, client, sheets), range(clients))))


def resident() -> float:
    """Memory of this process, MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--sheets", type=int, default=10, help="a client")
    parser.add_argument("--at-once", type=int, nargs="+", default=[50, 200])
    args = parser.parse_args()
    spawn, page, failures = multiprocessing.get_context("spawn"), packed(), 0
    for at_once in args.at_once:
        with Server(page) as server:
            found = spawn.Queue()
            process = spawn.Process(target=ask, args=(server.url, args.clients, args.sheets, at_once, found))
            before, most, threads, begun = resident(), 0.0, 0, time.process_time()
            process.start()
            while process.is_alive():
                most, threads = max(most, resident()), max(threads, threading.active_count())
                time.sleep(0.02)
            failed = found.get()
            spent = time.process_time() - begun
            print(f"{at_once} at once: {failed} of {args.clients * args.sheets} requests unanswered, "
                  f"{before:.0f} → {most:.0f} MB, at most {threads} threads, {spent:.0f} s of CPU time")  # fmt: skip
            failures += failed
    return int(failures > 0)


if __name__ == "__main__":
    raise SystemExit(main())
