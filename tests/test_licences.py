"""The licences of what users install, as `tools/licences.py` reads them."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

pytest.importorskip("packaging")
SCRIPT = pathlib.Path(__file__).parents[1] / "tools" / "licences.py"


def script():
    spec = importlib.util.spec_from_file_location("licences", SCRIPT)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("MIT", True),
        ("BSD-3-Clause AND 0BSD AND Zlib", True),
        ("Mozilla Public License 2.0 (MPL 2.0)", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-2.0", False),
        ("MIT OR GPL-2.0", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("unknown", False),
    ],
)
def test_which_licences_are_allowed(text, allowed):
    assert script().allowed(text) == allowed


@pytest.mark.slow
def test_every_installed_dependency_is_allowed(capsys):
    assert script().main() == 0, capsys.readouterr().out
    assert "numpy" in capsys.readouterr().out
