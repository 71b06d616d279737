"""What the commands of the webhooks share: which app and account, as people type them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trunkline.webhooks.keys import read_key

if TYPE_CHECKING:
    from trunkline.app import Trunkline

After = Annotated[str, typer.Option(metavar="ID", help="Begin after it.")]
Limit = Annotated[int, typer.Option(metavar="N", min=1, help="So many at most.")]
AppId = Annotated[str, typer.Argument(metavar="APP", help="The app's id, or its indicator.")]
AccountType = Annotated[str, typer.Option(metavar="KIND", help="The account's kind.")]
Signals = Annotated[
    list[str] | None,
    typer.Option("--signal", metavar="NAME", help="A signal; may be repeated. * is all."),
]


@dataclass(frozen=True, kw_only=True)
class ChoiceFlags:
    """Choose by app and account."""

    app: Annotated[str | None, typer.Option(metavar="APP", help="Only this app.")] = None
    account: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only this account. Digits are a number, '\"7\"' is text."),
    ] = None
    account_type: AccountType = "account"
    limit: Limit = 100

    async def read(self, line: Trunkline) -> dict[str, Any]:
        """Return them as lists take them."""
        return {
            "app_id": None if self.app is None else await app_id_of(line, self.app),
            "account_id": None if self.account is None else read_key(self.account),
            "account_type": self.account_type,
            "limit": self.limit,
        }


async def app_id_of(line: Trunkline, given: str) -> str:
    """Return an app's id, given that or its indicator."""
    found = await line.apps.find(given)
    return (await line.apps.get(given)).id if found is None else found.id
