/** The ways there are to the server, and which of them work here. */

import { TrunklineError } from "./surroundings.js";
import { WebSocketTransport } from "./websocket.js";

const needsFetch = (env) => typeof env.fetch === "function";
// What most pages never need is loaded when it is.
const SSE = {
  transport: "sse",
  supported: needsFetch,
  load: () => import("./sse.js").then((module) => module.SseTransport),
};
const POLL = {
  transport: "polling",
  supported: needsFetch,
  load: () => import("./poll.js").then((module) => module.PollTransport),
};
const LONG_POLL = {
  transport: "long-polling",
  supported: needsFetch,
  load: () => import("./poll.js").then((module) => module.LongPollTransport),
};
export const SHARED = {
  transport: "shared",
  supported: (env) => Boolean(env.locks && env.BroadcastChannel),
  load: () => import("./tabs.js").then((module) => module.TabTransport),
};
const TRANSPORTS = [WebSocketTransport, SSE, LONG_POLL, POLL];

export const DEFAULT_ORDER = ["websocket", "sse", "long-polling"];

/** Return the transports that work here, by name, in the order wanted. */
export function choose(wanted, env) {
  const found = new Map();
  for (const entry of wanted) {
    const kind =
      typeof entry === "string" ? TRANSPORTS.find((one) => one.transport === entry) : entry;
    if (!kind) {
      const names = TRANSPORTS.map((one) => one.transport).join(", ");
      throw new TypeError(`no transport ${entry}: there are ${names}`);
    }
    if (kind.supported(env)) found.set(kind.transport, kind);
  }
  if (found.size === 0) throw new TrunklineError("no transport works here", { code: "unsupported" });
  return found;
}
