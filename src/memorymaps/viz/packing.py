"""A map as the page reads it: Arrow columns, a description in JSON, parts that are fetched when they are shown.

The page's side is `frontend/src/data`; `VERSION` changes with either.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import spearmanr

from memorymaps._types import Array
from memorymaps.maps import COLUMNS
from memorymaps.perturbation import Warn
from memorymaps.summary import warnings_of
from memorymaps.viz.payloads import Pictures, Rows, Texts, payload_of
from memorymaps.viz.sprites import GRID, PER, sheet, slots_of, sprites

if TYPE_CHECKING:
    from memorymaps.maps import MemoryMap
    from memorymaps.viz.explorer import ExplorerOptions

VERSION = 1
MISSING = 65535
_CHUNK = 1024  # texts fetched at once
_PAGE = 200e3  # bytes of script, style and description
_MEASURES = ("sensitivity", "leverage", "error", "loo_loss")
_TOP = 100
_SHOWN = ("target", "prediction", "error", "leverage", "sensitivity", "loss", "loo_loss", "loo_prediction",
          "memorization", "weight", "warning")  # fmt: skip
_LIGHTS = {
    Warn.BOUND: "at the bound: the model hangs on this example alone, its sizes are undefined",
    Warn.NEAR_SINGULAR: "nearly at the bound: sizes carry few digits",
    Warn.FIRST_ORDER: "beyond the bound of an approximate posterior: first-order sizes, too small",
    Warn.NOT_CONVERGED: "no fixed point of the implicit form: sizes are undefined",
    Warn.PARETO_K: "Pareto-k too large: importance sampling from the full posterior cannot be trusted here",
}


@dataclass
class Packed:
    """Everything a page shows: description, columns, and the parts that are read lazily."""

    meta: dict[str, Any]
    table: pa.Table
    sheet: Callable[[int], bytes]
    texts: list[str] = field(default_factory=list, repr=False)

    def meta_json(self) -> str:
        """The description; infinite and undefined numbers are null."""
        return json.dumps(self.meta, allow_nan=False, separators=(",", ":"))

    def arrow(self) -> bytes:
        """The columns as an Arrow stream."""
        sink = pa.BufferOutputStream()
        whole = self.table.combine_chunks()
        with pa.ipc.new_stream(sink, whole.schema) as stream:
            stream.write_table(whole)
        return bytes(sink.getvalue().to_pybytes())

    def chunk(self, k: int) -> bytes:
        """The `k`-th thousand of texts as JSON."""
        return json.dumps(self.texts[k * _CHUNK : (k + 1) * _CHUNK]).encode()

    def compressed(self) -> bytes:
        """The columns, gzipped (the same bytes every time)."""
        return gzip.compress(self.arrow(), 9, mtime=0)


def pack(m: MemoryMap, options: ExplorerOptions, *, lazy: bool) -> Packed:
    """A map and its options as the page reads them; `lazy` parts are made when asked for, without a budget."""
    columns = _Columns(len(m))
    _add_map(columns, m)
    models = [m.provenance.description.model, *_add_other(columns, m, options)]
    steps = _add_steps(columns, m, options.trajectory or {})
    _add_extra(columns, m, options)
    order = np.argsort(-np.nan_to_num(m["sensitivity"], nan=-np.inf), kind="stable")
    made, texts, pictures = _payload(columns, m, options, order, lazy)
    meta = _meta(m, options, columns, models, steps)
    meta["pictures"] = pictures
    meta["texts"] = {"per": _CHUNK, "chunks": -(-len(texts) // _CHUNK)} if texts else None
    return Packed(meta, columns.table(), made, texts)


# --- columns ---------------------------------------------------------------------------------------------------------


class _Columns:
    """Arrow columns and what the page must know of each."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.arrays: dict[str, pa.Array] = {}
        self.metas: list[dict[str, Any]] = []

    def add(self, name: str, values: Array, names: tuple[Any, ...] = (), shown: str = "") -> None:
        """A column of numbers (32-bit), of classes (codes), or of texts, as its values ask for."""
        unit, words = COLUMNS.get(shown or name, ("", ""))
        meta: dict[str, Any] = {"name": name, "unit": unit, "words": words}
        if names or _is_class(values):
            self.arrays[name], found = _codes(values, names)
            meta |= {"kind": "class", "names": found}
        elif values.dtype.kind in "biuf":
            self.arrays[name] = pa.array(values.astype(np.float32))
            meta["kind"] = "number"
        else:
            self.arrays[name] = pa.array([_text(value) for value in values], pa.string())
            meta["kind"] = "text"
        self.metas.append(meta)

    def raw(self, name: str, values: Array) -> None:
        """A column that the page uses but does not list."""
        self.arrays[name] = pa.array(values)

    def table(self) -> pa.Table:
        return pa.table(self.arrays)


