"""Build wheel and sdist, install each in a clean environment, and try it; then the wheel with each extra alone.

    python tools/try_wheels.py                       # everything: some GB of downloads
    python tools/try_wheels.py --extras sklearn polars

What is tried runs outside of the source tree, with the installed package only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOT_TRIED = {"dev", "docs"}
ALONE = """
import importlib.metadata, pathlib, tempfile
import numpy as np
import memorymaps as mm
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.models.draws.draws import Draws
assert "site-packages" in mm.__file__, mm.__file__
rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3))
y = X[:, 0] + rng.normal(size=40)
m = mm.memory_map(Draws((rng.normal(size=(200, 3)) @ X.T)[:, :, None], Gaussian()), X, y)
folder = pathlib.Path(tempfile.mkdtemp())
assert mm.load(m.save(folder / "m.parquet")).table.equals(m.table)
assert m.explore(folder / "page.html").stat().st_size > 100_000
"""
SKLEARN = """
from sklearn.linear_model import Ridge
assert mm.memory_map(Ridge().fit(X, y), X, y)["leverage"].sum() > 0
"""
TORCH = """
import torch
net = torch.nn.Linear(3, 1)
recipe = mm.Laplace("full", prior=1.0)
data = torch.tensor(X).float(), torch.tensor(y).float()
assert mm.memory_map(net, *data, likelihood="gaussian", posterior=recipe)["leverage"].sum() > 0
"""
USES = {
    "sklearn": SKLEARN,
    "trees": "import lightgbm\nmodel = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(X, y)\n"
    "assert len(mm.memory_map(model, X, y)) == 40",
    "statsmodels": "import statsmodels.api as sm\nassert len(mm.memory_map(sm.OLS(y, X).fit())) == 40",
    "polars": "import polars\nassert len(polars.from_arrow(m.table)) == 40",
    "notebook": "assert m.explore() is not None",
    "arviz": "import memorymaps.models.draws.arviz",
    "torch": TORCH,
    "gpytorch": "import memorymaps.nets.interop.gpytorch_exact",
    "lightning": TORCH + "import memorymaps.training.callbacks.lightning",
    "huggingface": TORCH + "import memorymaps.training.callbacks.huggingface",
    "skorch": TORCH + "import memorymaps.training.callbacks.skorch",
    "tensorboard": "import memorymaps.training.callbacks.tensorboard, tensorboard",
    "wandb": "import memorymaps.training.callbacks.wandb, wandb",
    "mlflow": "import memorymaps.training.callbacks.mlflow, mlflow",
    "all": SKLEARN + TORCH,
}


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command; its output is printed if it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(map(str, command[:6]))} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        )


def environment(folder: Path) -> Path:
    """A clean environment; returns its Python."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def built(folder: Path) -> tuple[Path, Path]:
    """The wheel, made from the sdist, and the sdist."""
    python = environment(folder / "builder")
    run(python, "-m", "pip", "install", "--quiet", "build", cwd=folder)
    run(python, "-m", "build", "--outdir", folder / "dist", ROOT, cwd=folder)
    return next((folder / "dist").glob("*.whl")), next((folder / "dist").glob("*.tar.gz"))


def tried(archive: Path, extra: str, folder: Path, constraints: list[str]) -> None:
    """Install an archive with an extra in an environment of its own, and use it."""
    python = environment(folder)
    target = f"{archive}[{extra}]" if extra else str(archive)
    run(python, "-m", "pip", "install", "--quiet", *constraints, target, cwd=folder)
    run(python, "-m", "pip", "check", cwd=folder)
    run(python, "-c", ALONE + USES.get(extra, ""), cwd=folder)
    run(python, "-m", "memorymaps", "--version", cwd=folder)


def main() -> int:
    """Build, install, use; 1 if something fails."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", nargs="*", default=sorted(set(extras) - NOT_TRIED), choices=sorted(extras))
    parser.add_argument("--newest", action="store_true", help="without the constraints file")
    args = parser.parse_args()
    constraints, failed = [] if args.newest else ["-c", str(ROOT / "constraints.txt")], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel, sdist = built(folder)
        for archive, extra in [(sdist, ""), (wheel, ""), *((wheel, extra) for extra in args.extras)]:
            begun, words = time.perf_counter(), "works"
            with tempfile.TemporaryDirectory() as place:
                try:
                    tried(archive, extra, Path(place), constraints)
                except RuntimeError as error:
                    words, failed = f"FAILS: {error}", failed + 1
            what = f"{archive.name}{f'[{extra}]' * bool(extra)}"
            print(f"{what:52s} {time.perf_counter() - begun:5.0f} s  {words}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
