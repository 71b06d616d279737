"""Flask: an extension that holds the line, lets clients poll it, and serves the browser client.

live = FlaskLine(access=may_read)
live.init_app(app)

@app.post("/orders")
def order():
    live.publish("/orders", {"id": 7})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Unpack, cast

import click
from flask import Blueprint, Flask, Response, current_app, request

from trunkline.channels.drafting import PublishOptions
from trunkline.errors import ConfigError
from trunkline.gateway.access import Access
from trunkline.integrations.command_line import run_command
from trunkline.integrations.identities import identity_of
from trunkline.integrations.receiver_flask import received, webhook
from trunkline.integrations.wsgi import Counter
from trunkline.model.identity import Identity
from trunkline.model.message import Receipt
from trunkline.sync import Trunkline

__all__ = ["FlaskLine", "login_identity", "received", "webhook"]

KEY: Final = "trunkline"
METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS")


def login_identity() -> Identity | None:
    """Identify the user whom Flask-Login knows for the current request; nobody else is let in."""
    from flask_login import current_user

    if not current_user.is_authenticated:
        return None
    return identity_of(current_user.get_id())


class FlaskLine:
    """Put a line into Flask applications; each has its own.

    The settings are ``app.config["TRUNKLINE"]``, a mapping as for :class:`trunkline.Trunkline`.
    Views publish and read with :attr:`line`. Clients poll below *path*; to stream, run
    ``flask trunkline serve MODULE:GATEWAY`` beside it on the same line.

    Args:
        app: An application, or None to call :meth:`init_app` later.
        path: Where clients reach the line; None for nowhere.
        identify: Called in the context of the client's request; returns an identity, a user's
            id, or None for a stranger. By default :func:`login_identity`.
        access: Called with identity and channel; True lets it read the channel.

    Raises:
        ConfigError: Clients are let in, and *access* is missing.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        path: str | None = "/events",
        identify: Callable[[], Any] = login_identity,
        access: Access | None = None,
    ) -> None:
        self._path = path
        self._identify = identify
        self._access = access
        self._lines: list[Trunkline] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put a line into an application.

        Raises:
            ConfigError: A setting makes no sense, or *access* is missing.
        """
        settings: dict[str, Any] = {**app.config.get("TRUNKLINE", {})}
        if self._path is not None:
            settings.setdefault("base_path", self._path)
        line = Trunkline(**settings)
        app.extensions[KEY] = line
        self._lines.append(line)
        app.before_request(line.open_once)
        app.cli.add_command(_command(line, settings))
        if self._path is not None:
            app.register_blueprint(self._door(line, self._path))

    @property
    def line(self) -> Trunkline:
        """Return the current application's line; the only one where there is no application.

        Raises:
            ConfigError: There is none.
        """
        if current_app and KEY in current_app.extensions:
            return cast(Trunkline, current_app.extensions[KEY])
        if len(self._lines) == 1:
            return self._lines[0]
        raise ConfigError("which line? call init_app(app) first, and use it in its context")

    def publish(
        self, channel: str, data: Any, *, tx: Any = None, **options: Unpack[PublishOptions]
    ) -> Receipt | None:
        """Publish; as :meth:`trunkline.sync.Trunkline.publish`.

        Args:
            channel: The channel's name.
            data: Any JSON value.
            tx: A transaction, such as ``db.session``: published if and only if it commits.
            **options: See :class:`trunkline.channels.drafting.PublishOptions`.
        """
        return self.line.publish(channel, data, tx=tx, **options)

    def _door(self, line: Trunkline, path: str) -> Blueprint:
        identify = self._identify
        counter = Counter(line, identify=lambda _: identity_of(identify()), access=self._access)
        blueprint = Blueprint(KEY, __name__, url_prefix=path)

        def answer(rest: str) -> Response:
            reply = counter.answer(request.environ, f"/{rest}")
            return Response(reply.body, reply.status, reply.headers)

        blueprint.add_url_rule(
            "/<path:rest>", "answer", answer, methods=METHODS, provide_automatic_options=False
        )
        return blueprint


def _command(line: Trunkline, settings: Mapping[str, Any]) -> click.Command:
    flags = {"ignore_unknown_options": True, "help_option_names": []}

    @click.command(KEY, context_settings=flags, help="Run trunkline with this application's line.")
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words: tuple[str, ...]) -> None:
        run_command(words, line, settings, name="flask trunkline")

    return command
