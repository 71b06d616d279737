"""``trunkline config``: the effective settings and where each came from."""

from __future__ import annotations

import json

from trunkline.config import Effective, Settings


def print_settings(settings: Settings, *, as_json: bool) -> None:
    """Print every setting, secrets masked.

    Args:
        settings: What holds.
        as_json: Whether to print JSON.
    """
    effective = settings.effective()
    if as_json:
        told = {one.name: {"value": one.value, "from": one.origin} for one in effective}
        print(json.dumps(told, indent=2))
    else:
        _print_table(effective)


def _print_table(effective: list[Effective]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("setting", "value", "from", box=None, header_style="bold", pad_edge=False)
    for one in effective:
        style = "bold" if one.is_set else "dim"
        table.add_row(Text(one.name), Text(_shown(one.value), style), Text(one.origin, style))
    Console(soft_wrap=True).print(table)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value)
