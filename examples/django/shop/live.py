"""Who may read what."""

from trunkline import Identity


def may_read(identity: Identity, channel: str) -> bool:
    """Let users read what is below their own number."""
    return channel.startswith(f"/users/{identity.user_id}/")
