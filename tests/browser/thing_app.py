"""What the entities' browser tests open: things that are kept on the line and watched by pages."""

from __future__ import annotations

import json
from typing import Any

from trunkline import Trunkline
from trunkline.errors import AccessDeniedError

PAGE = b"""<!doctype html><meta charset="utf-8"><title>things</title>
<link rel="icon" href="data:,">
<script type="module">
  import * as trunkline from "/trunkline.js";
  Object.assign(window, trunkline, { ready: true });
</script>"""

line = Trunkline()
fetched = 0


@line.entity("things")
async def things(key: Any, viewer: Any) -> Any:
    global fetched
    fetched += 1
    last = await line.last_message(f"/things/{key.id}")
    value = None if last is None else last.data
    if key.id == "denied":
        raise AccessDeniedError("not for you")
    if key.id == "broken" and value is None:
        raise LookupError("it lies in pieces")
    if key.id.startswith("secret") and viewer.secret != "sesame":
        return None
    return value


async def site(scope: Any, receive: Any, send: Any) -> None:
    """Serve the page, and change things."""
    if scope["type"] != "http":
        return
    kind, body = b"text/html", PAGE
    if scope["path"] == "/thing":
        key_id, value = json.loads((await receive())["body"])
        await line.publish(f"/things/{key_id}", value)
        await line.changed("things", key_id)
    elif scope["path"] == "/fetched":
        kind, body = b"application/json", json.dumps(fetched).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body})


app = line.gateway(open=True, wrapped=site)
