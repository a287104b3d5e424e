"""What several commands share: their parsers, and how they say a warning."""

import argparse
import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path


def add_command(
    commands,
    name: str,
    run: Callable[[argparse.Namespace, list[str]], int],
    summary: str,
    description: str,
    epilog: str = "",
    add_help: bool = True,
) -> argparse.ArgumentParser:
    """Add a command to others.

    Args:
        commands: What `add_subparsers` gave.
        name: Its name.
        run: Does it, given the arguments and those that are not known, and returns the exit status; with the
            arguments comes `parser`, the command's own.
        summary: A line for the list of commands.
        description: What its own help begins with.
        epilog: What its own help ends with.
        add_help: Whether it has `--help`.
    """
    parser = commands.add_parser(
        name, help=summary, description=description, epilog=epilog, add_help=add_help, allow_abbrev=False
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_new_folder(parser: argparse.ArgumentParser) -> None:
    """Add `--output`, a folder that the command makes."""
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="a folder that is not there yet"
    )


@contextlib.contextmanager
def remarks() -> Iterator[None]:
    """Print a warning as one line, without the place in the code that a developer would want."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_, **__: print(f"ladnn: {message}", file=sys.stderr)
        yield
