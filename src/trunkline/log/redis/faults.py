"""What a failing Redis means to whoever publishes or reads: one error each, which names the fix."""

from __future__ import annotations

from typing import Final

from redis import exceptions

from trunkline.errors import LogCorruptError, LogError, LogUnavailableError

#: Words in a server's refusal, what they mean, and what to do. Before version 7 Redis wraps a
#: script's errors, so that only the text still has the word.
_REFUSALS: Final = (
    ("READONLY", "is a read-only replica", "name the master, or redis+sentinel:// to follow it"),
    ("LOADING", "is still loading its data", "wait until it has"),
    ("MASTERDOWN", "is a replica without its master", "name the master"),
    ("NOREPLICAS", "has too few replicas in touch", "see min-replicas-to-write"),
    ("TRYAGAIN", "is busy", "try again"),
    ("MISCONF", "cannot write to its disk", "make room, see the server's log"),
    ("OOM", "is out of memory", "raise maxmemory, or keep fewer messages"),
    ("BUSY ", "is busy with a long script", "see its slow log"),
)
_PASSING: Final = ("READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "BUSY ")
_LOGIN: Final = ("NOAUTH", "WRONGPASS", "NOPERM", "invalid password", "invalid username")

_LOGIN_ERRORS: Final = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
)

#: What the driver raises when there is no connection, or no longer.
CUT: Final = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)


def fault_of(error: BaseException, place: str) -> LogError:
    """Say what an error of the driver means.

    Args:
        error: What the driver raised.
        place: The line's URL without secrets.
    """
    text = str(error)
    if isinstance(error, LogError):
        return error
    if is_login(error):
        return LogError(
            f"{place} refuses the login: {text}; check user and password, and that the user may "
            "run scripts on the line's keys and its pub/sub channel"
        )
    if "CORRUPT" in text:
        return LogCorruptError(
            f"the line at {place} is damaged: {text.partition('CORRUPT ')[2][:200]}; see that "
            "maxmemory-policy is noeviction and that nobody else writes to the line's keys"
        )
    for word, state, fix in _REFUSALS:
        if word in text:
            return LogUnavailableError(f"the Redis at {place} {state}: {fix} ({text[:200]})")
    if isinstance(error, CUT):
        return LogUnavailableError(
            f"the Redis at {place} cannot be reached: {text.rstrip('.') or type(error).__name__}; "
            "see that it runs, and that host, port and TLS are right"
        )
    return LogError(f"the Redis at {place} refuses: {text}")


def is_login(error: BaseException) -> bool:
    """Tell whether a login, or the rights of a user, are at fault."""
    if isinstance(error, _LOGIN_ERRORS):
        return True
    return isinstance(error, exceptions.RedisError) and any(word in str(error) for word in _LOGIN)


def is_passing(error: BaseException) -> bool:
    """Tell whether trying again soon may help."""
    if is_login(error):
        return False
    text = str(error)
    return any(word in text for word in _PASSING) or (isinstance(error, CUT) and "OOM" not in text)


def is_doubtful(error: BaseException) -> bool:
    """Tell whether a command that failed so may have been carried out all the same."""
    # Refusals of the server, and of whoever would connect, come before anything is done.
    return isinstance(error, CUT) and not any(
        word in str(error)
        for word in (*_PASSING, "connecting to", "Connect call failed", "No master")
    )
