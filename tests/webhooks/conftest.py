"""What the tests of the webhooks share: databases, and a school that tells apps of its lessons."""

from tests.store.databases import (  # noqa: F401 - fixtures
    ground,
    postgres_ground,
    postgres_url,
    schema,
    sqlite_ground,
)
