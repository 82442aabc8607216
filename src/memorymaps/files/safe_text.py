"""Text from files on a terminal and in Markdown: control characters and markup are shown, not obeyed."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    """The text with every character that does not print, but line ends and tabs, written as an escape.

    Examples
    --------
    >>> printable("red \\x1b[31m, déjà vu")
    'red \\\\x1b[31m, déjà vu'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def fenced(text: str, language: str = "text") -> str:
    """A block of Markdown that shows the text as it is, whatever it contains.

    Examples
    --------
    >>> print(fenced("``` a"))
    ````text
    ``` a
    ````
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{printable(text)}\n{fence}"


def markdown_line(text: str) -> str:
    """One line of Markdown that shows the text as it is: every mark of Markdown and HTML is escaped.

    Examples
    --------
    >>> markdown_line("<b>a_b</b>")
    '\\\\<b\\\\>a\\\\_b\\\\</b\\\\>'
    """
    line = printable(" ".join(text.split()))
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", line)
