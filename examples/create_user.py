"""Create a user: unique by a hook, told to a third party in a saga, projected, befriended, shown.

Run it: ``python examples/create_user.py`` (in a new SQLite file), or with the URL of a database.

What a failure anywhere does: nothing is stored, and the third party, told before the transaction
began, is told to forget.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec

from trunkline import Trunkline
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.context import Context
from trunkline.cqrs.errors import CommandError, Refused
from trunkline.cqrs.step import StepCall, StepRetry
from trunkline.testing.commands import drain


class CreateUser(Command, name="create.user"):
    """Have a user made."""

    user: str
    email: str


class UserCreated(Event, name="user.:user.created"):
    """Say that there is a user, whom the directory knows as a contact."""

    user: str
    email: str
    contact: int


class MakeFriendsList(Command, name="make.friends.list"):
    """Have a user's list of friends made."""

    user: str


class FriendsListMade(Event, name="user.:user.friends.made"):
    """Say that a user has a list of friends."""

    user: str


class User(msgspec.Struct, frozen=True):
    """Be what is known of a user when a command is decided."""

    user: str
    email: str = ""
    has_friends_list: bool = False


class Directory:
    """Be the third party: it keeps contacts, and takes each call under its key once."""

    def __init__(self) -> None:
        self.contacts: dict[str, str] = {}
        self.answers: dict[str, int] = {}
        self.calls: list[str] = []

    async def add(self, user: str, email: str, key: str) -> int:
        """Take a contact, and return its number."""
        self.calls.append(f"add {user}")
        if email.endswith("@blocked.example"):
            raise Refused(f"the directory does not take {email}", code="blocked")
        if key not in self.answers:
            self.contacts[user] = email
            self.answers[key] = len(self.answers) + 1
        if email.endswith("@slow.example"):
            raise ConnectionError("the answer of the directory was lost")
        return self.answers[key]

    async def redact(self, user: str) -> None:
        """Forget a contact, which may never have been taken."""
        self.calls.append(f"redact {user}")
        self.contacts.pop(user, None)


def application(url: str, directory: Directory) -> Trunkline:
    """Return the line with all that is declared on it."""
    line = Trunkline(url)
    one, two = ("?", "?") if url.startswith("sqlite") else ("$1", "$2")
    check(line, f"SELECT 1 FROM profile WHERE email = {one}")
    tell(line, directory)
    decide(line)
    project(line, f"VALUES ({one}, {two})", f"VALUES ({one})")
    return line


def check(line: Trunkline, find: str) -> None:
    """Before anything else: the address must be free."""

    @line.before(CreateUser, priority=10)
    async def unique(command: CreateUser):
        async with line.transaction() as tx:
            if await tx.fetch(find, command.email):
                raise Refused(f"{command.email} has a user", code="taken")


def tell(line: Trunkline, directory: Directory) -> None:
    """Tell the third party; what takes that back is on record before."""

    @line.undo("directory.redact")
    async def redact(command: CreateUser):
        await directory.redact(command.user)

    @line.step(
        CreateUser,
        name="directory.add",
        undo="directory.redact",
        retry=StepRetry(3, first=0.01, on=(ConnectionError,)),
        timeout=5.0,
    )
    async def add(command: CreateUser, step: StepCall):
        return await directory.add(command.user, command.email, key=step.key)


def decide(line: Trunkline) -> None:
    """Decide what commands come to."""
    line.aggregate("user", id="user")(User)

    @line.evolve
    def evolve(state: User | None, event: UserCreated | FriendsListMade) -> User:
        if isinstance(event, UserCreated):
            return User(event.user, event.email)
        return msgspec.structs.replace(state or User(event.user), has_friends_list=True)

    @line.command(CreateUser)
    async def create(command: CreateUser, user: User | None, ctx: Context):
        if user is not None:
            raise Refused(f"{command.user} is there already", code="exists")
        yield UserCreated(command.user, command.email, ctx.outputs["directory.add"])

    @line.command(MakeFriendsList)
    async def make_list(command: MakeFriendsList, user: User | None):
        if user is not None and not user.has_friends_list:
            yield FriendsListMade(command.user)


def project(line: Trunkline, profile_values: str, friends_values: str) -> None:
    """Keep read models in the command's transaction, and answer events after it."""

    @line.projector("user.:user.created")
    async def profile(event: UserCreated, tx):
        # The hook looked before; between two that come at once the unique column decides.
        await tx.execute(f"INSERT INTO profile {profile_values}", event.user, event.email)

    @line.channel("user.:user.created", to="/users/:user")
    def push(event: UserCreated):
        return {"created": event.user}

    @line.processor("user.:user.created", consistency="eventual")
    async def befriend(event: UserCreated):
        return [MakeFriendsList(event.user)]

    @line.projector("user.:user.friends.made")
    async def friends(event: FriendsListMade, tx):
        await tx.execute(f"INSERT INTO friends {friends_values}", event.user)


async def prepare(line: Trunkline) -> None:
    """Make the tables of the read models."""
    async with line.transaction() as tx:
        await tx.execute("CREATE TABLE profile (name text PRIMARY KEY, email text UNIQUE)")
        await tx.execute("CREATE TABLE friends (name text PRIMARY KEY)")


async def main(url: str) -> None:
    directory = Directory()
    line = application(url, directory)
    async with line:
        await prepare(line)
        line.start_services()

        result = await line.send(
            CreateUser("ann", "ann@example.com"), key="form-1", wait=["befriend"]
        )
        print("created:", [event.name for event in result.events])
        again = await line.send(CreateUser("ann", "ann@example.com"), key="form-1")
        print("the same form again:", again.is_repeat)

        for email in ("ann@example.com", "bob@blocked.example", "bob@slow.example"):
            try:
                await line.send(CreateUser("bob", email))
            except CommandError as error:
                print(f"{email}: {type(error).__name__}: {error}")
        print("the directory was told:", ", ".join(directory.calls))
        print("and knows:", directory.contacts)
        await drain(line)
        print("pushed:", [message.data for message in await line.backlog("/users/ann")])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(main(f"sqlite:///{Path(folder) / 'users.db'}"))
