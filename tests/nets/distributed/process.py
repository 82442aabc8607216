"""One process of a group, `python process.py FOLDER RANK SIZE TASK [arguments]`; they find each other by a file.

What the task returns, or the message of its error, is in `FOLDER/RANK.pickle`.
"""

import datetime
import pathlib
import pickle
import sys

import tasks
import torch
import torch.distributed as dist

TIMEOUT = datetime.timedelta(minutes=15)


def main(folder, rank, size, task, *arguments):
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=int(rank), world_size=int(size), timeout=TIMEOUT)
    found = getattr(tasks, task)(pathlib.Path(folder), int(rank), *arguments)
    (pathlib.Path(folder) / f"{rank}.pickle").write_bytes(pickle.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
