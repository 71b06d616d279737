"""Settings come from four places in a known order, and every mistake is named with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trunkline.config import Settings, setting_names
from trunkline.errors import ConfigError
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Limits


def load(folder: Path, arguments: dict[str, Any] | None = None, **environ: str) -> Settings:
    return Settings.load(arguments, environ=environ, folder=folder)


def origins(settings: Settings) -> dict[str, str]:
    return {one.name: one.origin for one in settings.effective()}


def values(settings: Settings) -> dict[str, Any]:
    return {one.name: one.value for one in settings.effective()}


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert settings.log == "sqlite:///trunkline.db"
    assert set(origins(settings).values()) == {"default"}
    assert set(origins(settings)) == setting_names()


def test_arguments_win_over_the_environment_over_the_file(tmp_path: Path) -> None:
    toml = "max_backlog_size = 1\nmax_channels = 1\nport = 1\n"
    (tmp_path / "trunkline.toml").write_text(toml)
    settings = load(
        tmp_path,
        {"max_backlog_size": 3},
        TRUNKLINE_MAX_BACKLOG_SIZE="2",
        TRUNKLINE_MAX_CHANNELS="2",
    )

    assert settings.max_backlog_size == 3
    assert settings.gateway.max_channels == 2
    assert settings.port == 1
    assert origins(settings)["max_backlog_size"] == "argument"
    assert origins(settings)["max_channels"] == "environment TRUNKLINE_MAX_CHANNELS"
    assert origins(settings)["port"] == str(tmp_path / "trunkline.toml")


def test_a_project_file_has_a_table_for_us(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.trunkline]\nlog = "memory://"\n')
    settings = load(tmp_path)

    assert settings.log == "memory://"
    assert origins(settings)["log"].endswith("pyproject.toml [tool.trunkline]")


def test_our_own_file_is_preferred_to_the_project_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.trunkline]\nlog = "memory://"\n')
    (tmp_path / "trunkline.toml").write_text('log = "sqlite:///x.db"\n')

    assert load(tmp_path).log == "sqlite:///x.db"


def test_a_project_file_that_does_not_know_us_is_fine(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")

    assert set(origins(load(tmp_path)).values()) == {"default"}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("15s", 15.0), ("250ms", 0.25), ("2h", 7200.0)]
)
def test_durations_may_have_units(tmp_path: Path, text: str, seconds: float) -> None:
    settings = load(tmp_path, TRUNKLINE_MAX_BACKLOG_AGE=text)
    assert settings.max_backlog_age == seconds


def test_sizes_may_have_units_in_every_place(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text('ring_bytes = "1MiB"\n')
    settings = load(tmp_path, {"max_frame_bytes": "64kB"}, TRUNKLINE_MAX_BODY_BYTES="2 MiB")

    assert settings.ring_bytes == 2**20
    assert settings.gateway.max_frame_bytes == 64_000
    assert settings.gateway.max_body_bytes == 2 * 2**20


def test_none_takes_a_bound_away(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        {"max_line_size": None},
        TRUNKLINE_MAX_BACKLOG_AGE="none",
        TRUNKLINE_REQUESTS_PER_SECOND="none",
    )

    assert settings.max_line_size is None
    assert settings.max_backlog_age is None
    assert settings.gateway.requests_per_second is None


def test_lists_stand_with_commas_in_the_environment(tmp_path: Path) -> None:
    origin = "https://a.example, https://b.example"
    settings = load(tmp_path, TRUNKLINE_ALLOWED_ORIGINS=origin)
    assert settings.gateway.allowed_origins == ("https://a.example", "https://b.example")


def test_channels_have_limits_of_their_own(tmp_path: Path) -> None:
    text = '[channels."/files/**"]\nmax_backlog_size = 5\nmax_idle = "1h"\n'
    (tmp_path / "trunkline.toml").write_text(text)
    retention = load(tmp_path, {"max_backlog_size": 7}).retention()

    assert retention.own_limits(ChannelKey("/files/a")) == Limits(5, max_idle=3600.0)
    assert retention.limits(ChannelKey("/other")).max_backlog_size == 7


@pytest.mark.parametrize(
    ("environ", "arguments", "toml", "words"),
    [
        ({}, {"max_backlog_sise": 1}, "", ["max_backlog_sise", "arguments", "max_backlog_size"]),
        ({"TRUNKLINE_PRT": "1"}, {}, "", ["TRUNKLINE_PRT", "environment", "TRUNKLINE_PORT"]),
        ({}, {}, "worker = 2", ["worker", "trunkline.toml", "workers"]),
        ({}, {}, "[gateway]\nport = 2", ["gateway", "trunkline.toml"]),
    ],
)
def test_an_unknown_key_is_refused_with_its_neighbours_and_its_place(
    tmp_path: Path,
    environ: dict[str, str],
    arguments: dict[str, Any],
    toml: str,
    words: list[str],
) -> None:
    (tmp_path / "trunkline.toml").write_text(toml)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, arguments, **environ)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("port", 70_000, "65535"),
        ("port", True, "whole number"),
        ("workers", 0, "from 1"),
        ("workers", 1.5, "whole number"),
        ("max_backlog_size", 0, "from 1"),
        ("max_backlog_age", -1, "from 0.001"),
        ("max_backlog_age", "soon", "duration"),
        ("max_backlog_age", "3 fortnights", "duration"),
        ("ring_bytes", "1 apple", "size"),
        ("clear_every", None, "whole number"),
        ("off", "maybe", "true or false"),
        ("log", 3, "text"),
        ("long_polling_interval", 0, "between"),
        ("diagnostics", 1, "true or false"),
        ("channels", {"/a": {"size": 1}}, "max_backlog_size"),
        ("channels", {"/a": 5}, "table"),
        ("channels", 5, "table"),
        ("site_id", 5, "text"),
    ],
)
def test_a_wrong_value_is_refused_with_key_value_and_what_is_allowed(
    tmp_path: Path, name: str, value: Any, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {name: value})
    text = str(caught.value)
    assert name in text
    assert allowed in text
    assert "argument" in text


def test_a_broken_file_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("log = ")
    with pytest.raises(ConfigError, match=r"trunkline\.toml"):
        load(tmp_path)


def test_secrets_are_masked_wherever_settings_are_shown(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        {
            "log": "postgres://me:hunter22@db/x?sslpassword=hunter22",
            "publish_keys": ["hunter22-abc"],
            "log_options": {"password": "hunter22", "readers": 3},
        },
    )

    assert "hunter22" not in f"{settings.effective()} {settings!r}"
    assert values(settings)["log"] == "postgres://me:***@db/x?sslpassword=***"
    assert values(settings)["log_options"] == {"password": "***", "readers": 3}
    assert settings.gateway.publish_keys == ("hunter22-abc",)


def test_a_bad_secret_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, TRUNKLINE_PUBLISH_KEYS="pässword-secret")
    assert "secret" not in str(caught.value)


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 3  # type: ignore[misc]
