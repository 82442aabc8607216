"""Numbers with their nouns, in the words of messages."""

from __future__ import annotations


def counted(number: int, one: str, several: str | None = None) -> str:
    """`number` and the noun in its form, `one` or `several` (by default `one` with an s); verbs may follow the nouns.

    Examples
    --------
    >>> counted(1, "row"), counted(2000, "row"), counted(0, "pass", "passes"), counted(1, "row is", "rows are")
    ('1 row', '2,000 rows', '0 passes', '1 row is')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"
