"""Settings: one frozen value from arguments, environment and file, which knows its origins.

A setting has one name everywhere: ``long_polling_interval`` is an argument of ``Trunkline``,
``TRUNKLINE_LONG_POLLING_INTERVAL`` in the environment and a key of ``trunkline.toml`` (or of
``[tool.trunkline]`` in ``pyproject.toml``) in the working directory. Arguments win over the
environment, the environment over the file, the file over the defaults.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, Self

import msgspec

from trunkline.errors import ConfigError
from trunkline.gateway.options import GatewayOptions
from trunkline.log.retention import Retention
from trunkline.model.channel import check_site
from trunkline.model.message import Limits
from trunkline.runtime import quantity
from trunkline.runtime.masking import MASK, is_secret, masked_url

ENVIRONMENT: Final = "TRUNKLINE_"
DEFAULT_LOG: Final = "sqlite:///trunkline.db"
SERVICES: Final = ("auto", "on", "off")
FILES: Final = ("trunkline.toml", "pyproject.toml")

_LIMITS: Final = ("max_backlog_size", "max_backlog_age", "max_idle", "clear_every")
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "max_backlog_size": (1, 2**63 - 1),
    "max_backlog_age": (0.001, 1e12),
    "max_idle": (0.001, 1e12),
    "clear_every": (1, 2**31),
    "max_line_size": (1, 2**63 - 1),
    "receipt_age": (1, 1e12),
    "sweep_interval": (0.05, 86400),
    "ring_bytes": (64 * 1024, 2**40),
    "close_grace": (0, 3600),
    "port": (0, 65535),
    "workers": (1, 1024),
}
_SECRETS: Final = frozenset({"publish_keys"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Hold every setting.

    Args:
        log: URL of the log; its scheme chooses the engine.
        log_options: Options for the engine's driver, on top of those in the URL.
        store: URL of the SQL database beside a log that is in none; a log in one carries the
            store itself.
        outboxes: URLs of further databases whose transactions publish.
        services: ``on``: an open line also does a worker's work. ``auto``: it relays what
            transactions of its own process publish, when no worker does. ``off``: never.
        profile: Which of *profiles* a worker runs; everything without one.
        profiles: Names of services, or patterns such as ``consumer:*``, by profile.
        off: Whether the line starts switched off, and opens no engine.
        site_id: The tenant where a call names none and there is no site lookup.
        max_backlog_size: Messages a plain channel keeps; None for no bound.
        max_backlog_age: Seconds a message is kept; None for no bound.
        max_idle: Seconds without a publish after which a channel's backlog goes.
        clear_every: Trim by size only at every n-th id of a channel.
        max_line_size: Plain messages kept over the whole line; None for no cap.
        receipt_age: Seconds an idempotency key is remembered.
        channels: Limits of their own for channels, by name or pattern.
        sweep_interval: Seconds between sweeps by age, idleness and line size.
        ring_bytes: Memory for the newest messages in each process, bytes.
        close_grace: Seconds that listeners have, on close, to finish the message in hand.
        host: Address that ``trunkline serve`` listens on.
        port: Port that ``trunkline serve`` listens on.
        workers: Processes of ``trunkline serve``.
        webhooks: The webhooks' settings, by name.
        gateway: The gateway's settings, each a setting of its own outside Python.
        origins: Where each value came from, by name; absent for defaults.
    """

    log: str = DEFAULT_LOG
    log_options: Mapping[str, Any] = field(default_factory=dict)
    store: str | None = None
    outboxes: tuple[str, ...] = ()
    services: str = "auto"
    profile: str | None = None
    profiles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    off: bool = False
    site_id: str | None = None
    max_backlog_size: int | None = 1000
    max_backlog_age: float | None = 7 * 86400.0
    max_idle: float | None = None
    clear_every: int = 1
    max_line_size: int | None = 10_000_000
    receipt_age: float = 86400.0
    channels: Mapping[str, Limits] = field(default_factory=dict)
    sweep_interval: float = 5.0
    ring_bytes: int = 64 * 1024 * 1024
    close_grace: float = 5.0
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    webhooks: Mapping[str, Any] = field(default_factory=dict)
    gateway: GatewayOptions = field(default_factory=GatewayOptions)
    origins: Mapping[str, str] = field(default_factory=dict)

    #: Fields that are no settings by themselves.
    composed: ClassVar[frozenset[str]] = frozenset({"gateway", "origins"})

    @classmethod
    def load(
        cls,
        arguments: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> Self:
        """Gather the settings from everywhere.

        Args:
            arguments: By name, as given in the code or on the command line.
            environ: The environment; the process's own by default.
            folder: Where the settings file may be; the working directory by default.

        Returns:
            The settings, all checked.

        Raises:
            ConfigError: A key is unknown, a value of the wrong type or out of range, or the
                file cannot be read; the message says where it stood.
        """
        given: dict[str, _Given] = {}
        for source in (
            _from_file(Path.cwd() if folder is None else folder),
            _from_environment(os.environ if environ is None else environ),
            _from_arguments(arguments or {}),
        ):
            given.update(source)
        values = {name: _read(name, one) for name, one in given.items()}
        gateway = {name: values.pop(name) for name in _gateway_names() & values.keys()}
        origins = {name: one.origin for name, one in given.items()}
        return cls(gateway=GatewayOptions(**gateway), origins=origins, **values)

    def retention(self) -> Retention:
        """Make the retention that these settings describe; it may change afterwards."""
        retention = Retention(
            Limits(*(getattr(self, name) for name in _LIMITS)),
            max_line_size=self.max_line_size,
            receipt_age=self.receipt_age,
        )
        for pattern, limits in self.channels.items():
            retention.set(pattern, limits)
        return retention

    def effective(self) -> list[Effective]:
        """Return every setting with its value, secrets masked, and where it came from."""
        return [
            Effective(name, _shown(name, value), self.origins.get(name, "default"))
            for name, value in self._values()
        ]

    def _values(self) -> Iterator[tuple[str, Any]]:
        for one in fields(self):
            if one.name not in self.composed:
                yield one.name, getattr(self, one.name)
        yield from asdict(self.gateway).items()

    def __repr__(self) -> str:
        changed = (f"{one.name}={one.value!r}" for one in self.effective() if one.is_set)
        return f"Settings({', '.join(changed)})"


class Effective(NamedTuple):
    """Hold a setting for showing: its name, its masked value and where it came from."""

    name: str
    value: Any
    origin: str

    @property
    def is_set(self) -> bool:
        """Tell whether anybody set it."""
        return self.origin != "default"


class _Given(NamedTuple):
    """Hold a value as it stood somewhere; *is_text* when it is text whatever its type shall be."""

    value: Any
    origin: str
    is_text: bool = False


def setting_names() -> frozenset[str]:
    """Return the names of all settings."""
    own = {one.name for one in fields(Settings)} - Settings.composed
    return frozenset(own | _gateway_names())


def _gateway_names() -> set[str]:
    return {one.name for one in fields(GatewayOptions)}


# -- where values come from -------------------------------------------------------------------


def _from_arguments(arguments: Mapping[str, Any]) -> dict[str, _Given]:
    return {
        _known(name, "the arguments"): _Given(value, "argument")
        for name, value in arguments.items()
    }


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    found = {}
    for variable, text in environ.items():
        if variable.startswith(ENVIRONMENT):
            name = variable.removeprefix(ENVIRONMENT).lower()
            _known(name, "the environment", shown=variable, style=_variable)
            found[name] = _Given(text, f"environment {variable}", is_text=True)
    return found


def _variable(name: str) -> str:
    return ENVIRONMENT + name.upper()


def _from_file(folder: Path) -> dict[str, _Given]:
    for name in FILES:
        path = folder / name
        try:
            document = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        origin = str(path)
        if name == "pyproject.toml":
            document = document.get("tool", {}).get("trunkline", {})
            origin = f"{path} [tool.trunkline]"
        return {_known(key, origin): _Given(value, origin) for key, value in document.items()}
    return {}


def _known(name: str, where: str, *, shown: str = "", style: Any = str) -> str:
    names = setting_names()
    if name not in names:
        near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        hint = f": did you mean {' or '.join(map(style, near))}?" if near else ""
        raise ConfigError(
            f"unknown setting {shown or name} in {where}{hint} (trunkline config lists them all)"
        )
    return name


# -- what values mean -------------------------------------------------------------------------


def _read(name: str, given: _Given) -> Any:
    try:
        return _checked(name, _parsed(name, given))
    except ValueError as error:
        raise ConfigError(f"{error} (from {given.origin})") from error


def _parsed(name: str, given: _Given) -> Any:
    """Read text as what the setting's type asks for; other values stay."""
    value, kinds = given.value, _kinds(name)
    if "bool" in kinds:
        return quantity.switch(name, value)
    if "tuple" in kinds and given.is_text:
        return [one.strip() for one in value.split(",") if one.strip()]
    if "Mapping" in kinds:
        return _table(name, value, given)
    if isinstance(value, str) and kinds & {"int", "float"}:
        return _number(name, value, kinds)
    return value


def _checked(name: str, value: Any) -> Any:
    if name in _gateway_names():
        options = GatewayOptions()
        setattr(options, name, value)
        return getattr(options, name)
    if name in _RANGES:
        return _within_range(name, value)
    check = _CHECKS.get(name)
    return value if check is None else check(name, value)


@cache
def _kinds(name: str) -> frozenset[str]:
    """Return the names of the types that a setting's annotation mentions."""
    hints = {one.name: str(one.type) for cls in (GatewayOptions, Settings) for one in fields(cls)}
    return frozenset(re.findall(r"\w+", hints[name]))


def _number(name: str, text: str, kinds: frozenset[str]) -> float | int | None:
    if "None" in kinds and text.strip().lower() == "none":
        return None
    if name.endswith("_bytes"):
        return quantity.size(name, text)
    if name.endswith("_age") or ("float" in kinds and not name.endswith("_per_second")):
        seconds = quantity.duration(name, text)
        return int(seconds) if "int" in kinds else seconds
    return quantity.number(name, text)


def _within_range(name: str, value: Any) -> Any:
    low, high = _RANGES[name]
    kinds = _kinds(name)
    may_be_none, is_whole = "None" in kinds, "int" in kinds
    if value is None and may_be_none:
        return None
    is_number = isinstance(value, int if is_whole else (int, float)) and value is not True
    if not is_number or value is False or not low <= value <= high:
        word = "a whole number" if is_whole else "seconds, or a duration such as 7d,"
        word += f" from {low:.12g} to {high:.12g}{', or none' * may_be_none}"
        raise ConfigError(f"{name}={value!r} must be {word}")
    return value if is_whole else float(value)


def _table(name: str, value: Any, given: _Given) -> Mapping[str, Any]:
    if given.is_text:
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{name} is a JSON object in the environment: {error}") from error
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name}={value!r} must be a table")
    return value


