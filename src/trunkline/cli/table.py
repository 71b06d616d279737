"""Tables on the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

#: Characters of a line at most.
WIDEST: Final = 2000


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under titles, whole, however narrow the terminal is.

    Args:
        titles: One for each column; left out when all are empty.
        rows: Whatever has text.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=None, header_style="bold", pad_edge=False, show_header=any(titles))
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row))
    console = Console(soft_wrap=True)
    # An id that is cut off can't be given to the next command: the terminal wraps what is wide.
    needed = console.measure(table, options=console.options.update(width=WIDEST)).maximum
    console.width = max(console.width, needed)
    console.print(table)


def moment(seconds: float | None) -> str:
    """Return Unix seconds as people read them; ``-`` for none."""
    if seconds is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
