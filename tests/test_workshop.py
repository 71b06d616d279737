"""The tools behind make say what to do when they cannot go on, and let no bad release pass."""

from __future__ import annotations

import subprocess

import pytest

from tools import release, setup

GOOD = {"trunkline/__init__.py", "trunkline/py.typed", "trunkline-1.dist-info/METADATA"}


@pytest.fixture
def calls(monkeypatch, tmp_path) -> list[list[str]]:
    """Let set-up believe in an empty machine, and record the commands it would run."""
    made: list[list[str]] = []
    missing = {"import ensurepip, venv"}

    def call(words, **options) -> int:
        made.append([str(word) for word in words])
        return int(bool(missing.intersection(words)))

    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setattr(setup, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(setup, "PYTHON", tmp_path / ".venv/bin/python")
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/usr/bin/{name}")
    return made


def test_a_user_who_may_not_install_packages_is_told_the_command(calls, monkeypatch) -> None:
    monkeypatch.setattr(setup, "privilege", lambda: None)

    with pytest.raises(SystemExit, match="`sudo apt-get install python3-venv` and make again"):
        setup.ensure_venv()

    assert not any("apt-get" in call for call in calls)


def test_root_gets_the_venv_module_installed(calls, monkeypatch) -> None:
    monkeypatch.setattr(setup, "privilege", list)

    setup.ensure_venv()

    installed = [call for call in calls if "install" in call]
    assert [call[-1] for call in installed] == ["python3-venv"]
    assert calls[-1][1:4] == ["-m", "venv", "--clear"]


def test_a_user_with_sudo_never_sees_a_password_prompt(calls, monkeypatch) -> None:
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)

    assert setup.privilege() == ["sudo", "--non-interactive"]


def test_a_missing_chromium_is_installed_or_named(calls, monkeypatch) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    monkeypatch.setattr(setup, "privilege", list)

    with pytest.raises(SystemExit, match="apt-get install chromium"):
        setup.ensure_chromium()


@pytest.fixture
def no_proxies(calls, monkeypatch, tmp_path) -> list[list[str]]:
    """Let set-up find no proxy, and a venv without any."""
    monkeypatch.setattr(setup.Stamp, "is_current", lambda stamp: False)
    monkeypatch.setattr(setup.Stamp, "__init__", lambda *arguments: None)
    monkeypatch.setattr(setup.Stamp, "set", lambda stamp: None)
    found = {"apt-get", "dpkg-deb"}
    monkeypatch.setattr(setup.shutil, "which", lambda name: name if name in found else None)
    setup.VENV.mkdir()
    return calls


def test_proxies_are_fetched_and_never_installed(no_proxies, monkeypatch) -> None:
    monkeypatch.setattr(setup, "privilege", lambda: None)

    setup.ensure_proxies()

    assert no_proxies[0][:2] == ["apt-get", "download"]
    assert not any("install" in call for call in no_proxies)


def test_proxies_that_cannot_be_had_are_named(no_proxies, monkeypatch) -> None:
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)

    with pytest.raises(SystemExit, match="sudo apt-get install caddy haproxy nginx` and make"):
        setup.ensure_proxies()


def test_an_old_list_of_packages_is_fetched_anew_where_that_is_allowed(monkeypatch, tmp_path):
    made: list[list[str]] = []

    def call(words, **options) -> int:
        made.append(list(words))
        return int(len(made) == 1)  # the first try finds no package

    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setattr(setup, "privilege", list)

    assert setup.download_packages(["nginx"], tmp_path)
    assert [words[:2] for words in made] == [
        ["apt-get", "download"],
        ["apt-get", "update"],
        ["apt-get", "download"],
    ]


def test_an_old_python_is_told_which_one_is_needed(calls, monkeypatch) -> None:
    monkeypatch.setattr(setup.sys, "version_info", (3, 9, 2))

    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer"):
        setup.ensure_venv()


def test_a_command_that_fails_stops_set_up_with_its_name(monkeypatch) -> None:
    monkeypatch.setattr(subprocess, "call", lambda words, **options: 1)

    with pytest.raises(SystemExit, match="failed: pip install x"):
        setup.run("pip", "install", "x")


def test_a_set_is_installed_again_when_its_requirements_change(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(setup, "VENV", tmp_path)
    (tmp_path / "pyvenv.cfg").write_text("version = 3.11")
    pins = tmp_path / "dev.txt"
    pins.write_text("a==1")
    setup.Stamp("dev", [pins]).set()

    assert setup.Stamp("dev", [pins]).is_current()
    pins.write_text("a==2")
    assert not setup.Stamp("dev", [pins]).is_current()


def test_a_wheel_has_the_package_and_nothing_else(monkeypatch) -> None:
    monkeypatch.setattr(release, "sources", lambda: {"trunkline/__init__.py", "trunkline/py.typed"})

    assert not list(release.wheel_faults(GOOD))
    assert list(release.wheel_faults(GOOD - {"trunkline/py.typed"}))
    assert list(release.wheel_faults(GOOD | {"tests/conftest.py"}))
    assert list(release.wheel_faults(GOOD | {"trunkline/left.db"}))


def test_an_sdist_has_what_building_needs_and_nothing_private() -> None:
    names = set(release.IN_SDIST)

    assert not list(release.sdist_faults(names))
    assert list(release.sdist_faults(names - {"LICENSE"}))
    assert list(release.sdist_faults(names | {"tests/browser/node_modules/x.js"}))


def test_an_untagged_tree_is_not_published(monkeypatch) -> None:
    answers = {"status": " M README.md\n", "tag": ""}
    monkeypatch.setattr(release, "run", lambda *words: answers[words[1]])

    reasons = "\n".join(release.unready())

    assert "not committed" in reasons
    assert f"the tag v{release.version()}" in reasons