def _limits(pattern: str, value: Any) -> Limits:
    if isinstance(value, Limits):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"channels: {pattern!r} must have a table of {', '.join(_LIMITS)}")
    for key in value:
        if key not in _LIMITS:
            raise ConfigError(
                f"channels: {pattern!r} has an unknown limit {key!r}: use {', '.join(_LIMITS)}"
            )
    return Limits(**{key: _read(key, _Given(one, "channels")) for key, one in value.items()})


def _text(name: str, value: Any) -> str:
    if not (isinstance(value, str) and value):
        raise ConfigError(f"{name}={value!r} must be text")
    return value


def _choice(name: str, value: Any) -> str:
    if value not in SERVICES:
        raise ConfigError(f"{name}={value!r} must be one of {', '.join(SERVICES)}")
    return str(value)


def _profiles(name: str, value: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    for profile, services in value.items():
        if isinstance(services, str) or not isinstance(services, Sequence):
            raise ConfigError(f"{name}: {profile!r} must have a list of services or patterns")
    return {profile: tuple(map(str, services)) for profile, services in value.items()}


_CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "channels": lambda _, value: {key: _limits(key, limits) for key, limits in value.items()},
    "site_id": lambda _, value: check_site(value or None),
    "log": _text,
    "host": _text,
    "store": lambda name, value: _text(name, value) if value else None,
    "outboxes": lambda name, value: tuple(_text(name, one) for one in value),
    "services": _choice,
    "profile": lambda name, value: _text(name, value) if value else None,
    "profiles": _profiles,
}


# -- how values are shown ---------------------------------------------------------------------


def _shown(name: str, value: Any) -> Any:
    if name in _SECRETS:
        return tuple(MASK for _ in value)
    if name in {"log", "store"}:
        return None if value is None else masked_url(value)
    if name == "outboxes":
        return tuple(map(masked_url, value))
    if name in {"log_options", "webhooks"}:
        return {key: MASK if is_secret(key) else one for key, one in value.items()}
    if name == "channels":
        return {pattern: msgspec.structs.asdict(limits) for pattern, limits in value.items()}
    return value
