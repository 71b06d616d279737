"""What Django is told of this application."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.core import checks
from django.core.signals import request_started
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules

from trunkline.integrations.django.changes import tell_changes
from trunkline.integrations.django.checkup import check_settings
from trunkline.integrations.django.configuration import configuration
from trunkline.integrations.django.lines import line, opened


class TrunklineConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """Be Trunkline as an application of Django's."""

    name = "trunkline.integrations.django"
    label = "trunkline"
    verbose_name = "Trunkline"

    def ready(self) -> None:
        """Import what applications declare, and hear of migrations, requests and models."""
        conf = configuration()
        checks.register(check_settings)
        autodiscover_modules(conf.module)
        post_migrate.connect(_make_tables, dispatch_uid="trunkline")
        request_started.connect(_open, dispatch_uid="trunkline")
        if conf.entities:
            kinds: Any = {apps.get_model(name): kind for name, kind in conf.entities.items()}
            tell_changes(line, kinds)


def _make_tables(using: str, **_: Any) -> None:
    if using in configuration().databases:
        opened()


def _open(**_: Any) -> None:
    if not line.asynchronous.is_open:
        opened()
