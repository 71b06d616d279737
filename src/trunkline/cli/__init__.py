"""The command line: ``trunkline``."""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process and exit."""
    # Imported here, so that importing the package costs nothing.
    from trunkline.cli.commands import app

    app(prog_name="trunkline")