def _text(value: Any) -> str:
    """Text that every encoder takes: lone surrogates become question marks, missing values are empty."""
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return "" if missing else str(value).encode("utf-8", "replace").decode("utf-8")


def _is_class(values: Array) -> bool:
    if values.dtype.kind in "biuf":
        return bool(values.dtype.kind == "b")
    kinds = len(pd.unique(values))
    return kinds <= 50 or (kinds <= 1000 and kinds < len(values) / 4)


def _codes(values: Array, names: tuple[Any, ...]) -> tuple[pa.Array, list[str]]:
    known = list(names) or sorted({v for v in values.tolist() if _text(v) or isinstance(v, bool)}, key=str)
    place = {value: code for code, value in enumerate(known)}
    codes = [place.get(value, MISSING) for value in values.tolist()]
    return pa.array(np.asarray(codes, dtype=np.uint16)), [_text(value) for value in known]


def _add_map(columns: _Columns, m: MemoryMap) -> None:
    _add_ids(columns, m["id"])
    classes = _classes(m)
    for name in _SHOWN:
        if name in m.table.column_names and m[name].ndim == 1 and not _idle(name, m[name]):
            columns.add(name, m[name], classes if name in ("target", "prediction", "loo_prediction") else ())
    for name in m.table.column_names:
        if name not in COLUMNS and m[name].ndim == 1:
            columns.add(name, m[name])


def _idle(name: str, values: Array) -> bool:
    return name == "weight" and bool(np.all(values == 1))


def _add_ids(columns: _Columns, ids: Array) -> None:
    small = ids.dtype.kind in "iu" and (len(ids) == 0 or np.abs(ids).max() < 2**31)
    columns.raw("id", ids.astype(np.int32) if small else np.asarray([_text(value) for value in ids], dtype=object))


def _classes(m: MemoryMap) -> tuple[Any, ...]:
    """Names of the classes, with any label that the description does not list."""
    described = m.provenance.description.classes
    if not described:
        return ()
    found = {v for name in ("target", "prediction", "loo_prediction") for v in m[name].tolist()}
    return (*described, *sorted(found - set(described), key=str))


def _other_map(options: ExplorerOptions) -> tuple[str, MemoryMap] | None:
    other = options.compare
    if other is None:
        return None
    if isinstance(other, Mapping):
        if len(other) != 1:
            raise ValueError(f"compare has {len(other)} maps: expected one, {{name: map}}")
        return next(iter(other.items()))
    return f"{other.provenance.description.model} (compared)", other


def _add_other(columns: _Columns, m: MemoryMap, options: ExplorerOptions) -> list[str]:
    found = _other_map(options)
    if found is None:
        return []
    name, other = found
    rows = _joined(m, other)
    if np.all(rows < 0):
        raise ValueError("the compared map shares no id with this one: maps are linked by id")
    for score in ("leverage", "error", "sensitivity"):
        values = np.where(rows >= 0, other[score][np.maximum(rows, 0)], np.nan)
        columns.add(f"{score}@1", values, shown=score)
    return [name]


def _joined(m: MemoryMap, other: MemoryMap) -> Array:
    """Where each example of `m` is in another map; −1 where it is not."""
    return np.asarray(pd.Index(other["id"].tolist()).get_indexer(m["id"].tolist()))


