"""Which messages of the package say what to type, and the check that a test has provoked one of them.

A message is a text of the source: a string, or an f-string, whose holes match anything. It names a remedy where a
clause begins with an imperative ("pass …", "use …") or with a call, an option or a decorator to type.
`@remedy("part of the message")` on a test names the message; its fixture `said` fails unless the message was really
made, and the test then does what it says.
"""

from __future__ import annotations

import ast
import functools
import pathlib
import re
import warnings
from dataclasses import dataclass

import pytest

import memorymaps

SOURCE = pathlib.Path(memorymaps.__file__).parent
TESTS = pathlib.Path(__file__).parents[1]
HOLE = "\0"
IMPERATIVES = (
    "add|avoid|begin|call|check|choose|close|compute|continue|convert|correct|cross-validate|delete|draw|drop|"
    "encode|end|exclude|export|fill|fit|fix|freeze|gather|give|import|impute|install|keep|leave|load|make|map|"
    "merge|move|name|pass|pip|put|read|refine|refit|regularise|remove|repeat|request|reshape|resume|return|run|"
    "save|say|scale|see|select|set|specify|start|store|take|train|try|use|wait|write"
)
START = r"(?:^\s*|[.:;,?]\s+|[(`]|\b(?:or|and|then|first)\s+|\bso\s+)"
CLAUSE = re.compile(rf"{START}(?:{IMPERATIVES})\b(?!-|\s*[(._=])", re.IGNORECASE)
CODE = re.compile(r"(?:[.:;,]\s+|\b(?:or|and)\s+)(?:--\w|@\w|(?:\w+\.)*\w+\((?!s\)))")
HELP = ("help", "description", "epilog", "metavar")


@dataclass(frozen=True)
class Message:
    """A text of the source, with `HOLE` for what is filled in."""

    path: str
    line: int
    text: str

    @property
    def names_remedy(self):
        words = re.findall(r"[A-Za-z]{2,}", self.text)
        return len(words) > 1 and bool(CLAUSE.search(self.text) or CODE.search(self.text))

    @functools.cached_property
    def shown(self):
        """The text with … for what is filled in."""
        return self.text.replace(HOLE, "…")

    @functools.cached_property
    def pattern(self):
        """A regular expression of the texts that it can become."""
        parts = re.split(rf"{HOLE}|{{[^{{}}]*}}", self.text)
        pattern = ".*".join(map(re.escape, parts)).replace(r"row\ .*", r"(?:row|example)\ .*")  # `TargetError.with_id`
        return re.compile(pattern, re.DOTALL)


def messages_of(code, path=""):
    """The texts of several words in a module's source: no docstrings, no help of the command line."""
    yield from _messages_in(ast.parse(code), path)


def _messages_in(tree, path=""):
    left_out = set(_not_messages(tree))
    for node in ast.walk(tree):
        if node not in left_out and isinstance(node, ast.JoinedStr | ast.Constant):
            text = _text(node)
            if len(text.split()) >= 2:
                yield Message(path, node.lineno, text)


def _text(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
    return node.value if isinstance(node.value, str) else ""


def _not_messages(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value  # docstrings
        if isinstance(node, ast.keyword) and node.arg in HELP:
            yield from ast.walk(node.value)
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) in HELP
            and isinstance(node.value, ast.Constant)
        ):
            yield node.value
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("_add_"):
            yield from ast.walk(node)  # a command's description
        if isinstance(node, ast.JoinedStr):
            yield from (part for part in node.values if isinstance(part, ast.Constant))


@dataclass(frozen=True)
class Refusal:
    """A `raise`: where it is, and the texts that its message can be made of."""

    path: str
    line: int
    texts: tuple[str, ...]

    @property
    def says_enough(self):
        """Whether it names a remedy, or what was expected."""
        return any(Message("", 0, text).names_remedy or "xpected" in text for text in self.texts)


def refusals_of(code, path=""):
    """The `Refusal`s in a module's source; texts are also those of the module's constants and functions named there."""
    tree = ast.parse(code)
    named = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    named |= {ast.unparse(node.targets[0]): node for node in tree.body if isinstance(node, ast.Assign)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            texts = tuple(_texts_in(node.exc, named, 2))
            if texts:
                yield Refusal(path, node.lineno, texts)


def _texts_in(node, named, depth):
    yield from (message.text for message in _messages_in(node))
    for name in {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} & set(named) if depth else ():
        yield from _texts_in(named[name], named, depth - 1)


@functools.cache
def refusals():
    """All `Refusal`s of the package."""
    paths = sorted(SOURCE.rglob("*.py"))
    return [r for p in paths for r in refusals_of(p.read_text(encoding="utf-8"), p.relative_to(SOURCE).as_posix())]


@functools.cache
def messages():
    """All `Message`s of the package."""
    paths = sorted(SOURCE.rglob("*.py"))
    return [m for p in paths for m in messages_of(p.read_text(encoding="utf-8"), p.relative_to(SOURCE).as_posix())]


@functools.cache
def message(part, at=""):
    """The one message of the package that contains `part`, in files whose path begins with `at`."""
    found = [m for m in messages() if part in m.shown and m.path.startswith(at)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} messages contain {part!r}: {[(m.path, m.line) for m in found]}; expected one")
    return found[0]


def remedy(part, at=""):
    """Mark a test as one that provokes the message with `part`, and does what it says."""
    return pytest.mark.remedy(part, at)


class Said:
    """`with said:` what provokes a message; then `said.text` has it. `said.reads(text)` for texts that are printed."""

    def __init__(self, wanted):
        self.wanted, self.made, self.text = wanted, set(), ""

    def __enter__(self):
        self._caught = warnings.catch_warnings(record=True)
        self._warned = self._caught.__enter__()
        warnings.simplefilter("always")

    def __exit__(self, kind, error, traceback):
        self._caught.__exit__(None, None, None)
        if error is not None and not isinstance(error, Exception):
            return False
        texts = [str(w.message) for w in self._warned]
        if error is not None:
            texts += [str(error), *map(str, error.args), *getattr(error, "__notes__", ())]
        self.reads("\n".join(texts), error)
        return True

    def reads(self, text, cause=None):
        """`text` contains one of the messages."""
        found = {m for m in self.wanted if m.pattern.search(text)}
        if not found:
            raise AssertionError(f"expected {[m.text for m in self.wanted]}, got {text[:2000]!r}") from cause
        self.made |= found
        self.text = text


@dataclass(frozen=True)
class Run:
    """A test that runs a remedy: where it is, the message, and the function's syntax tree."""

    path: str
    part: str
    at: str
    function: ast.FunctionDef


def runs_of(code, path=""):
    """The `Run`s in the source of a test."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "remedy":
                    part, at = (*(ast.literal_eval(a) for a in (*mark.args, *(k.value for k in mark.keywords))), "")[:2]
                    yield Run(path, part, at, node)


@functools.cache
def runs():
    """All `Run`s of the tests."""
    paths = sorted(TESTS.rglob("test_*.py"))
    return [run for p in paths for run in runs_of(p.read_text(encoding="utf-8"), p.relative_to(TESTS).as_posix())]


def goes_on(function):
    """Whether a test's function goes on after the message: the remedy is run there."""
    ends = [node.end_lineno for node in ast.walk(function) if _provokes(node)]
    return bool(ends) and function.end_lineno > min(ends)


def _provokes(node):
    """`with said:`, `said.reads(…)`, or the command line's `typed(…)`."""
    if isinstance(node, ast.With):
        return any(isinstance(item.context_expr, ast.Name) and item.context_expr.id == "said" for item in node.items)
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("said.reads", "typed")
