"""How endpoints fare, in Prometheus' text format (prometheus.io, "Exposition formats")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from trunkline.webhooks.endpoints import EndpointState
from trunkline.webhooks.tally import Tally

_HELP: Final = {
    "waiting": "Transmissions that wait for an endpoint, throttled ones too.",
    "sending": "Transmissions that are being sent.",
    "oldest_due_seconds": "For how long the oldest that waits has been due.",
    "success_ratio": "Part of the attempts within the last hour that delivered.",
    "enabled": "1 if an endpoint gets requests, 0 if it is disabled.",
    "failures": "Failures in a row.",
}


def expose(states: Sequence[EndpointState], *, now: float) -> str:
    """Return the metrics of endpoints.

    Args:
        states: The endpoints.
        now: Unix seconds.
    """
    return "".join(_families(states, now))


def _families(states: Sequence[EndpointState], now: float) -> Iterator[str]:
    for name, text in _HELP.items():
        yield f"# HELP trunkline_webhooks_{name} {text}\n# TYPE trunkline_webhooks_{name} gauge\n"
        for one in states:
            value = _value(name, one, now)
            if value is not None:
                yield f'trunkline_webhooks_{name}{{endpoint="{_label(one.id)}"}} {value:g}\n'


def expose_tally(tally: Tally) -> str:
    """Return what one process has delivered."""
    name = "trunkline_webhooks_attempts_total"
    lines = [f"# HELP {name} Attempts by outcome.\n# TYPE {name} counter\n"]
    lines += [
        f'{name}{{outcome="{_label(outcome)}"}} {count}\n'
        for outcome, count in sorted(tally.attempts.items())
    ]
    return "".join(lines)


def _value(name: str, one: EndpointState, now: float) -> float | None:
    if name == "oldest_due_seconds":
        return 0.0 if one.oldest_due is None else max(0.0, now - one.oldest_due)
    if name == "success_ratio":
        return one.success_rate
    if name == "enabled":
        return float(one.state == "enabled")
    return float(getattr(one, name))


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
