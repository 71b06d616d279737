"""What the tests of webhooks share."""

from tests.store.databases import (  # noqa: F401 - fixtures
    ground,
    postgres_ground,
    postgres_url,
    schema,
    sqlite_ground,
)
