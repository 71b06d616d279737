/** Everything the client takes from where it runs; tests give their own. */

/** Return the page's (or the runtime's) network, clock, chance and signals. */
export function surroundings() {
  const page = globalThis;
  return {
    fetch: page.fetch && ((...request) => page.fetch(...request)),
    WebSocket: page.WebSocket,
    setTimeout: (act, ms) => page.setTimeout(act, ms),
    clearTimeout: (timer) => page.clearTimeout(timer),
    now: () => Date.now(), // goes on while the machine sleeps, which is what shows that it slept
    random: Math.random,
    locks: page.navigator?.locks,
    BroadcastChannel: page.BroadcastChannel,
    hidden: () => page.document?.visibilityState === "hidden",
    storage: () => page.localStorage,
    online: () => page.navigator?.onLine !== false,
    location: () => page.location?.href,
    report: page.reportError ? (error) => page.reportError(error) : (error) => console.error(error),
    listen: (act) => listen(page, act),
  };
}

/** Call `act` with "online", "offline" or "visible"; returns a function that stops it. */
function listen(page, act) {
  const online = () => act("online");
  const offline = () => act("offline");
  const visible = () => page.document?.visibilityState === "hidden" || act("visible");
  const bindings = [
    [page, "online", online],
    [page, "offline", offline],
    [page, "pageshow", visible],
    [page.document, "visibilitychange", visible],
  ];
  for (const [target, name, listener] of bindings) target?.addEventListener?.(name, listener);
  return () => {
    for (const [target, name, listener] of bindings) target?.removeEventListener?.(name, listener);
  };
}

/** Return 32 random hex digits. */
export function identifier(random) {
  return Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join("");
}

/** Say what went wrong, with the server's code and HTTP status where there is one. */
export class TrunklineError extends Error {
  constructor(message, { code = "error", status = null, transport = null } = {}) {
    super(message);
    this.name = "TrunklineError";
    this.code = code;
    this.status = status;
    this.transport = transport;
  }
}

/** Read a refusal: a problem document where the server sent one. */
export async function problem(response) {
  const fallback = { code: `http-${response.status}`, detail: `the server answered ${response.status}` };
  try {
    const body = await response.json();
    const code = String(body.type ?? "").split(":").pop() || fallback.code;
    return { code, detail: body.detail || body.title || fallback.detail };
  } catch {
    return fallback;
  }
}

/** Return the client id that all tabs of a shared line have: one connection is one client. */
export function remembered(env, share) {
  const fresh = identifier(env.random);
  try {
    const known = env.storage().getItem(share);
    if (!known) env.storage().setItem(share, fresh);
    return known ?? fresh;
  } catch {
    return fresh; // the browser keeps nothing for this page
  }
}
