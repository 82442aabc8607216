"""The explorer's server under load: 500 clients that ask for 10 sheets of pictures each.

    python benchmarks/server_load.py [--clients 500] [--sheets 10] [--at-once 50 200] [--seconds 240] [--side 64]

The pictures are noise, 64 × 64, so that sheets are as large as they get (5,000 of them are 20 GB; `--side 16` makes
them smaller). Clients run in a process of their own. After so many seconds, divided among the numbers at once, no
further request is made. Printed are the requests made, those without an answer, the server's memory and threads.
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


def packed(side: int) -> PackedMap:
    """A map of 16,384 examples with 16 sheets of pictures."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(EXAMPLES, 10))
    y = (X[:, 0] > rng.normal(size=EXAMPLES)).astype(int)
    pictures = rng.integers(0, 255, size=(EXAMPLES, side, side), dtype=np.uint8)
    return pack_lazily(mm.memory_map(LogisticRegression().fit(X, y), X, y), ExplorerOptions(payload=pictures))


def requests(url: str, client: int, sheets: int, deadline: float) -> tuple[int, int, int]:
    """How many requests one client makes before the deadline, how many are dropped, and how many take over a minute."""
    made = failed = late = 0
    for k in range(sheets):
        if time.time() > deadline:
            break
        made += 1
        begun = time.monotonic()
        try:
            with urlopen(f"{url}sheet/{(7 * client + k) % 16}", timeout=600) as answer:
                answer.read()
        except OSError:
            failed += 1
        late += time.monotonic() - begun > 60
    return made, failed, late


def ask(url: str, clients: int, sheets: int, at_once: int, seconds: float, found: Any) -> None:
    """All clients, so many at once."""
    deadline = time.time() + seconds
    with ThreadPoolExecutor(at_once) as pool:
        counts = list(pool.map(lambda client: requests(url, client, sheets, deadline), range(clients)))
    found.put(tuple(map(sum, zip(*counts, strict=True))))


def resident() -> float:
    """Memory of this process, MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--sheets", type=int, default=10, help="a client")
    parser.add_argument("--at-once", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--seconds", type=float, default=240.0, help="for all numbers at once together")
    parser.add_argument("--side", type=int, default=64, help="of a picture, pixels")
    args = parser.parse_args()
    spawn, page, failures = multiprocessing.get_context("spawn"), packed(args.side), 0
    share = args.seconds / len(args.at_once)
    for at_once in args.at_once:
        with Server(page) as server:
            found = spawn.Queue()
            process = spawn.Process(target=ask, args=(server.url, args.clients, args.sheets, at_once, share, found))
            before, most, threads, begun = resident(), 0.0, 0, time.process_time()
            process.start()
            while process.is_alive():
                most, threads = max(most, resident()), max(threads, threading.active_count())
                time.sleep(0.02)
            made, failed, late = found.get(timeout=60)
            spent = time.process_time() - begun
            print(f"{at_once} at once: {failed} of {made:,} requests unanswered, {late} after a minute "
                  f"({args.clients * args.sheets:,} wanted), "
                  f"{before:.0f} → {most:.0f} MB, at most {threads} threads, "
                  f"{spent:.0f} s of CPU time", flush=True)  # fmt: skip
            failures += failed
    return int(failures > 0)


if __name__ == "__main__":
    raise SystemExit(main())
