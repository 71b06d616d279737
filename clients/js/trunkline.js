/**
 * Trunkline's browser client: subscriptions that survive whatever happens to the connection.
 *
 *     import { Trunkline } from "/trunkline.js";
 *     const line = new Trunkline("/");
 *     line.subscribe("/chat/7", (message) => console.log(message.data), { last: 20 });
 *
 * This module joins the parts: `ledger` knows positions, `lifecycle` decides when to connect,
 * and each transport carries the same subscriptions its own way.
 */

import { Connection } from "./trunkline/connection.js";
import { Events } from "./trunkline/events.js";
import { isPattern, matcher, parsePosition, Place } from "./trunkline/ledger.js";
import { Presences } from "./trunkline/presences.js";
import { identifier, remembered, surroundings, TrunklineError } from "./trunkline/surroundings.js";
import { choose, DEFAULT_ORDER, SHARED } from "./trunkline/transports.js";
import { nameOf, Watches } from "./trunkline/watches.js";

export { TrunklineError };

/** A connection to one gateway, shared by any number of subscriptions. */
export class Trunkline {
  #env;
  #connection;
  #events;
  #subs = new Set();
  #fresh = new Set(); // subscribed in this turn, not yet handed to the connection
  #watches = new Watches((callback, value) => this.#events.call(callback, value));
  #beginning = new Map(); // watched in this turn, not yet asked for
  #presences = new Presences((callback, value) => this.#events.call(callback, value));
  #secret = null;
  #isClosed = false;
  #halt = null; // "paused" or "stopped"

