"""What the browser tests open: a gateway that wraps a page with the real client on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from trunkline import Trunkline

MODULES = Path(__file__).parent / "node_modules"
PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<link rel="icon" href="data:,">
<script>
  window.got = [];
  window.parsed = "";
  const parse = JSON.parse;
  JSON.parse = (text, ...rest) => {{ parsed += text; return parse(text, ...rest); }};
</script>
{scripts}"""
MESSAGE_BUS = """<script src="/jquery.js"></script><script src="/message-bus.js"></script>
<script>
  Object.assign(MessageBus, {
    callbackInterval: 150, backgroundCallbackInterval: 200, minPollInterval: 20,
    minHiddenPollInterval: 50, maxPollInterval: 600, firstChunkTimeout: 10000,
  });
  function listen(channel, lastId) {
    const push = (data, globalId, messageId) => got.push([channel, data, messageId]);
    return MessageBus.subscribe(channel, push, lastId);
  }
  function show(visible) {
    for (const name of ["hidden", "webkitHidden"]) {
      Object.defineProperty(document, name, { value: !visible, configurable: true });
    }
    document.dispatchEvent(new Event("visibilitychange"));
  }
</script>"""
NATIVE = """<script type="module">
  import * as trunkline from "/trunkline.js";
  Object.assign(window, trunkline, { ready: true });
</script>"""
FILES: dict[str, tuple[str, bytes]] = {
    "/": ("text/html", PAGE.format(title="message-bus-client", scripts=MESSAGE_BUS).encode()),
    "/native": ("text/html", PAGE.format(title="trunkline.js", scripts=NATIVE).encode()),
    "/jquery.js": ("text/javascript", (MODULES / "jquery/dist/jquery.js").read_bytes()),
    "/message-bus.js": (
        "text/javascript",
        (MODULES / "message-bus-client/assets/message-bus.js").read_bytes(),
    ),
}

line = Trunkline()


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Serve the pages, and turn the gateway's switches while it runs."""
    if scope["type"] != "http":
        return
    kind, body = FILES.get(scope["path"], ("text/plain", b""))
    if scope["path"] == "/switch":
        for name, value in parse_qsl(scope["query_string"].decode()):
            setattr(line.gateway_options, name, msgspec.json.decode(value))
    headers = [(b"content-type", f"{kind}; charset=utf-8".encode())]
    found = 200 if body or scope["path"] == "/switch" else 404
    await send({"type": "http.response.start", "status": found, "headers": headers})
    await send({"type": "http.response.body", "body": body})


gateway = line.gateway(open=True, wrapped=page)
