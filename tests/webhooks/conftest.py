"""What the tests of the webhooks share: databases, and a school that tells apps of its lessons."""

import pytest

from tests.store.databases import (  # noqa: F401 - fixtures
    ground,
    postgres_ground,
    postgres_url,
    schema,
    sqlite_ground,
)
from tests.webhooks.posting import posting
from tests.webhooks.receiving import receiving


@pytest.fixture
async def post(ground):  # noqa: F811
    async with posting(ground) as found:
        yield found


@pytest.fixture
async def receiver():
    async with receiving() as found:
        yield found
