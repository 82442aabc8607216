"""A subcommand's parser, with an example below its options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add_subcommand(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], description: str, example: str
) -> argparse.ArgumentParser:
    """Add the subcommand `name`, which calls `run(args)`; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=description, description=description, epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(run=run)
    return parser
