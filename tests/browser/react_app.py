"""What the tests of hooks and of the classic script open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trunkline import Trunkline

HERE = Path(__file__).parent
HEAD = '<!doctype html><meta charset="utf-8"><title>hooks</title><link rel="icon" href="data:,">'
REACT = (
    HEAD
    + """
<script src="/react.js"></script><script src="/react-dom.js"></script>
<script type="importmap">{"imports": {"react": "/react-module.js"}}</script>
<div id="root"></div>
<script type="module">
  import { Trunkline } from "/trunkline.js";
  import * as hooks from "/hooks.js";
  const { createElement: h, useState } = React;
  window.line = new Trunkline("/");
  function Room({ channel, item }) {
    const { messages } = hooks.useChannel(channel, { position: "0", keep: 3 });
    const { value, removed } = hooks.useEntity("things", item);
    const members = hooks.usePresence("/room");
    const { status } = hooks.useStatus();
    return h("div", { id: "room", "data-status": status },
      h("p", { id: "messages" }, messages.map((one) => one.data).join(",")),
      h("p", { id: "value" }, value === undefined ? "…" : removed ? "gone" : String(value)),
      h("p", { id: "members" }, String(members.length)));
  }
  function App() {
    const [shown, setShown] = useState({ channel: "/room", item: "1" });
    window.show = setShown;
    const room = shown && h(Room, shown);
    return h(React.StrictMode, null, h(hooks.TrunklineProvider, { line }, room));
  }
  ReactDOM.createRoot(document.getElementById("root")).render(h(App));
</script>"""
)
CLASSIC = (
    HEAD
    + """
<script>window.trunkline = { mine: true };</script>
<script src="/trunkline.global.js"></script>
<script>
  window.got = [];
  window.kept = trunkline.noConflict();
  window.line = new kept.Trunkline("/", { share: "classic" });
  line.subscribe("/room", (message) => got.push(message.data), { position: "0" });
  window.shown = [];
  line.watch("things", "1", ({ value }) => shown.push(value));
  window.there = [];
  line.presence("/room", ({ members }) => there.push(members.length));
</script>"""
)
MODULE = """export const {
  createContext, createElement, useContext, useEffect, useRef, useState,
} = React;"""
FILES: dict[str, tuple[bytes, bytes]] = {
    "/": (b"text/html", REACT.encode()),
    "/classic": (b"text/html", CLASSIC.encode()),
    "/react-module.js": (b"text/javascript", MODULE.encode()),
    "/hooks.js": (
        b"text/javascript",
        (HERE.parents[1] / "clients/js/react.js").read_bytes(),
    ),
    "/react.js": (
        b"text/javascript",
        (HERE / "node_modules/react/umd/react.development.js").read_bytes(),
    ),
    "/react-dom.js": (
        b"text/javascript",
        (HERE / "node_modules/react-dom/umd/react-dom.development.js").read_bytes(),
    ),
}

line = Trunkline(presence="/room")
values: dict[str, Any] = {}


@line.entity("things")
async def things(key: Any, viewer: Any) -> Any:
    return values.get(key.id)


async def site(scope: Any, receive: Any, send: Any) -> None:
    """Serve the pages, and change things."""
    if scope["type"] != "http":
        return
    kind, body = FILES.get(scope["path"], (b"text/plain", b""))
    if scope["path"] == "/thing":
        key_id, values[key_id] = json.loads((await receive())["body"])
        await line.changed("things", key_id)
    elif scope["path"] == "/say":
        await line.publish(*json.loads((await receive())["body"]))
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = line.gateway(open=True, wrapped=site)
