"""An application on a line in memory, to be put behind any ASGI server."""

from __future__ import annotations

from trunkline.app import Trunkline

KEY = "a-key-for-tests"

line = Trunkline("memory://", publish_keys=[KEY], long_polling_interval=1.0)
app = line.gateway(open=True)
