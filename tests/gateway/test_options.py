"""Settings are checked when they are set, and the error says what would do."""

from __future__ import annotations

import pytest

from trunkline.errors import ConfigError
from trunkline.gateway.options import GatewayOptions


def test_a_setting_changes_while_the_gateway_runs():
    options = GatewayOptions()
    options.long_polling_interval = 5
    assert options.long_polling_interval == 5.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("long_polling_interval", 0),
        ("long_polling_interval", float("nan")),
        ("heartbeat_interval", -1),
        ("max_channels", 0),
        ("max_channels", 1.5),
        ("max_connections", True),
        ("requests_per_second", 0),
        ("diagnostics", "yes"),
        ("allowed_origins", ("example.com",)),
        ("allowed_origins", ("https://example.com/path",)),
        ("base_path", "/a?b"),
        ("base_path", None),
    ],
)
def test_a_bad_value_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=name):
        GatewayOptions(**{name: value})
    options = GatewayOptions()
    before = getattr(options, name)
    with pytest.raises(ConfigError, match=name):
        setattr(options, name, value)
    assert getattr(options, name) == before


def test_a_base_path_is_brought_into_form():
    assert GatewayOptions(base_path="events//v1/").base_path == "/events/v1"
    assert GatewayOptions(base_path="/").base_path == ""


def test_origins_are_compared_in_lower_case_and_without_a_slash():
    assert GatewayOptions(allowed_origins="https://App.example.com/").allowed_origins == (
        "https://app.example.com",
    )


def test_keys_show_neither_in_errors_nor_in_the_repr():
    with pytest.raises(ConfigError) as caught:
        GatewayOptions(publish_keys=("secret",))
    assert "secret" not in str(caught.value)
    assert "a-long-secret" not in repr(GatewayOptions(publish_keys=("a-long-secret",)))
