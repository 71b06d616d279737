"""The house stands as drawn: sizes, names, docstrings, walls and pins, and each rule can fail."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests import house

ROOT = Path(__file__).resolve().parent.parent
TEXTS = {
    ".py",
    ".js",
    ".mjs",
    ".html",
    ".css",
    ".md",
    ".toml",
    ".in",
    ".txt",
    ".json",
    ".sql",
    ".c",
}
GENERATED = {"node_modules", "__pycache__", "build", "dist"}


def files(*folders: str, suffixes: Iterable[str] = (".py",)) -> Iterator[Path]:
    """Yield the files under some folders, generated ones left out."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and not GENERATED.intersection(path.parts):
                yield path


def texts(paths: Iterable[Path]) -> dict[str, str]:
    """Read files, by their path from the root."""
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}


def everything() -> dict[str, str]:
    """Read whatever a person wrote, wherever it is."""
    top = (path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXTS)
    folders = ("src", "tests", "tools", "bench", "examples", "docs", "clients", "requirements")
    plain = (ROOT / name for name in ("Makefile", "LICENSE", ".ci/run"))
    return texts([*top, *files(*folders, suffixes=TEXTS), *plain])


def holds(complaints: Iterable[str]) -> None:
    """Fail with every complaint on a line of its own."""
    found = sorted(complaints)
    if found:
        pytest.fail(f"{len(found)} against the house rules:\n" + "\n".join(found), pytrace=False)


@pytest.fixture(scope="module")
def source() -> dict[str, str]:
    return texts(files("src"))


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_no_file_is_longer_than_it_can_be_read() -> None:
    written = files("src", "tests", "tools", "bench", "examples", suffixes={".py"})
    browser = files("clients", "tests", suffixes={".js", ".mjs"})
    holds(house.long_files(texts([*written, *browser])))


def test_no_function_is_long(source) -> None:
    holds(house.long_functions({**source, **texts(files("tools"))}))


def test_the_median_function_is_short(source) -> None:
    holds(house.high_median(source))


def test_no_function_takes_many_parameters(source) -> None:
    holds(house.many_parameters({**source, **texts(files("tools"))}))


def test_modules_and_public_names_say_what_for(source) -> None:
    holds(house.missing_docstrings({**source, **texts(files("tools"))}))


def test_files_are_named_for_their_role(source) -> None:
    holds(house.vague_names(source))


def test_no_modules_form_a_knot(source) -> None:
    holds(house.knots(source))


def test_only_app_and_testing_name_an_engine(source, project) -> None:
    engines = dict(
        entry.split(":")
        for entry in project["project"]["entry-points"]["trunkline.engines"].values()
    )

    holds(house.named_engines(source, engines, allowed={"app", "testing"}))


def test_every_room_stands_on_a_floor(source, project) -> None:
    contracts = {
        contract["id"]: contract for contract in project["tool"]["importlinter"]["contracts"]
    }

    holds(house.homeless_rooms(source, contracts["floors"]["layers"]))


def test_the_project_speaks_of_itself_alone() -> None:
    holds(house.forbidden_words(everything()))


def test_every_requirement_is_pinned_by_hash_and_names_no_address() -> None:
    holds(house.loose_pins(texts(files("requirements", suffixes={".txt"}))))


