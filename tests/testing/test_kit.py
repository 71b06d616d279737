"""The testing kit: a line per test, time that stands still, assertions that read well."""

import pytest

from trunkline.testing.kit import open_testing_line


async def test_a_test_sees_what_was_published() -> None:
    async with open_testing_line() as line:
        await line.publish("/orders/7", {"id": 7}, user_ids=["ann"])
        await line.publish("/orders/8", {"id": 8}, site_id="acme")
        await line.publish("/mails", "hello")
        published = await line.published()
        published.times(3).with_data({"id": 7}, {"id": 8}, "hello")
        assert published.on("/orders/7").once({"id": 7}, user_ids=["ann"]).message_id == 1
        published.on("/orders/*").times(2)
        published.on("/nothing/**").never()
        (await line.published("/mails")).once("hello")


async def test_a_failed_assertion_shows_what_was_published_instead() -> None:
    async with open_testing_line() as line:
        await line.publish("/orders", {"id": 7}, user_ids=["ann"])
        published = await line.published()
        with pytest.raises(AssertionError, match=r"expected 0 .* found 1:\n  /orders 1: {'id': 7}"):
            published.never()
        with pytest.raises(AssertionError, match=r"expected data={'id': 8} of /orders 1, found"):
            published.once({"id": 8})
        with pytest.raises(AssertionError, match=r"expected user_ids=\['bob'\]"):
            published.once(user_ids=["bob"])
        with pytest.raises(AssertionError, match="found: nothing"):
            published.on("/a").with_data(1)


async def test_time_stands_still_until_it_is_moved() -> None:
    async with open_testing_line() as line:
        await line.publish("/a", 1)
        line.clock.advance(3600)
        await line.publish("/a", 2)
        first, second = await line.published()
        assert second.published_at - first.published_at == 3600


async def test_a_test_with_transactions_has_a_database_of_its_own() -> None:
    async with open_testing_line(database=True) as line:
        async with line.transaction() as tx:
            await tx.publish("/a", 1)
        (await line.published()).once(1)


def test_fixtures_come_with_the_installation(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio

        def checkout(line):
            line.publish("/orders", 7)

        def test_sync(sync_line):
            checkout(sync_line)
            sync_line.clock.advance(5)
            sync_line.published("/orders").once(7)

        def test_database(make_sync_line):
            line = make_sync_line(database=True)
            with line.transaction() as tx:
                tx.publish("/orders", 7)
            line.published().once(7)

        def test_async(open_line):
            async def run():
                async with open_line() as line:
                    await line.publish("/orders", 7)
                    (await line.published()).once(7)
            asyncio.run(run())
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=3)
