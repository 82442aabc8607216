"""One process of a group: `python process.py TASK FOLDER RANK SIZE [arguments]`; the group meets in a file."""

import datetime
import pathlib
import pickle
import sys

import tasks
import torch
import torch.distributed as dist

TIMEOUT = datetime.timedelta(seconds=60)


def main(task, folder, rank, size, *arguments):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=int(rank), world_size=int(size), timeout=TIMEOUT
    )
    found = getattr(tasks, task)(pathlib.Path(folder), int(rank), *arguments)
    (pathlib.Path(folder) / f"{rank}.pickle").write_bytes(pickle.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
