"""Litestar: one plugin opens the line, mounts the gateway and injects ``line`` into handlers.

app = Litestar([order], plugins=[TrunklinePlugin(line, identify=user_identity, access=may_read)])
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import NamedDependency, Provide
from litestar.handlers import asgi
from litestar.plugins import InitPlugin

from trunkline.app import Trunkline
from trunkline.gateway.request import Request
from trunkline.integrations.identities import identity_of
from trunkline.model.identity import Identity

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

__all__ = ["Line", "TrunklinePlugin", "user_identity"]

#: The type of a handler's parameter ``line``, which is given the line.
Line = NamedDependency[Trunkline]


def user_identity(request: Request) -> Identity | None:
    """Identify a client by what Litestar's authentication middleware found; None is refused.

    A user is an :class:`trunkline.Identity`, an id, or an object or mapping that has one.
    """
    return identity_of(request.scope.get("user"))


class TrunklinePlugin(InitPlugin):
    """Put a line into a Litestar application.

    Args:
        line: The line; opened and closed with the application.
        path: Where clients reach it; None for nowhere.
        key: The name of the dependency.
        **hooks: As for :meth:`trunkline.Trunkline.gateway`: ``identify``, ``access``, ….

    Raises:
        ConfigError: A hook is missing.
    """

    def __init__(
        self, line: Trunkline, path: str | None = "/events", *, key: str = "line", **hooks: Any
    ) -> None:
        self._line = line
        self._path = path
        self._key = key
        self._gateway: Any = None if path is None else line.gateway(**hooks)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the line to an application's configuration; Litestar calls it."""
        line = self._line
        app_config.dependencies[self._key] = Provide(lambda: line, sync_to_thread=False)
        app_config.signature_types.append(Trunkline)
        app_config.lifespan = [self._run, *app_config.lifespan]
        if self._path is not None:
            app_config.route_handlers.append(self._mounted(self._path))
        return app_config

    @asynccontextmanager
    async def _run(self, app: Litestar) -> AsyncIterator[None]:
        async with self._line:
            app.state.trunkline = self._line
            yield

    def _mounted(self, path: str) -> Any:
        gateway, prefix = self._gateway, path.rstrip("/")

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            await gateway(
                {**scope, "path": _below(scope["path"], prefix), "root_path": ""}, receive, send
            )

        return asgi(path, is_mount=True, copy_scope=True, name="trunkline")(serve)


def _below(path: str, prefix: str) -> str:
    """Return a path below the mount; releases differ in whether they cut it."""
    return (path.removeprefix(prefix) or "/").rstrip("/") or "/"