def test_the_npm_lock_file_names_hashes_and_no_address() -> None:
    lock = json.loads((ROOT / "tests/browser/package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}

    assert packages
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not any("resolved" in entry for entry in packages.values())


def test_the_runtime_pins_are_what_the_package_declares(project) -> None:
    declared = project["project"]["dependencies"]
    declared = [*declared, *project["project"]["optional-dependencies"]["client"]]
    pinned = (ROOT / "requirements/runtime.in").read_text().splitlines()

    assert house.requirement_names(pinned) == house.requirement_names(declared)


def test_the_linters_hold_the_other_half_of_the_rules(project) -> None:
    ruff = project["tool"]["ruff"]["lint"]

    assert ruff["mccabe"]["max-complexity"] == 10
    assert ruff["pylint"]["max-args"] == house.PARAMETERS
    assert {"D", "ANN", "C90", "PL", "SLF", "ASYNC", "S"} <= set(ruff["select"])
    assert project["tool"]["mypy"]["strict"] is True
    assert project["tool"]["pytest"]["ini_options"]["filterwarnings"][0] == "error"


LONG = "def f():\n" + "    x = 1\n" * 41
ENGINE = {"trunkline.log.sqlite": "SQLiteLog"}
BAD = {
    "long file": (house.long_files, {"a.py": "\n" * 401}),
    "long function": (house.long_functions, {"a.py": LONG}),
    "long median": (house.high_median, {"a.py": "def f():\n" + "    x = 1\n" * 7}),
    "parameters": (house.many_parameters, {"a.py": "def f(a, b, c, d, *, e, f, g): ...\n"}),
    "module docstring": (house.missing_docstrings, {"a.py": "x = 1\n"}),
    "function docstring": (house.missing_docstrings, {"a.py": '"""Be."""\ndef f(): ...\n'}),
    "class docstring": (house.missing_docstrings, {"a.py": '"""Be."""\nclass C: ...\n'}),
    "vague file": (house.vague_names, {"src/trunkline/log/sql_utils.py": ""}),
    "vague folder": (house.vague_names, {"src/trunkline/helpers/x.py": ""}),
    "machine path": (house.forbidden_words, {"a.md": f"see /{'home'}/me/x"}),
    "address": (house.forbidden_words, {"a.md": f"from {'pypi'}.org"}),
    "tracker": (house.forbidden_words, {"a.md": f"as {'issue'} 12 asks"}),
    "wish": (house.forbidden_words, {"a.py": f"# {'todo'.upper()}: later"}),
    "unpinned": (house.loose_pins, {"r.txt": "x>=1 --hash=sha256:0\n"}),
    "no hash": (house.loose_pins, {"r.txt": "x==1\n"}),
    "index": (house.loose_pins, {"r.txt": "--extra-index-url x\nx==1 --hash=sha256:0\n"}),
    "cycle": (
        house.knots,
        {"src/p/a.py": "from p.b import B\n", "src/p/b.py": "def f():\n    from p import a\n"},
    ),
    "typing cycle": (
        house.knots,
        {
            "src/p/a.py": "if TYPE_CHECKING:\n    import p.b\n",
            "src/p/b.py": "from p.a import A\n",
        },
    ),
}


@pytest.mark.parametrize(("rule", "sample"), BAD.values(), ids=BAD)
def test_a_rule_can_fail(rule, sample) -> None:
    assert list(rule(sample))


@pytest.mark.parametrize(
    "text", ["from trunkline.log.sqlite import SQLiteLog\n", "from trunkline.log import sqlite\n"]
)
def test_naming_an_engine_can_fail(text) -> None:
    gateway, app = {"src/trunkline/gateway/a.py": text}, {"src/trunkline/app.py": text}

    assert list(house.named_engines(gateway, ENGINE, allowed={"app"}))
    assert not list(house.named_engines(app, ENGINE, allowed={"app"}))


def test_a_room_without_a_floor_can_fail() -> None:
    paths = ["src/trunkline/attic/box.py", "src/trunkline/log/port.py", "src/trunkline/app.py"]
    layers = ["trunkline.log | trunkline.store", "(trunkline.app)"]

    assert [line.split()[0] for line in house.homeless_rooms(paths, layers)] == ["trunkline.attic"]


def test_docstrings_comments_and_blanks_are_no_code() -> None:
    text = dedent(
        '''
        def f():
            """Say
            much.
            """
            # and more

            x = """
            two"""
            return x
        '''
    )
    (function,) = house.functions(text)

    assert house.function_length(function, house.code_lines(text)) == 3


def test_self_is_no_parameter() -> None:
    assert not list(house.many_parameters({"a.py": "def f(self, a, b, c, d, e, f): ...\n"}))
