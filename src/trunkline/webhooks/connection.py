"""What a connection is: an app installed on an account, with what the account lets it hear."""

from __future__ import annotations

import msgspec

from trunkline.model import codec
from trunkline.sql.database import Row
from trunkline.webhooks.keys import Key, key_from
from trunkline.webhooks.signal import WILDCARD


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Be an app's installation on an account.

    Args:
        id: Names it.
        app_id: Which app.
        app_name: Its name.
        account_type: Kind of the account.
        account_id: Which account.
        signals: What the account granted.
        declined: What it declined.
        requested: What the app asks for.
        created_at: Unix seconds.
        updated_at: Unix seconds.
    """

    id: str
    app_id: str
    app_name: str
    account_type: str
    account_id: Key
    signals: tuple[str, ...]
    declined: tuple[str, ...]
    requested: tuple[str, ...]
    created_at: float
    updated_at: float

    @property
    def pending(self) -> tuple[str, ...]:
        """Return what the app asks for and the account has not decided yet."""
        decided = {*self.signals, *self.declined}
        return tuple(one for one in self.requested if one not in decided)

    def hears(self, signal_name: str) -> bool:
        """Tell whether it was granted a signal, by name or by wildcard."""
        return grants(self.signals, signal_name)


def grants(signals: tuple[str, ...] | list[str], signal_name: str) -> bool:
    """Tell whether a list of granted signals has one, by name or by wildcard."""
    return signal_name in signals or WILDCARD in signals


def connection_of(row: Row) -> Connection:
    """Return the connection of a row."""
    return Connection(
        id=row[0],
        app_id=row[1],
        app_name=row[2],
        account_type=row[3],
        account_id=key_from(row[4]),
        signals=tuple(codec.decode(row[5])),
        declined=tuple(codec.decode(row[6])),
        requested=tuple(codec.decode(row[7])),
        created_at=row[8],
        updated_at=row[9],
    )