  constructor(base = "/", options = {}) {
    this.#env = { ...surroundings(), ...options.env };
    this.#events = new Events(this.#env);
    const root = new URL(base.endsWith("/") ? base : `${base}/`, this.#env.location());
    // Tabs share a connection only where the browser can say which of them leads.
    const share = options.share && SHARED.supported(this.#env) && `trunkline.v1 ${options.share} ${root.href}`;
    this.clientId = options.clientId ?? (share ? remembered(this.#env, share) : identifier(this.#env.random));
    if (options.autoStart === false) this.#halt = "stopped";
    this.#connection = new Connection({
      env: this.#env,
      kinds: choose(share ? [SHARED] : (options.transports ?? DEFAULT_ORDER), this.#env),
      receiver: this.#receiver(),
      heartbeat: options.heartbeat ?? 15_000,
      backoff: options.backoff,
      context: {
        clientId: this.clientId,
        headers: options.headers ?? {},
        credentials: options.credentials ?? "same-origin",
        pollInterval: options.pollInterval ?? 5_000,
        hiddenPollInterval: options.hiddenPollInterval ?? 60_000,
        minPollInterval: options.minPollInterval ?? 100,
        streaming: options.streaming ?? true,
        firstChunkTimeout: options.firstChunkTimeout ?? 3_000,
        retryStreamingAfter: options.retryStreamingAfter ?? 30,
        mayHold: options.mayHold ?? (() => true),
        authorize: options.authorize,
        share,
        lineOf: () => new Trunkline(base, { ...options, share: null, autoStart: true, clientId: this.clientId }),
        follows: () => this.#presences.names,
        watches: () => this.#watches.named,
        secret: () => this.#secret,
        url: (path, query = {}) => {
          const url = new URL(path, root);
          for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
          return url;
        },
      },
    });
  }

  /** connecting, live, waiting (for the next attempt), offline or closed. */
  get status() {
    return this.#isClosed ? "closed" : (this.#halt ?? this.#connection.status);
  }

  /** The transport in use or being tried, or null. */
  get transport() {
    return this.#connection.transport;
  }

  /** The secret that the application's fetch is given, or null. */
  get secret() {
    return this.#secret;
  }

  /** The position that resumes all present subscriptions, or null while one has none. */
  get position() {
    const places = [...this.#subs].map((sub) => sub.place);
    if (places.length === 0 || places.some((place) => !parsePosition(place.text))) return null;
    if (new Set(places.map((place) => place.epoch)).size > 1) return null;
    return places.reduce((a, b) => (b.globalId < a.globalId ? b : a)).text;
  }

  /**
   * Receive a channel's messages, or those of every channel that matches a pattern.
   *
   * @param {string} channel a name such as `/chat/7`, or a pattern such as `/chat/**`
   * @param {(message: object) => void} callback
   * @param {object} [start] `position` to resume from ("0" is the oldest kept), or `last` N first;
   *   neither means from now; `onGap` and `onRefused` hear what concerns this subscription
   */
  subscribe(channel, callback, { position = null, last = null, place = null, onGap, onRefused } = {}) {
    if (this.#isClosed) throw new TrunklineError("this line is closed", { code: "closed" });
    if (typeof channel !== "string" || !channel.startsWith("/")) {
      throw new TypeError(`a channel starts with "/": ${String(channel)}`);
    }
    if (typeof callback !== "function") throw new TypeError("subscribe needs a callback");
    if (last !== null && isPattern(channel)) throw new TypeError("last needs a channel, not a pattern");
    const sub = {
      name: channel,
      isPattern: isPattern(channel),
      matches: matcher(channel),
      place: place ? new Place().restore(place) : new Place({ position, last }),
      callback,
      onGap,
      onRefused,
    };
    this.#subs.add(sub);
    // Everything subscribed in one turn of the event loop goes out in one request.
    if (this.#fresh.size === 0) queueMicrotask(() => this.#admit());
    this.#fresh.add(sub);
    return {
      channel,
      get position() {
        return sub.place.text;
      },
      get state() {
        return sub.place.state;
      },
      unsubscribe: () => this.#forget(sub),
    };
  }

  /**
   * Unsubscribe by channel, or by the beginning of channels' names; only a callback's, if one is given.
   *
   * @param {string|{prefix: string}} which a channel or pattern as it was subscribed, or `{prefix: "/chat/"}`
   * @param {Function} [callback]
   * @returns {number} how many subscriptions that were
   */
  unsubscribe(which, callback = null) {
    const isMeant = (name) => (typeof which === "string" ? name === which : name.startsWith(which.prefix));
    const gone = [...this.#subs].filter((sub) => isMeant(sub.name) && (!callback || sub.callback === callback));
    for (const sub of gone) this.#forget(sub);
    return gone.length;
  }

  /**
   * Be told who is on a channel: those there now, then each change.
   *
   * @param {string} channel a name, no pattern
   * @param {(change: object) => void} callback called with `{channel, members, joined, left}`
   */
  presence(channel, callback, { onRefused } = {}) {
    if (this.#isClosed) throw new TrunklineError("this line is closed", { code: "closed" });
    if (typeof callback !== "function") throw new TypeError("presence needs a callback");
    const listener = { callback, onRefused };
    if (this.#presences.add(channel, listener) && !this.#halt) this.#connection.follow([channel]);
    const presences = this.#presences;
    return {
      channel,
      get members() {
        return presences.members(channel);
      },
      unfollow: () => {
        if (presences.remove(channel, listener) && !this.#restIfIdle()) this.#connection.unfollow([channel]);
      },
    };
  }

  /**
   * Be shown an entity: its present state, and each that follows.
   *
   * @param {string} entity its kind, such as `items`
   * @param {string} id which one
   * @param {(state: object) => void} callback called with `{entity, id, version, removed, value, rows}`
   * @param {object} [options] `onError` hears that the state cannot be had now, and `onRefused` that
   *   it is not to be seen
   */
  watch(entity, id, callback, { onError, onRefused, version } = {}) {
    if (this.#isClosed) throw new TrunklineError("this line is closed", { code: "closed" });
    if (typeof entity !== "string" || typeof id !== "string" || entity === "" || id === "") {
      throw new TypeError(`an entity and its id are texts: ${String(entity)}, ${String(id)}`);
    }
    if (typeof callback !== "function") throw new TypeError("watch needs a callback");
    const listener = { callback, onError, onRefused };
    const fresh = this.#watches.add(entity, id, listener, version);
    if (fresh) {
      if (this.#beginning.size === 0) queueMicrotask(() => this.#begin());
      this.#beginning.set(nameOf(fresh), fresh);
    }
    const watches = this.#watches;
    return {
      entity,
      id,
      get version() {
        return watches.version(entity, id);
      },
      unwatch: () => this.#leave(entity, id, listener),
    };
  }

  /** Set the secret that the application's fetch is given, or null; what is watched is asked anew. */
  setSecret(text) {
    if (text !== null && typeof text !== "string") throw new TypeError("a secret is a text or null");
    this.#secret = text;
    this.#connection.secret(text);
  }

  /** Hear an event; returns a function that stops it. */
  on(name, listener) {
    return this.#events.on(name, listener);
  }

  /** Drop the connection and resume: at once, or `after` so many milliseconds. */
  reconnect({ after = 0 } = {}) {
    if (!this.#halt && !this.#isIdle) this.#connection.restart(after);
  }

  /** Use other transports from now on; subscriptions resume where they stand. */
  use(transports) {
    this.#connection.use(choose(transports, this.#env));
  }

  /** Receive nothing for a while. `resume` goes on where each subscription stands: nothing waits in memory. */
  pause() {
    this.#stay("paused");
  }

  /** Go on after `pause` or `stop`. */
  resume() {
    if (this.#isClosed || !this.#halt) return;
    this.#halt = null;
    this.#fresh.clear();
    this.#beginning.clear();
    if (!this.#isIdle) this.#connection.restart(0);
  }

  /** Drop the connection until `start`; what is subscribed stays, and goes on where it stands. */
  stop() {
    this.#stay("stopped");
  }

  /** Connect, after `stop` or with `autoStart: false`. */
  start() {
    this.resume();
  }

  /** What is going on and what happened last, for people. */
  diagnostics() {
    const { status, transport, clientId } = this;
    const subscriptions = [...this.#subs].map(({ name, place }) => ({ channel: name, position: place.text }));
    return { status, transport, clientId, subscriptions, watches: this.#watches.named, log: this.#events.log };
  }

  /** End the line for good. */
  close() {
    this.#isClosed = true;
    this.#subs.clear();
    this.#watches.clear();
    this.#presences.clear();
    this.#connection.rest();
  }

  #stay(how) {
    if (this.#isClosed || this.#halt === how) return;
    this.#halt = how;
    this.#connection.rest(how);
  }

  get #isIdle() {
    return this.#subs.size + this.#watches.size + this.#presences.size === 0;
  }

  #admit() {
    const fresh = [...this.#fresh].filter((sub) => this.#subs.has(sub));
    this.#fresh.clear();
    if (fresh.length > 0 && !this.#halt) this.#connection.add(fresh);
  }

  #forget(sub) {
    if (!this.#subs.delete(sub)) return;
    if (!this.#restIfIdle()) this.#connection.remove([sub]);
  }

  #begin() {
    const fresh = [...this.#beginning.values()].filter((one) => this.#watches.has(one));
    this.#beginning.clear();
    if (fresh.length > 0 && !this.#halt) this.#connection.watch(fresh);
  }

  #leave(entity, id, listener) {
    const gone = this.#watches.remove(entity, id, listener);
    if (gone && !this.#beginning.delete(nameOf(gone)) && !this.#restIfIdle()) this.#connection.unwatch([gone]);
  }

  #restIfIdle() {
    if (this.#isIdle && !this.#halt) this.#connection.rest();
    return this.#isIdle;
  }

  // ── what the connection reports ──

  #receiver() {
    return {
      subscriptions: () => {
        this.#fresh.clear();
        return [...this.#subs];
      },
      changed: (change) => this.#events.emit("status", change),
      failed: (error) => this.#events.emit("error", error),
      ready: (subs, position) => {
        const parsed = parsePosition(position);
        if (parsed) for (const sub of subs) sub.place.anchor(parsed);
        this.#events.emit("position", this);
      },
      position: (position, subs) => {
        const parsed = parsePosition(position);
        for (const { place } of subs) {
          if (place.epoch === parsed?.epoch) place.move(parsed.globalId);
        }
        this.#events.emit("position", this);
      },
      message: (message, subs, scope) => this.#deliver(message, subs, scope),
      gap: (notice, subs) => this.#gap(notice, subs),
      refused: (refusals, subs) => this.#refused(refusals, subs),
      hand: (kind, value, subs) => {
        const heard = subs.filter((sub) => this.#subs.has(sub));
        if (heard.length > 0) this.#hand(kind, value, heard);
      },
      presence: ({ channels, refused = [] }) => {
        for (const one of channels) this.#presences.take(one);
        for (const refusal of refused) this.#events.emit("refused", refusal);
        this.#presences.refuse(refused);
      },
      entity: (frame) => this.#watches.take(frame),
      unwatched: (refusals) => {
        for (const refusal of refusals) this.#events.emit("refused", refusal);
        this.#watches.refuse(refusals);
      },
    };
  }

  /**
   * Hand a message to its subscriptions, once each.
   *
   * @param {"all"|"own"|"none"} scope whose position it moves: that of all `subs`, of those it is
   *   for, or nobody's, because the order it came in promises nothing
   */
  #deliver(message, subs, scope) {
    const takers = [];
    for (const sub of subs) {
      if (!this.#subs.has(sub)) continue;
      const isOwn = sub.matches(message.channel);
      if (isOwn && sub.place.admits(message)) {
        sub.place.note(message);
        takers.push(sub);
      } else if (isOwn && !sub.isPattern) {
        sub.place.pass(message);
      }
      if (scope === "all" || (scope === "own" && isOwn)) sub.place.move(message.global_id);
    }
    if (takers.length === 0) return;
    this.#hand("message", message, takers);
  }

  /** Have a message, gap or refusal heard: by all, then by the subscriptions it is for. */
  #hand(kind, value, subs) {
    this.#events.emit(kind, value);
    const name = { message: "callback", gap: "onGap", refused: "onRefused" }[kind];
    for (const sub of subs) if (sub[name] && this.#subs.has(sub)) this.#events.call(sub[name], value);
  }

  #gap({ reason, channels = [], position = null }, subs) {
    const parsed = parsePosition(position);
    const losers = [...subs].filter((sub) => {
      return this.#subs.has(sub) && channels.includes(sub.name) && sub.place.lose(parsed, reason);
    });
    if (losers.length === 0) return;
    const names = [...new Set(losers.map((sub) => sub.name))];
    const gap = { reason, channels: names, position };
    this.#hand("gap", gap, losers);
  }

  #refused(refusals, subs) {
    for (const refusal of refusals) {
      this.#hand("refused", refusal, [...subs].filter((sub) => sub.name === refusal.channel));
    }
  }
}
