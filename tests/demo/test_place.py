"""The demo's line is kept in a folder of the user's own."""

from __future__ import annotations

from pathlib import Path

from trunkline.demo.place import demo_log


def test_it_is_in_the_cache(tmp_path: Path) -> None:
    where = str(tmp_path / "cäche of mine")
    url = demo_log({"XDG_CACHE_HOME": where, "HOME": "/nowhere"})
    assert url == f"sqlite:///{tmp_path}/c%C3%A4che%20of%20mine/trunkline/demo.db"
    assert (Path(where) / "trunkline").is_dir()


def test_it_is_below_home_otherwise(tmp_path: Path) -> None:
    assert demo_log({"HOME": str(tmp_path)}) == f"sqlite:///{tmp_path}/.cache/trunkline/demo.db"


def test_where_nothing_can_be_written_a_fresh_folder_serves(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    url = demo_log({"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": "relative"})
    path = Path(url.removeprefix("sqlite:///"))
    assert path.parent.is_dir()
    path.parent.rmdir()
