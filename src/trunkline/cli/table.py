"""Tables on the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under titles; titles that are all empty are left out."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=None, header_style="bold", pad_edge=False, show_header=any(titles))
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row))
    Console(soft_wrap=True).print(table)


def moment(seconds: float | None) -> str:
    """Return Unix seconds as people read them; ``-`` for none."""
    if seconds is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
