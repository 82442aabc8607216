"""Every source that a docstring names has its reference in docs/meaning/notation.md."""

import ast
import pathlib
import re

import pytest

import memorymaps

SOURCE = pathlib.Path(memorymaps.__file__).parent
NOTATION = pathlib.Path(__file__).parents[1] / "docs" / "meaning" / "notation.md"
YEAR = re.compile(r"\b(?:19[4-9]|20[0-2])\d\b")
NO_SOURCE = ("the 2023",)  # "the 2023 reference code"


def keys():
    section = NOTATION.read_text(encoding="utf-8").partition("## Sources")[2]
    return [key for key in re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE) if key not in ("key", "---")]


def words(docstring):
    """A docstring in one line, without its examples."""
    lines = [line for line in docstring.splitlines() if not line.lstrip().startswith((">>>", "...", "array("))]
    return " ".join(" ".join(lines).split())


def docstrings():
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                yield str(path.relative_to(SOURCE)), words(ast.get_docstring(node))


def unknown(text, known):
    """Years that end no key, and abbreviations in brackets that are none."""
    ends = [(text[: found.end()], found.group()) for found in YEAR.finditer(text)]
    years = [end[-40:] for end, _ in ends if not end.endswith((*known, *NO_SOURCE))]
    plain = re.sub(r"`[^`]*`", "", text)
    return years + [key for key in re.findall(r"\[([A-Z]{2,3})(?= [A-Z]|\])", plain) if key not in known]


@pytest.mark.slow
def test_every_source_of_a_docstring_has_its_reference():
    known = tuple(keys())
    assert {"MPE", "BLR", "CW", "FZ", "Rasmussen & Williams 2006"} <= set(known)
    assert {path: wrong for path, text in docstrings() if (wrong := unknown(text, known))} == {}


@pytest.mark.parametrize("text", ["as in [XY]", "see [MPX Eq. 3]", "[Cook 1979]", "Source: Nobody & Other 2001, ch. 3"])
def test_a_source_without_reference_is_found(text):
    assert len(unknown(text, tuple(keys()))) == 1


@pytest.mark.parametrize(
    "text", ["[MPE Eq. 12]", "[CW]", "Efron 1982; [BLR]", "`f [N]` and `[PP, QQ]`", "the 2023 code"]
)
def test_a_source_with_reference_is_not(text):
    assert unknown(text, tuple(keys())) == []
