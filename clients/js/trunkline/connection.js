/**
 * Keep one connection alive: try transports, watch over the one in use, come back when it ends.
 *
 * It owns the timers and the transport; what arrives goes to `receiver`, unread. A shared
 * connection for several tabs would stand here.
 */

import { judge, Lifecycle } from "./lifecycle.js";
import { problem, TrunklineError } from "./surroundings.js";

const CONNECT_TIMEOUT = 10_000;
const WATCH = 5_000;
const RESTING = new Set(["closed", "paused", "stopped"]);

/** The connection under a line's subscriptions. */
export class Connection {
  status = "closed";
  #env;
  #kinds;
  #context;
  #receiver;
  #lifecycle;
  #heartbeat;
  #backoff;
  #link = null; // the connection or the attempt: {name, transport, isOpen, heard, probed}
  #announced = null;
  #timer = null; // ends an attempt, or starts the next one
  #watch = null;
  #unlisten = null;
  #isExpired = false; // what the server last said of our credentials

  /**
   * @param {object} parts
   * @param {object} parts.env the surroundings
   * @param {Map<string, Function>} parts.kinds transports by name, best first
   * @param {object} parts.context what transports need to know: url, clientId, headers …
   * @param {object} parts.receiver hears ready, message, position, gap, refused, failed, changed,
   *   and gives the present subscriptions
   */
  constructor({ env, kinds, context, receiver, heartbeat, backoff }) {
    this.#env = env;
    this.#context = context;
    this.#receiver = receiver;
    this.#heartbeat = heartbeat;
    this.#backoff = backoff;
    this.use(kinds);
  }

  /** Use these transports from now on, at once if connected or about to be. */
  use(kinds) {
    this.#kinds = kinds;
    const transports = [...kinds.keys()];
    this.#lifecycle = new Lifecycle({ transports, random: this.#env.random, ...this.#backoff });
    if (!RESTING.has(this.status)) this.restart(0);
  }

  /** The name of the transport in use or being tried, or null. */
  get transport() {
    return this.#link?.via ?? this.#link?.name ?? null;
  }

