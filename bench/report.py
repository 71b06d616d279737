"""The results, as a page for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.figures import Figure, Plan

HERE = Path(__file__).resolve().parent
PAGE = HERE / "RESULTS.md"
DATA = HERE / "results.json"

Told = dict[str, Any]

#: The rows in the page's order: title, and the command that measures them.
ROWS = {
    "publish": ("Durable publishes on SQLite", "publish"),
    "fanout": ("Fan-out, one message at a time", "fanout"),
    "burst": ("Fan-out of a burst", "fanout"),
    "memory": ("Memory per idle held connection", "holding"),
    "loop": ("Longest the loop is held by a fan-out", "holding"),
    "overload": ("Steady overload", "overload"),
    "latency": ("Publish to receive, at 30 % of that load", "overload"),
    "processes": ("Three processes publishing to one file", "processes"),
    "postgres": ("Publishes on PostgreSQL", "postgres"),
    "redis": ("Publishes on Redis", "redis"),
    "nats": ("Publishes on NATS JetStream", "nats"),
    "waking": ("Wake-up in another process", "waking"),
    "guests": ("Publishing inside guests' transactions", "guests"),
    "consumer": ("Durable consumer", "consumer"),
    "commands": ("Commands", "commands"),
    "after": ("What follows from events", "after"),
    "entities": ("Entities", "entities"),
    "webhooks": ("Webhooks", "webhooks"),
}

INTRODUCTION = """\
# Benchmarks

Written by `make bench`. Every figure is the median of its runs, which stand below each table, on
the machine below, and what it is compared with ran by turns with it. Absolute figures don't carry
over to another machine or hour; ratios within a line do, and differences under 25 % are noise.
"""

LIMITS = """\
## What this cannot show

* Server and client share a machine and its loopback: no network, no TLS, no proxy. Nearly all of
  a delivery is the kernel's TCP, on both sides; a real network card does part of it elsewhere.
* With few cores the client takes part of the machine. It is written in C and takes less than the
  server, but a rate is what both reach together.
* Anything else that runs on the machine at the time is in the figures, and shows first in the
  longest delays. The load average is above; server and client together make about 2. The
  processor times in the notes depend on it less.
* One uvicorn worker, one channel (unless a line says otherwise), messages of 200 bytes, no access
  rules, no message filters, clients that read at once. Patterns and audiences cost more per
  connection.
* The plain peers are short and do less: they keep nothing, check nothing, resume nobody.
  Deliveries of ours in every line but those that say otherwise were stored with
  `synchronous=FULL` before they went out.
* Memory is the growth of the process alone. The kernel's buffers for a connection come on top,
  for every server.
* `fdatasync` of a virtual disk may promise more than it keeps. The ratio to raw sqlite3 does not
  depend on it much; the rates do.
"""


def write(about: dict[str, str], plan: Plan, figures: Iterable[Figure]) -> None:
    """Write the page and the data; rows that were not measured now stay as they were.

    Args:
        about: The machine.
        plan: How much was measured.
        figures: What was measured.
    """
    told = [{**figure.as_dict(), "commit": about["commit"]} for figure in figures]
    fresh = {one["row"] for one in told}
    kept: list[Told] = []
    if DATA.exists():
        old = json.loads(DATA.read_text())["figures"]
        kept = [one for one in old if one["row"] not in fresh]
    order = list(ROWS)
    everything = sorted([*kept, *told], key=lambda one: order.index(one["row"]))
    data = {"about": about, "runs": plan.runs, "figures": everything}
    DATA.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(about, everything))


def page(about: dict[str, str], figures: list[Told]) -> str:
    """Return the page."""
    parts = [INTRODUCTION, machine(about), summary(figures)]
    for row, (title, group) in ROWS.items():
        mine = [one for one in figures if one["row"] == row]
        if mine:
            parts.append(section(title, group, mine))
    parts.append(LIMITS)
    return "\n".join(parts)


def machine(about: dict[str, str]) -> str:
    """Describe the machine in a table."""
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in about.items())]
    return "\n".join(lines) + "\n"


def summary(figures: list[Told]) -> str:
    """Say how many targets are met, and name those that are not."""
    judged = [one for one in figures if one["is_met"] is not None]
    missed = [one for one in judged if not one["is_met"]]
    text = f"**{len(judged) - len(missed)} of {len(judged)} targets met.**"
    if missed:
        text += " Not met: " + "; ".join(one["name"] for one in missed) + "."
    return text + "\n"


def section(title: str, group: str, figures: list[Told]) -> str:
    """Return a row of the targets with its lines."""
    lines = [
        f"## {title}",
        "",
        f"`make bench ARGS='--only {group}'`",
        "",
        "| what | figure | peer | ratio | must reach | met |",
        "|---|---|---|---|---|---|",
    ]
    notes = []
    for one in figures:
        peer = f"{number(one['peer_value'])} ({one['peer']})" if one["peer_runs"] else ""
        ratio = f"{one['ratio']:.2f}×" if one["ratio"] is not None else ""
        met = {True: "yes", False: "**no**", None: ""}[one["is_met"]]
        figure = f"{number(one['value'])} {one['unit']}"
        lines.append(f"| {one['name']} | {figure} | {peer} | {ratio} | {one['target']} | {met} |")
        runs = ", ".join(number(run) for run in one["runs"])
        peers = "; peer " + ", ".join(map(number, one["peer_runs"])) if one["peer_runs"] else ""
        at = f"; at {one['commit']}" if one["commit"] else ""
        note = f"{one['note']}. " if one["note"] else ""
        notes.append(f"* {one['name']}: {note}Runs: {runs}{peers}{at}.")
    return "\n".join([*lines, "", *notes]) + "\n"


def number(value: float) -> str:
    """Write a figure with three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def line_of(one: Told) -> str:
    """Return a figure as one line for the terminal."""
    peer = f", peer {number(one['peer_value'])}, ratio {one['ratio']:.2f}×" if one["ratio"] else ""
    met = {True: "met", False: "NOT MET", None: ""}[one["is_met"]]
    figure = f"{number(one['value'])} {one['unit']}{peer}"
    return f"{one['name']}: {figure}; must reach {one['target'] or 'nothing'}: {met}"
