"""Text from files on a terminal: control characters and escape sequences are shown, not obeyed."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with every character that does not print, but line ends and tabs, written as an escape.

    Examples
    --------
    >>> printable("red \\x1b[31m, déjà vu")
    'red \\\\x1b[31m, déjà vu'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
