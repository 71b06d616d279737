"""The example of creating a user runs, its failures included."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

import pytest
from examples.create_user import CreateUser, Directory, application, prepare

from tests.citations import ROOT
from trunkline.cqrs.errors import HandlerError, RefusedError
from trunkline.testing.commands import drain


@pytest.fixture
async def town(ground):
    directory = Directory()
    line = application(ground.url, directory)
    async with line:
        async with line.transaction() as tx:
            for table in ("profile", "friends"):
                await tx.execute(f"DROP TABLE IF EXISTS {table}")
        await prepare(line)
        line.start_services()
        yield line, directory


async def rows(line, table):
    async with line.transaction() as tx:
        return [tuple(one) for one in await tx.fetch(f"SELECT * FROM {table} ORDER BY 1")]


async def test_a_user_is_made_known_and_befriended(town):
    line, directory = town
    await line.send(CreateUser("ann", "ann@example.com"), wait=["befriend"])
    assert await rows(line, "profile") == [("ann", "ann@example.com")]
    assert await rows(line, "friends") == [("ann",)]
    assert directory.contacts == {"ann": "ann@example.com"}
    await drain(line)
    assert [one.data for one in await line.backlog("/users/ann")] == [{"created": "ann"}]


async def test_an_address_that_is_taken_is_refused_before_anybody_is_told(town):
    line, directory = town
    await line.send(CreateUser("ann", "ann@example.com"))
    with pytest.raises(RefusedError, match="has a user"):
        await line.send(CreateUser("bob", "ann@example.com"))
    assert directory.calls == ["add ann"]


async def test_what_the_third_party_refuses_is_not_there(town):
    line, directory = town
    with pytest.raises(RefusedError, match="does not take"):
        await line.send(CreateUser("bob", "bob@blocked.example"))
    assert directory.calls == ["add bob"]
    assert await rows(line, "profile") == []


async def test_an_answer_that_was_lost_is_asked_for_again_and_then_redacted(town):
    line, directory = town
    with pytest.raises(HandlerError, match="lost"):
        await line.send(CreateUser("bob", "bob@slow.example"))
    assert directory.calls == ["add bob"] * 3 + ["redact bob"]
    assert directory.contacts == {}
    assert await rows(line, "profile") == []


async def test_of_two_at_once_one_wins_and_the_other_is_redacted(town):
    line, directory = town
    outcomes = await asyncio.gather(
        *(line.send(CreateUser(user, "same@example.com")) for user in ("ann", "bob")),
        return_exceptions=True,
    )
    assert sum(isinstance(one, HandlerError) for one in outcomes) == 1
    [(winner, _)] = await rows(line, "profile")
    assert directory.contacts == {winner: "same@example.com"}


def test_the_program_runs_as_the_tutorial_shows_it():
    page = (ROOT / "docs/tutorial-user.md").read_text()
    program = (ROOT / "examples/create_user.py").read_text()
    blocks = re.findall(r"^```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    assert [block for block in blocks if block not in program] == []
    (shown,) = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    command = [sys.executable, "examples/create_user.py"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == shown
