"""A log's URL finds its engine, ours and everybody's alike; what can't be found is explained."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trunkline import Trunkline
from trunkline.errors import ConfigError, MissingExtraError
from trunkline.log.registry import engine_for, known_schemes

MODULE = """
from trunkline.log.memory import MemoryLog

class AcmeLog(MemoryLog):
    schemes = ("acme",)

    @classmethod
    def from_url(cls, url, *, retention, clock, options):
        assert url.startswith("acme://")
        return cls(retention=retention, clock=clock)

no_engine = object()
"""
ENTRIES = """
[trunkline.engines]
acme = acme_engine:AcmeLog
odd = acme_engine:no_engine
bare = acme_engine_missing:Log
extra = acme_engine_missing:Log [extra]
"""


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package of somebody else's."""
    (tmp_path / "acme_engine.py").write_text(MODULE)
    info = tmp_path / "acme_engine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-engine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_engine", raising=False)


def test_ours_are_registered() -> None:
    assert {"memory", "sqlite"} <= set(known_schemes())
    assert engine_for("sqlite:///x.db").__name__ == "SQLiteLog"


@pytest.mark.usefixtures("third_party")
async def test_a_third_partys_engine_is_used_like_ours() -> None:
    assert "acme" in known_schemes()
    async with Trunkline("acme://anything") as line:
        await line.publish("/a", 1)
        assert await line.last_id("/a") == 1


def test_an_unknown_scheme_names_the_known_ones_and_a_way_to_get_it() -> None:
    with pytest.raises(ConfigError) as caught:
        engine_for("sqlit:///x.db")
    text = str(caught.value)
    assert all(scheme in text for scheme in known_schemes())
    assert "did you mean sqlite" in text
    assert "install a package that registers" in text


@pytest.mark.parametrize("url", ["app.db", "/tmp/app.db", ""])
def test_a_bare_path_is_told_how_to_be_a_url(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///"):
        engine_for(url)


@pytest.mark.usefixtures("third_party")
def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match="no engine"):
        engine_for("odd://")


@pytest.mark.usefixtures("third_party")
def test_a_missing_driver_names_its_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"trunkline\[extra\]"):
        engine_for("extra://")
    with pytest.raises(ConfigError, match="cannot be imported"):
        engine_for("bare://")
