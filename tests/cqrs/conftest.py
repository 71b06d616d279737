"""The two databases that commands run on."""

from __future__ import annotations

from tests.store.databases import (  # noqa: F401 - fixtures
    ground,
    postgres_ground,
    postgres_url,
    schema,
    sqlite_ground,
)
