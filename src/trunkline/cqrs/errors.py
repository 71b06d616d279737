"""What can go wrong with a command, each kind under a name of its own.

All of them carry the id under which the command's trace is found.

CommandError
├── UnknownCommandError       nobody handles such a command
├── InvalidCommandError       its fields don't fit its type
├── RefusedError              a hook or the deciding function said no
├── HandlerError              a handler, hook or step raised what it should not
├── NestingError              commands or events lead to each other without end
├── UndecodableEventError     a stored event fits no type that is known, or can't be brought up
├── NotFollowedError          an eventual handler that was waited for is not done; all is stored
├── ProjectionError           a projection can't be built: its code fails on an event
└── ProjectionVersionError    a projection is ahead of this code, or behind it
"""

from __future__ import annotations

from trunkline.errors import TrunklineError, UsageError


class CommandError(TrunklineError):
    """Be the root of what is wrong with a command.

    Attributes:
        trace_id: Under which the command's trace is found; empty when there is none.
    """

    trace_id: str = ""


class UnknownCommandError(CommandError, UsageError):
    """Report a command that nobody handles."""

    status = 404
    code = "unknown-command"


class InvalidCommandError(CommandError, UsageError, ValueError):
    """Report a command whose fields don't fit its type."""

    status = 422
    code = "invalid-command"


class RefusedError(CommandError, UsageError):
    """Refuse a command: raised by hooks and deciding functions, and told to whoever sent it.

    Args:
        message: Why, for a person.
        code: Why, for a program.
        status: The HTTP status it deserves.
    """

    status = 409
    code = "refused"

    def __init__(self, message: str, *, code: str = "refused", status: int = 409) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


#: What reads well behind ``raise``.
Refused = RefusedError


class HandlerError(CommandError):
    """Report that a handler, hook or step raised something; the cause is chained.

    Attributes:
        handler: Its name.
        role: What it is: ``command``, ``projector``, ``before`` …
        subject: The name of the command or event it was given.
    """

    code = "handler-failed"

    def __init__(self, role: str, handler: str, subject: str, cause: BaseException) -> None:
        super().__init__(
            f"the {role} {handler!r} failed on {subject}: {type(cause).__name__}: {cause}"
        )
        self.role = role
        self.handler = handler
        self.subject = subject


class NestingError(CommandError):
    """Report commands and events that lead to each other without end."""

    code = "nesting"


class NotFollowedError(CommandError):
    """Report that an eventual handler is not done; the command itself is committed.

    Attributes:
        handler: Its consumer's name.
    """

    status = 504
    code = "not-followed"

    def __init__(self, handler: str, why: str) -> None:
        super().__init__(f"the command is committed, but {handler} {why}")
        self.handler = handler


class ProjectionError(CommandError):
    """Report that a projection can't be built, for its code fails on an event."""

    code = "projection-failed"


class ProjectionVersionError(CommandError):
    """Report that a projection's tables are of another version than this code's."""

    status = 409
    code = "projection-version"


class UndecodableEventError(CommandError):
    """Report a stored event that no known type and upcaster can read.

    Attributes:
        stream: Its channel.
        version: Its place in that channel.
    """

    code = "undecodable-event"

    def __init__(self, stream: str, version: int, why: str) -> None:
        super().__init__(f"event {version} of {stream} can't be read: {why}")
        self.stream = stream
        self.version = version
