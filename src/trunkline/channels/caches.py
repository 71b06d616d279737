"""The caches of a line: made by name, filled when the line opens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from trunkline.channels.cache import Cache
from trunkline.channels.wing import Premises, WingedBus
from trunkline.errors import UsageError
from trunkline.model.channel import ChannelKey, writable_key
from trunkline.runtime.service import Service

PREFIX = "/__trunkline/cache"


class Caches:
    """Hold a line's caches, each followed while the line is open.

    Args:
        premises: What they work with.
    """

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._caches: dict[ChannelKey, Cache] = {}
        self._is_open = False

    def find(self, channel: ChannelKey, value_type: Any) -> Cache:
        """Return the cache of a channel, made when it is first asked for."""
        cache = self._caches.get(channel)
        if cache is None:
            cache = self._caches[channel] = Cache(self._premises, channel, type=value_type)
            if self._is_open:
                self._premises.run(f"cache {channel.name}", cache.run)
        return cache

    async def open(self) -> None:
        """Follow the caches, and wait until each is whole."""
        self._is_open = True
        for channel, cache in self._caches.items():
            self._premises.run(f"cache {channel.name}", cache.run)
        try:
            for cache in list(self._caches.values()):
                await cache.loaded()
        except BaseException:  # a wing that did not open is not closed by others
            await self.close()
            raise

    async def close(self) -> None:
        """Forget what they hold: what is followed no more is not to be relied on."""
        self._is_open = False
        for cache in self._caches.values():
            cache.close()

    def services(self) -> Sequence[Service]:
        """Return none: caches are every process's own."""
        return ()


class CacheFace(WingedBus):
    """Share dictionaries among processes."""

    def cache(
        self,
        name: str,
        *,
        version: str = "",
        type: Any = Any,  # noqa: A002 - the word an application says
        site_id: str | None = None,
        shared: bool = False,
    ) -> Cache:
        """Return the distributed cache of a name, of this site unless it is shared.

        Args:
            name: Names it in every process.
            version: Of the application: those of different versions don't see each other's.
            type: What values are converted to; any JSON value by default.
            site_id: The tenant, instead of the one the site lookup gives.
            shared: Whether all sites have one together.

        Returns:
            The cache, the same one for the same name, version and site. A cache asked for
            before the line opens is whole once it is open; later, await its ``open()``.

        Raises:
            GrammarError: Name, version or site is outside the grammar of channels.
            UsageError: Both a site and *shared* are said.
        """
        if shared and site_id is not None:
            raise UsageError("a shared cache belongs to no site: leave site_id or shared out")
        path = f"{PREFIX}/{version}/{name}" if version else f"{PREFIX}/-/{name}"
        site = None if shared else self._site(site_id)
        return self._caches.find(writable_key(path, site, internal=True), type)

    @cached_property
    def _caches(self) -> Caches:
        return self.add_wing(Caches)
