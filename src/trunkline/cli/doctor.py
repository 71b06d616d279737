"""``trunkline doctor``: looks at machine and store, and has the engine look at its log."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from asyncio import sleep
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from trunkline.config import Settings
from trunkline.errors import TrunklineError
from trunkline.log.finding import Finding
from trunkline.log.joint import JointLog
from trunkline.log.registry import engine_for
from trunkline.runtime.clock import SystemClock
from trunkline.runtime.masking import masked_url
from trunkline.sql.opening import holds_table, place_of
from trunkline.store import examination

BACKLOG: Final = 4096
FILES_BESIDE: Final = 200
MARKS: Final = {"ok": "[green]✓ ok[/]", "warn": "[yellow]! warn[/]", "fail": "[red]✗ fail[/]"}


def examine(settings: Settings) -> list[Finding]:
    """Look at the engine and at the machine.

    Args:
        settings: Name the log, and what the machine must bear.

    Returns:
        What was found, in the order to show it.
    """
    found = [*_engine(settings)]
    if not any(one.level == "fail" for one in found):
        found += asyncio.run(_stores(settings))
    return [*found, *_machine(settings)]


def _engine(settings: Settings) -> Iterator[Finding]:
    shown = masked_url(settings.log)
    try:
        engine = engine_for(settings.log)
        findings = engine.examine(settings.log, settings.log_options)
    except TrunklineError as error:
        yield Finding("fail", "log", str(error))
        return
    yield Finding("ok", "log", f"{shown} ({engine.__name__})")
    yield from findings


async def _stores(settings: Settings) -> list[Finding]:
    """Look at the databases beside the log, those that are there."""
    engine = engine_for(settings.log)
    found: list[Finding] = []
    urls = [settings.log if issubclass(engine, JointLog) else settings.store, *settings.outboxes]
    for url in filter(None, urls):
        options = settings.log_options if url == settings.log else {}
        place = place_of(url, {} if url.startswith("sqlite") else options)
        try:
            if await holds_table(place, "trunkline_store_schema") and place.open is not None:
                database = await place.open()
                try:
                    head = partial(_head, settings)
                    found += [one async for one in examination.examine(database, head, sleep)]
                finally:
                    await database.close()
        except TrunklineError as error:
            found.append(Finding("fail", "store", str(error)))
    return found


async def _head(settings: Settings) -> int:
    log = engine_for(settings.log).from_url(
        settings.log,
        retention=settings.retention(),
        clock=SystemClock(),
        options=settings.log_options,
    )
    await log.open()
    try:
        return (await log.last_ids(())).head
    finally:
        await log.close()


def _machine(settings: Settings) -> Iterator[Finding]:
    yield Finding("ok", "Python", sys.version.split()[0])
    yield _fast_parts()
    yield _open_files(settings.gateway.max_connections)
    yield _listen_backlog()


def _fast_parts() -> Finding:
    missing = [name for name in ("uvloop", "httptools") if find_spec(name) is None]
    if missing:
        names = " ".join(missing)
        return Finding("warn", "fast parts", f"without {names}", f"pip install {names}")
    return Finding("ok", "fast parts", "uvloop, httptools")


def _open_files(connections: int) -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= connections + FILES_BESIDE:
        return Finding("ok", "open files", f"limit {soft}, for {connections} connections")
    fix = f"ulimit -n {connections + FILES_BESIDE} (up to {hard} without root), or max_connections"
    return Finding("warn", "open files", f"limit {soft}, for {connections} connections", fix)


def _listen_backlog() -> Finding:
    try:
        found = int(Path("/proc/sys/net/core/somaxconn").read_text())
    except (OSError, ValueError):
        return Finding("ok", "listen backlog", "unknown on this system")
    if found >= BACKLOG:
        return Finding("ok", "listen backlog", f"somaxconn {found}")
    return Finding(
        "warn",
        "listen backlog",
        f"somaxconn {found}: clients that all reconnect at once wait for seconds",
        f"sysctl -w net.core.somaxconn={BACKLOG}",
    )


def print_findings(findings: list[Finding], *, as_json: bool) -> None:
    """Print what was found.

    Args:
        findings: In their order.
        as_json: Whether to print JSON.
    """
    if as_json:
        print(json.dumps(msgspec.to_builtins(findings), indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for one in findings:
        detail = Text(one.detail)
        if one.fix:
            detail.append(f"\n→ {one.fix}", "italic")
        table.add_row(MARKS[one.level], Text(one.subject, "bold"), detail)
    console = Console()
    console.print(table)
    counts = {level: sum(one.level == level for one in findings) for level in MARKS}
    console.print(
        f"\n{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} to mend",
        style="bold red" if counts["fail"] else "bold",
        highlight=False,
    )
