"""Applications that the tests put behind real servers; their settings come by environment."""

from __future__ import annotations

from trunkline import Request, Trunkline


def extra(request: Request) -> dict[str, str]:
    """Return a header that an application adds to every answer."""
    return {"x-shop": "open"}


line = Trunkline()
gateway = line.gateway(open=True, extra_headers=extra)
