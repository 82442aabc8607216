"""Identifiers are in the field's terms: no part of a name is a private word (docs/meaning/notation.md)."""

import ast
import pathlib
import re

import pytest

import memorymaps

SOURCE = pathlib.Path(memorymaps.__file__).parent

# word → a term to use instead
PRIVATE = {
    "alone": "individually, per_example",
    "anchor": "training_input",
    "anchors": "training_inputs",
    "answers": "results",
    "answered": "has_result",
    "arrive": "converge",
    "arrives": "converges",
    "asked": "requested",
    "belief": "distribution",
    "bend": "curvature",
    "bends": "nonlinear",
    "bent": "curvature product, image",
    "beside": "additional",
    "brought": "given",
    "cheap": "fast",
    "dear": "expensive",
    "door": "entry point",
    "doors": "entry points",
    "everybody": "all examples",
    "gauged": "centred",
    "grown": "larger, final, scaled",
    "guilty": "nonfinite, failing",
    "hangs": "depends",
    "home": "module",
    "homes": "modules",
    "honest": "exact",
    "house": "package",
    "kink": "nonsmooth",
    "kinked": "nonsmooth",
    "knows": "has_result, matches",
    "lane": "cotangent",
    "lanes": "cotangents",
    "leaning": "high_leverage",
    "leans": "high_leverage",
    "looks": "linearize",
    "meet": "condition",
    "meets": "condition",
    "met": "condition",
    "move": "change, tangent",
    "moved": "jvp, new",
    "nobody": "no example",
    "numbered": "indexed, with_rows",
    "pull": "vjp",
    "pulled": "vjp, projected",
    "pulls": "vjps",
    "push": "jvp",
    "pushed": "jvp",
    "pushes": "jvps",
    "remembered": "cached",
    "remembers": "cached",
    "rooms": "folders",
    "said": "described",
    "sight": "directional chunk",
    "steadied": "shrunk",
    "steep": "preconditioned_gradient",
    "tape": "hooks",
    "teach": "register",
    "tell": "warn, describe",
    "tells": "describes",
    "turned": "rotated",
    "turning": "rotating",
    "unseen": "left out",
    "way": "strategy",
    "ways": "strategies",
}


def parts(name: str) -> list[str]:
    """The words of a snake_case or CamelCase identifier, in lower case."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", name)]


def defined(tree):
    """Names of classes, functions, arguments, fields, assigned attributes and module constants, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        for child in node.body if isinstance(node, ast.Module | ast.ClassDef) else ():
            targets = getattr(child, "targets", [getattr(child, "target", None)])
            yield from ((child.lineno, target.id) for target in targets if isinstance(target, ast.Name))


def private(source: str) -> list[str]:
    names = [(line, name, word) for line, name in defined(ast.parse(source)) for word in parts(name)]
    return [f"line {line}: {name} (use {PRIVATE[word]})" for line, name, word in names if word in PRIVATE]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_identifier_has_a_private_word(path):
    assert private(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "class TurnedGradients: ...",
        "class A:\n    moved: int = 0",
        "class A:\n    def __init__(self):\n        self._ways = 0",
        "def take_pulled(x): ...",
        "def f(x, *, pushed=0): ...",
        "_LANES = 3",
        "_WAY: int = 3",
        "f = lambda sight: sight",
    ],
)
def test_the_check_finds_private_words(source):
    assert len(private(source)) == 1


@pytest.mark.parametrize(
    "name", ["metric", "Methods", "highway", "always", "unmoved", "pullback", "remove", "HTTPServer"]
)
def test_the_check_compares_whole_words(name):
    assert private(f"def {name}(): ...") == []