def _add_extra(columns: _Columns, m: MemoryMap, options: ExplorerOptions) -> None:
    if options.columns is None:
        return
    joined = payload_of(m, options.columns if hasattr(options.columns, "iloc") else pd.DataFrame(options.columns))
    if isinstance(joined, Rows):
        _add_frame(columns, joined.frame)


def _add_frame(columns: _Columns, frame: pd.DataFrame) -> None:
    for name in frame.columns:
        known = str(name) in columns.arrays or "@" in str(name) or "#" in str(name)
        columns.add(f"{_text(name)} (yours)" if known else _text(name), _plain(frame[name]))


def _plain(series: pd.Series) -> Array:
    kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else "O"
    return series.to_numpy() if kind in "biuf" else series.astype(object).where(series.notna(), None).to_numpy()


# --- steps of training -----------------------------------------------------------------------------------------------


def _add_steps(columns: _Columns, m: MemoryMap, trajectory: Mapping[str, MemoryMap]) -> list[dict[str, Any]]:
    maps = list(trajectory.values())
    if not maps:
        return []
    if len(maps) == 1:
        raise ValueError("a trajectory of one map: expected at least two, {step: map}")
    rows = [_rows_of(m, other, name) for name, other in trajectory.items()]
    ends = []
    for score in ("leverage", "error"):
        low, high = _log_range([other[score] for other in maps])
        ends.append((low, high))
        codes = [_log_codes(other[score][row], low, high) for other, row in zip(maps, rows, strict=True)]
        for t, code in enumerate(codes):  # unsigned differences wrap round, and so do the page's sums
            columns.raw(f"{score}#{t}", code - codes[t - 1] if t else code)
    lows, highs = ([end[side] for end in ends] for side in (0, 1))
    return [_step(name, other) | {"low": lows, "high": highs} for name, other in trajectory.items()]


def _step(name: str, m: MemoryMap) -> dict[str, Any]:
    return {"name": _text(name), "loss": _mean(m["loss"]), "loo_loss": _mean(m["loo_loss"])}


def _rows_of(m: MemoryMap, other: MemoryMap, name: str) -> Array:
    rows = _joined(m, other)
    if np.any(rows < 0):
        raise ValueError(f"step {name!r} lacks {np.count_nonzero(rows < 0):,} of the map's {len(m):,} ids")
    return rows


def _log_range(columns: list[Array]) -> tuple[float, float]:
    values = np.concatenate([v[np.isfinite(v) & (v > 0)] for v in columns])
    if not len(values):
        return -1.0, 0.0
    low, high = float(np.log10(values.min())), float(np.log10(values.max()))
    return low, max(high, low + 1e-6)


def _log_codes(values: Array, low: float, high: float) -> Array:
    """16 bits of log10: 0 zero, 65535 undefined, else a relative error below 1e-4 for eight decades."""
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (np.log10(values) - low) / (high - low)
    codes = np.where(np.isfinite(part), 1 + np.rint(65533 * np.clip(np.nan_to_num(part), 0, 1)), MISSING)
    return np.where(values == 0, 0, codes).astype(np.uint16)


def _mean(values: Array) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.mean(finite)) if len(finite) else None


# --- payload ---------------------------------------------------------------------------------------------------------


def _no_sheet(k: int) -> bytes:
    raise KeyError(f"no sheet {k}: this map has no pictures")


def _payload(
    columns: _Columns, m: MemoryMap, options: ExplorerOptions, order: Array, lazy: bool
) -> tuple[Callable[[int], bytes], list[str], dict[str, Any] | None]:
    if options.payload is None:
        return _no_sheet, [], None
    found = payload_of(m, options.payload)
    if isinstance(found, Texts):
        return _no_sheet, [_text(value) for value in found.values], None
    if isinstance(found, Rows):
        _add_frame(columns, found.frame)
        return _no_sheet, [], None
    return _pictures(columns, found, options, order, lazy)


