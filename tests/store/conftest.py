"""What the tests of the store share."""

from tests.store.databases import (  # noqa: F401 - fixtures
    ground,
    postgres_ground,
    postgres_url,
    schema,
    sqlite_ground,
)
from tests.store.desk import desk  # noqa: F401 - a fixture
