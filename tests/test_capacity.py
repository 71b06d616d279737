"""The figures in docs/engines.md are those of bench/results.json, rounded."""

from __future__ import annotations

import json
import re

import pytest

from tests.citations import ROOT

TABLE = (ROOT / "docs/engines.md").read_text().partition("## Capacity")[2]
SHOWN = re.findall(r"^\| ([^|]+) \| ([\d,.]+) ([^|]+) \|$", TABLE, re.MULTILINE)
MEASURED = {
    one["name"]: (one["value"], one["unit"])
    for one in json.loads((ROOT / "bench/results.json").read_text())["figures"]
}


def test_there_are_figures_of_every_engine():
    names = " ".join(name for name, _, _ in SHOWN)
    assert len(SHOWN) > 10
    assert [one for one in ("SQLite", "PostgreSQL", "Redis", "JetStream") if one not in names] == []


@pytest.mark.parametrize(("name", "figure", "unit"), SHOWN)
def test_a_figure_is_near_the_measured_one(name, figure, unit):
    """Another run gives other figures; what is shown may not be off by a third."""
    value, measured_in = MEASURED[name]
    assert unit == measured_in
    assert float(figure.replace(",", "")) == pytest.approx(value, rel=1 / 3)