def _pictures(
    columns: _Columns, pictures: Pictures, options: ExplorerOptions, order: Array, lazy: bool
) -> tuple[Callable[[int], bytes], list[str], dict[str, Any]]:
    slots, readable = _all_slots(pictures, order) if lazy else slots_of(pictures, order)
    columns.raw("slot", slots)
    rows = np.argsort(slots, kind="stable")[len(slots) - readable :]
    read: Callable[[int], bytes]
    if lazy:
        read = lru_cache(64)(lambda k: sheet(pictures, rows[k * PER : (k + 1) * PER]))
        included, count = readable, -(-readable // PER)
    else:
        sheets = sprites(pictures, rows, _room(columns, options.max_mb))
        read = sheets.__getitem__
        included, count = min(readable, len(sheets) * PER), len(sheets)
    about = {"width": pictures.width, "height": pictures.height, "grid": GRID, "sheets": count, "mime": "image/webp",
             "included": included}  # fmt: skip
    return read, [], about


def _room(columns: _Columns, max_mb: float) -> float:
    """Bytes left for pictures beside the columns, the script and the style; base64 makes four bytes of three."""
    table = Packed({}, columns.table(), _no_sheet).compressed()
    return 0.75 * (1e6 * max_mb - _PAGE) - len(table)


def _all_slots(pictures: Pictures, order: Array) -> tuple[Array, int]:
    """Slots without reading a single picture where there are too many to try them all."""
    if len(order) <= 20_000:
        return slots_of(pictures, order)
    slots = np.empty(len(order), dtype=np.float32)
    slots[order] = np.arange(len(order))
    return slots, len(order)


# --- description -----------------------------------------------------------------------------------------------------


def _meta(
    m: MemoryMap, options: ExplorerOptions, columns: _Columns, models: list[str], steps: list[dict[str, Any]]
) -> dict[str, Any]:
    classification = bool(m.provenance.description.classes)
    return {
        "format": "memorymaps-explorer",
        "version": VERSION,
        "title": _text(options.title or "Memory map"),
        "subtitle": _text(f"{m.provenance.description.model} · {len(m):,} training examples"),
        "n": len(m),
        "integers": m["id"].dtype.kind in "iu",
        "columns": columns.metas,
        "models": [_text(name) for name in models],
        "steps": steps,
        "classification": classification,
        "warnings": {str(int(flag)): words for flag, words in _LIGHTS.items()},
        "notes": _notes(m),
        "agreement": _agreement(m),
        "color": _color(options, columns),
        "log": [_spans(m["leverage"]), _spans(m["error"])],
    }


def _color(options: ExplorerOptions, columns: _Columns) -> str:
    names = [meta["name"] for meta in columns.metas if meta["kind"] != "text"]
    if options.color is not None and options.color not in names:
        raise KeyError(f"cannot colour by {options.color!r}: expected one of {names}")
    return options.color or "sensitivity"


def _notes(m: MemoryMap) -> list[str]:
    d = m.provenance.description
    lines = [f"likelihood {d.likelihood}, posterior {d.posterior}", f"prior: {d.prior}", *d.coverage, *d.notes]
    return [_text(line) for line in (*lines, *warnings_of(m))]


def _spans(values: Array) -> bool:
    """Whether the middle of the data spans decades, or its tail leaves the middle far behind."""
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive) < 2:
        return False
    low, middle, high, far = np.log10(np.quantile(positive, [0.1, 0.5, 0.9, 0.999]))
    return bool(high - low >= 1.4 or far - middle >= 1.2)


def _agreement(m: MemoryMap) -> dict[str, Any] | None:
    """Rank correlations and overlaps of the tops; None where there is nothing to rank."""
    scores = [m[name] for name in _MEASURES]
    good = np.all(np.isfinite(scores), axis=0)
    if np.count_nonzero(good) < 3:
        return None
    kept = [score[good] for score in scores]
    top = min(_TOP, len(kept[0]))
    heads = [set(np.argsort(-score, kind="stable")[:top].tolist()) for score in kept]
    return {
        "measures": list(_MEASURES),
        "spearman": [[_rho(a, b) for b in kept] for a in kept],
        "overlap": [[len(a & b) / top for b in heads] for a in heads],
        "top": top,
    }


def _rho(a: Array, b: Array) -> float | None:
    return float(spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else None