  /** Serve more subscriptions, connecting if need be. */
  add(subs) {
    if (this.#link) this.#link.transport?.add(subs);
    else if (this.#timer === null) this.#connect();
  }

  /** Serve these no longer. */
  remove(subs) {
    this.#link?.transport?.remove(subs);
  }

  /** Watch more entities, connecting if need be. */
  watch(entities) {
    if (this.#link) this.#watchOn(this.#link, entities);
    else if (this.#timer === null) this.#connect();
  }

  /** Watch these entities no longer. */
  unwatch(entities) {
    this.#link?.transport?.unwatch?.(entities);
  }

  /** Follow the presence of more channels, connecting if need be. */
  follow(channels) {
    if (this.#link) this.#link.transport?.follow?.(channels);
    else if (this.#timer === null) this.#connect();
  }

  /** Follow these no longer. */
  unfollow(channels) {
    this.#link?.transport?.unfollow?.(channels);
  }

  /** Go on with another secret. */
  secret(text) {
    this.#link?.transport?.secret?.(text);
  }

  #watchOn(link, entities) {
    if (!link.transport) return undefined; // being loaded: it begins with all there is
    if (typeof link.transport.watch === "function") return link.transport.watch(entities);
    const detail = `entities come over websocket or sse, and ${link.name} is in use`;
    return this.#receiver.failed(new TrunklineError(detail, { code: "watch-unsupported", transport: link.name }));
  }

  /** Drop the connection and come back, `after` so many milliseconds. */
  restart(after) {
    this.#drop();
    if (after > 0) this.#wait(after, "asked to");
    else this.#connect();
  }

  /** Drop the connection and stay away. */
  rest(status = "closed") {
    this.#drop();
    this.#env.clearTimeout(this.#watch);
    this.#unlisten?.();
    this.#watch = this.#unlisten = null;
    this.#become(status);
  }

  #connect(name = this.#lifecycle.choose(this.#env.now())) {
    this.#drop();
    this.#attend();
    const link = { name, isOpen: false, heard: this.#env.now(), probed: null, transport: null };
    const kind = this.#kinds.get(name);
    const context = { ...this.#context, env: this.#env, problem, sink: this.#sink(link) };
    this.#link = link;
    this.#timer = this.#env.setTimeout(() => {
      this.#ended(link, { reason: "the server did not answer in time" });
    }, CONNECT_TIMEOUT);
    this.#become("connecting");
    if (this.#link !== link) return; // a listener decided otherwise
    const failed = (error) => this.#ended(link, { reason: String(error?.message ?? error) });
    const { authorize } = this.#context;
    try {
      if (!authorize && !kind.load) this.#start(link, kind, context);
      else {
        const asked = [kind.load?.() ?? kind, authorize?.({ isExpired: this.#isExpired })];
        Promise.all(asked).then(([Transport, given]) => {
          if (this.#link !== link) return;
          this.#start(link, Transport, { ...context, ...authorized(this.#context, given) });
        }).catch(failed);
      }
    } catch (error) {
      failed(error);
    }
  }

  #start(link, Transport, context) {
    link.transport = new Transport(context);
    link.transport.start(this.#receiver.subscriptions());
    const entities = this.#context.watches();
    if (entities.length > 0 && !link.transport.watch) this.#watchOn(link, entities);
  }

  #drop() {
    this.#env.clearTimeout(this.#timer);
    this.#timer = null;
    const link = this.#link;
    this.#link = null;
    link?.transport?.close();
  }

  #opened(link) {
    if (link.isOpen) return;
    link.isOpen = true;
    this.#isExpired = false;
    this.#env.clearTimeout(this.#timer);
    this.#timer = null;
    this.#lifecycle.opened(link.name, this.#env.now());
    this.#become("live");
  }

  #ended(link, { retry = null, reason = "", status = null, problem: found = null }) {
    if (this.#link !== link) return;
    this.#drop();
    const isExpired = status === 401 || reason === "expired";
    if (isExpired && this.#context.authorize && !this.#isExpired) {
      this.#isExpired = true; // once: then it is a failure like any other
      this.#wait(0, reason);
      return;
    }
    if (found) {
      const { code, detail } = found;
      this.#receiver.failed(new TrunklineError(detail, { code, status, transport: link.name }));
      if (this.#link || this.#timer !== null || this.status === "closed") return; // a listener acted
    }
    const end = { opened: link.isOpen, retry, now: this.#env.now() };
    const decision = this.#lifecycle.ended(link.name, end);
    if (decision.connect) this.#connect(decision.connect);
    else this.#wait(decision.wait, reason);
  }

  #wait(ms, reason) {
    this.#attend();
    this.#timer = this.#env.setTimeout(() => {
      this.#timer = null;
      this.#connect();
    }, ms);
    this.#become(this.#env.online() ? "waiting" : "offline", { reason, retryIn: ms });
  }

  #become(status, detail = {}) {
    const previous = this.status;
    const { transport } = this;
    if (status === previous && transport === this.#announced && !detail.retryIn) return;
    this.status = status;
    this.#announced = transport;
    this.#receiver.changed({ status, previous, transport, reason: "", retryIn: null, ...detail });
  }

  // ── watching over the connection ──

  #attend() {
    this.#unlisten ??= this.#env.listen((what) => this.#noticed(what));
    if (this.#watch !== null) return;
    const due = this.#env.now() + WATCH;
    this.#watch = this.#env.setTimeout(() => {
      this.#watch = null;
      this.#attend();
      this.#check({ late: this.#env.now() - due });
    }, WATCH);
  }

  #noticed(what) {
    if (this.#link) this.#check({ shaken: what !== "visible" });
    else if (what !== "offline") this.#hurry();
  }

  /** Connect now instead of after the waiting time, unless the server asked for that time. */
  #hurry() {
    if (this.#timer === null || this.#lifecycle.woken(this.#env.now()) > 0) return;
    this.#connect();
  }

  #check({ late = 0, shaken = false }) {
    const link = this.#link;
    if (!link) {
      if (late > WATCH) this.#hurry();
      return;
    }
    if (!link.isOpen) return; // the connect timeout watches over it
    const now = this.#env.now();
    const heartbeat = Math.max(this.#heartbeat, link.transport.rhythm ?? 0);
    const { heard, probed } = link;
    const canProbe = typeof link.transport.probe === "function";
    switch (judge({ now, heard, probed, heartbeat, late, shaken, canProbe })) {
      case "dead":
        return this.#ended(link, { retry: 0, reason: "nothing was heard any more" });
      case "probe":
        link.probed = now;
        return link.transport.probe();
      default:
        return this.#prefer(link, now);
    }
  }

  #prefer(link, now) {
    const better = this.#lifecycle.better(link.name, now);
    if (better) this.#connect(better);
  }

  // ── what transports report: only that of the present link counts ──

  #sink(link) {
    const receiver = this.#receiver;
    const when = (act) => (...values) => {
      if (this.#link === link) act(...values);
    };
    return {
      heard: when(() => {
        link.heard = this.#env.now();
        link.probed = null;
      }),
      up: when(() => this.#opened(link)),
      ready: when((subs, frame) => {
        if (frame.heartbeat > 0) this.#heartbeat = frame.heartbeat;
        receiver.ready(subs, frame.position);
        this.#opened(link);
      }),
      message: when((message, subs, scope) => receiver.message(message, subs, scope)),
      position: when((position, subs) => receiver.position(position, subs)),
      gap: when((notice, subs) => receiver.gap(notice, subs)),
      refused: when((refusals, subs) => receiver.refused(refusals, subs)),
      entity: when((frame) => receiver.entity(frame)),
      status: when(({ status, transport }) => {
        link.isOpen = true;
        link.via = transport;
        this.#env.clearTimeout(this.#timer);
        this.#timer = null;
        this.#become(status);
      }),
      hand: when((kind, value, subs) => receiver.hand(kind, value, subs)),
      presence: when((frame) => receiver.presence(frame)),
      unwatched: when((refusals) => receiver.unwatched(refusals ?? [])),
      error: when((code, detail) => {
        receiver.failed(new TrunklineError(detail, { code, transport: link.name }));
      }),
      ended: (end) => this.#ended(link, end),
    };
  }
}

/** Return what transports need of the context with fresh credentials in it. */
function authorized(context, given) {
  const { headers = {}, query = {} } = given ?? {};
  return {
    headers: { ...context.headers, ...headers },
    url: (path, more) => context.url(path, { ...more, ...query }),
  };
}
