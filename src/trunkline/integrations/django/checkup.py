"""What ``manage.py check`` says of the settings."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution
from django.db import connections

from trunkline.errors import ConfigError
from trunkline.integrations.django.configuration import configuration


def check_settings(**_: Any) -> list[CheckMessage]:
    """Look for settings that can't work, or would make transactions fail under load."""
    found: list[CheckMessage] = []
    try:
        conf = configuration()
        from trunkline.config import Settings

        Settings.load(conf.line)
    except ConfigError as error:
        return [Error(str(error), id="trunkline.E001")]
    for alias in conf.databases:
        connection = connections[alias]
        options = connection.settings_dict.get("OPTIONS", {})
        if connection.vendor == "sqlite" and options.get("transaction_mode") != "IMMEDIATE":
            found.append(
                Caution(
                    f"database {alias!r}: transactions that begin with a read and then write fail "
                    "at once when another one writes",
                    hint="Set DATABASES[...]['OPTIONS'] = {'transaction_mode': 'IMMEDIATE'}.",
                    id="trunkline.W001",
                )
            )
    return found
