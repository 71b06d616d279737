"""Connections: accounts install apps, and decide what those may hear."""

from __future__ import annotations

import uuid

import pytest

from tests.webhooks.school import installed, school
from trunkline.webhooks.errors import SignalError, UnknownAppError


async def test_a_new_connection_copies_what_the_app_asks_for(ground):
    async with school(ground) as (line, _):
        app = await line.apps.create("App", signals=["lesson", "user"])
        one = await line.connections.connect(app.id, account_id=1)
        assert (one.signals, one.pending) == (("lesson", "user"), ())
        less = await line.connections.connect(app.id, account_id=2, signals=["user"])
        assert (less.signals, less.pending) == (("user",), ("lesson",))
        assert await line.connections.between(app.id, account_id=1) == one
        assert await line.connections.between(app.id, account_id="1") is None
        with pytest.raises(UnknownAppError):
            await line.connections.connect("app_0", account_id=1)


async def test_a_new_signal_waits_for_approval(ground):
    async with school(ground) as (line, _):
        app = await installed(line, 1, 2)
        await line.apps.update(app.id, signals=["lesson", "user", "grade"])
        one = await line.connections.between(app.id, account_id=1)
        assert (one.signals, one.pending) == (("lesson",), ("user", "grade"))
        one = await line.connections.decline(one.id, "grade")
        assert (one.pending, one.declined) == (("user",), ("grade",))
        one = await line.connections.grant(one.id)
        assert (one.signals, one.pending) == (("lesson", "user"), ())
        one = await line.connections.grant(one.id, "grade")
        assert (one.signals, one.declined) == (("lesson", "user", "grade"), ())
        two = await line.connections.between(app.id, account_id=2)
        assert two.signals == ("lesson",)


async def test_without_approval_it_is_granted_everywhere_at_once(ground):
    async with school(ground) as (line, _):
        app = await installed(line, 1, 2)
        await line.apps.update(app.id, signals=["lesson", "user"], approval=False)
        for account in (1, 2):
            one = await line.connections.between(app.id, account_id=account)
            assert one.signals == ("lesson", "user")


async def test_what_an_app_no_longer_asks_for_is_taken_and_has_to_be_approved_again(ground):
    async with school(ground) as (line, _):
        app = await installed(line, 1, signals=["lesson", "user"])
        await line.apps.update(app.id, signals=["lesson"])
        one = await line.connections.between(app.id, account_id=1)
        assert one.signals == ("lesson",)
        await line.apps.update(app.id, signals=["lesson", "user"])
        one = await line.connections.get(one.id)
        assert (one.signals, one.pending) == (("lesson",), ("user",))


async def test_grant_all_updates_every_connection(ground):
    async with school(ground) as (line, _):
        app = await installed(line, *range(1203))
        await line.apps.update(app.id, signals=["user", "lesson"])
        first = await line.connections.between(app.id, account_id=0)
        await line.connections.decline(first.id)
        assert await line.apps.grant_all(app.id) == 1203
        after, seen = "", 0
        while page := await line.connections.list(app_id=app.id, after=after, limit=500):
            assert {one.signals for one in page} == {("user", "lesson")}
            assert {one.declined for one in page} == {()}
            after, seen = page[-1].id, seen + len(page)
        assert seen == 1203
        assert await line.apps.grant_all(app.id) == 0


async def test_an_app_is_only_for_accounts_of_its_types(sqlite_ground):
    async with school(sqlite_ground) as (line, _):
        app = await line.apps.create("App", account_types=["school"])
        with pytest.raises(SignalError, match="school"):
            await line.connections.connect(app.id, account_id=1)
        one = await line.connections.connect(app.id, account_id=1, account_type="school")
        assert one.account_type == "school"


async def test_accounts_are_kept_apart_by_type_and_by_the_type_of_their_id(ground):
    async with school(ground) as (line, _):
        app = await line.apps.create("App")
        idents = [1, "1", uuid.UUID(int=1)]
        for ident in idents:
            await line.connections.connect(app.id, account_id=ident)
        await line.connections.connect(app.id, account_id=1, account_type="user")
        for ident in idents:
            [one] = await line.connections.list(account_id=ident)
            assert one.account_id == ident
            assert type(one.account_id) is type(ident)
        assert len(await line.connections.list()) == 4
        assert len(await line.connections.list(app_id="app_0")) == 0


async def test_what_is_no_connection_is_refused(sqlite_ground):
    async with school(sqlite_ground) as (line, _):
        app = await installed(line, 1)
        one = await line.connections.between(app.id, account_id=1)
        with pytest.raises(SignalError):
            await line.connections.grant(one.id, "a b")
        await line.connections.disconnect(one.id)
        for call in (line.connections.get, line.connections.disconnect, line.connections.grant):
            with pytest.raises(UnknownAppError):
                await call(one.id)
