"""Results of retrainings, each on disk as soon as it is there: a killed run goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.maps.memory_map import MemoryMap

_ANOTHER = "holds the retrainings of another map or model, or an older version's: give this one its own file, path="


@dataclass
class Journal:
    """Results so far by row (−1: nothing removed).

    A line holds the rows `wanted`, the outputs `at` them of the model that is left behind, `f` after retraining, and
    `moving`, how much of the way they still moved at last, where that is known.
    """

    at: Mapping[int, Array]
    found: dict[int, dict[str, Any]]
    file: Any = None

    @classmethod
    def opened(cls, path: str | Path | None, m: MemoryMap, at: Mapping[int, Array], what: Mapping[str, Any]) -> Journal:
        """Read what an earlier run left, cut off a line it was killed in, and go on; `what` was run, and how.

        Raises
        ------
        ValueError
            The file is another map's, or of another kind of run.
        """
        if path is None:
            return cls(at, {})
        head = {**what, "version": 2, "fingerprint": m.provenance.fingerprint}
        lines = Path(path).read_bytes().splitlines(keepends=True) if Path(path).exists() else []
        whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
        if whole and whole[0] != head:
            raise ValueError(f"{path} {_ANOTHER}")
        with open(path, "wb") as file:
            file.writelines(json.dumps(line).encode() + b"\n" for line in (whole or [head]))
        return cls(at, {line["row"]: line for line in whole[1:]}, open(path, "ab"))

    def knows(self, row: int, wanted: Array) -> bool:
        """Whether this was asked before, and answered for the same model.

        Raises
        ------
        ValueError
            It was answered for a model with other outputs.
        """
        line = self.found.get(row)
        if line is None or line["wanted"] != wanted.tolist():
            return False
        was, now = np.asarray(line["at"]), self._outputs(wanted)
        if was.shape != now.shape or not np.allclose(was, now, rtol=1e-3, atol=1e-3 * float(np.abs(now).max())):
            raise ValueError(f"{self.file.name} {_ANOTHER}")
        return True

    def add(self, row: int, wanted: Array, f: Array, moving: float = 0.0) -> None:
        """Keep one result."""
        at = self._outputs(wanted).tolist()
        line = {"row": row, "wanted": wanted.tolist(), "at": at, "f": f.tolist(), "moving": moving}
        self.found[row] = line
        if self.file is not None:
            self.file.write(json.dumps(line).encode() + b"\n")
            self.file.flush()
            os.fsync(self.file.fileno())

    def _outputs(self, wanted: Array) -> Array:
        return np.stack([np.asarray(self.at[row]) for row in wanted.tolist()])

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.file is not None:
            self.file.close()
