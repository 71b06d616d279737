/** The WebSocket transport: one socket, requests answered by id, one catch-up at a time. */

import { cohorts, oldest } from "./ledger.js";

const MOST_NAMED = 200; // entities in one request: a frame is bounded
const PASSING = new Set(["internal", "log", "log-unavailable", "closed", "limit-exceeded"]);
const LASTING = /\bmax_(channels|subscriptions|watches)\b/; // limits that waiting does not lift

/** Serve subscriptions over one WebSocket. */
export class WebSocketTransport {
  static transport = "websocket";
  static supported = (env) => typeof env.WebSocket === "function";

  #context;
  #sink;
  #socket = null;
  #isOpen = false;
  #subs = new Set();
  #served = new Set(); // subscriptions the server has acknowledged on this socket
  #refused = new Set();
  #names = new Set(); // channels and patterns the server holds for this socket
  #request = null; // the catch-up under way
  #nextId = 1;
  #goodbye = null;
  #watches; // gives the entities to watch, as requests name them
  #asked = new Map(); // watch requests under way: their entities by id
  #secret = null;
  #followed = null; // the last request for presence

  constructor(context) {
    this.#context = context;
    this.#sink = context.sink;
    this.#watches = context.watches ?? (() => []);
    this.#secret = context.secret?.() ?? null;
  }

  /** Open the socket for these subscriptions. */
  start(subs) {
    for (const sub of subs) this.#subs.add(sub);
    const url = this.#context.url("ws", { client_id: this.#context.clientId });
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = (this.#socket = new this.#context.env.WebSocket(url.href));
    socket.onopen = () => {
      this.#isOpen = true;
      this.#sink.heard();
      if (this.#secret !== null) this.secret(this.#secret);
      this.watch(this.#watches());
      this.follow(this.#context.follows?.() ?? []);
      this.#pump();
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onerror = () => {}; // says nothing that the close event does not
    socket.onclose = (event) => this.#closed(event);
  }

  /** Serve more subscriptions on the same socket. */
  add(subs) {
    for (const sub of subs) this.#subs.add(sub);
    this.#pump();
  }

  /** Serve these no longer. */
  remove(subs) {
    for (const sub of subs) {
      for (const set of [this.#subs, this.#served, this.#refused]) set.delete(sub);
    }
    const wanted = new Set([...this.#subs].map((sub) => sub.name));
    this.#leave([...this.#names].filter((name) => !wanted.has(name)));
  }

  /** Watch these entities too. */
  watch(entities) {
    if (!this.#isOpen) return; // all are asked for when it opens
    for (let first = 0; first < entities.length; first += MOST_NAMED) {
      const some = entities.slice(first, first + MOST_NAMED);
      const id = this.#nextId++;
      this.#asked.set(id, some);
      this.#send({ id, type: "watch", entities: some });
    }
  }

  /** Watch these entities no longer. */
  unwatch(entities) {
    if (this.#isOpen) this.#send({ id: this.#nextId++, type: "unwatch", entities });
  }

  /** Be told who is on these channels. */
  follow(channels) {
    if (!this.#isOpen || channels.length === 0) return;
    this.#followed = this.#nextId++;
    this.#send({ id: this.#followed, type: "follow", channels });
  }

  /** Be told no longer. */
  unfollow(channels) {
    if (this.#isOpen) this.#send({ id: this.#nextId++, type: "unfollow", channels });
  }

  /** Set the secret that the application's fetch is given. */
  secret(text) {
    this.#secret = text;
    if (this.#isOpen) this.#send({ id: this.#nextId++, type: "secret", secret: text });
  }

  /** Ask for a sign of life. */
  probe() {
    if (this.#isOpen) this.#send({ id: this.#nextId++, type: "ping" });
  }

  /** Drop the socket and report nothing more. */
  close() {
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = null;
    this.#isOpen = false;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /**
   * Ask for what is not served yet. One request at a time: while one catches up, its messages are
   * the only ones that come, so it is always clear whose they are.
   */
  #pump() {
    if (!this.#isOpen || this.#request) return;
    this.#join();
    const waiting = [...this.#subs].filter((s) => !this.#served.has(s) && !this.#refused.has(s));
    if (waiting.length === 0) return;
    const [{ kind, count, subs }] = cohorts(waiting);
    const names = [...new Set(subs.map((sub) => sub.name))];
    // A channel already held moves for nobody: leave it, and let its other readers resume after.
    this.#leave(names.filter((name) => this.#names.has(name)));
    const others = [...this.#subs].filter((sub) => names.includes(sub.name));
    for (const sub of others) this.#served.delete(sub);
    const members = kind === "known" ? others.filter((sub) => sub.place.known) : subs;
    this.#request = { id: this.#nextId++, subs: members, names };
    this.#send({ id: this.#request.id, ...question(kind, count, names, members) });
  }

  /** Let beginners start where their channel's live reader stands, without asking. */
  #join() {
    for (const sub of this.#subs) {
      if (this.#served.has(sub) || sub.place.known || sub.place.last !== null) continue;
      const peer = [...this.#served].find((other) => other.name === sub.name);
      if (!peer || peer.place.text === "0") continue;
      this.#served.add(sub);
      this.#sink.ready([sub], { position: peer.place.text });
    }
  }

  #leave(names) {
    if (names.length === 0 || !this.#isOpen) return;
    for (const name of names) this.#names.delete(name);
    this.#send({ id: this.#nextId++, type: "unsubscribe", channels: names });
  }

  #send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  #receive(text) {
    this.#sink.heard();
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      this.#sink.error("bad-frame", "the server sent a frame that is no JSON");
      return;
    }
    switch (frame.type) {
      case "message":
        return this.#message(frame);
      case "position": // speaks of what is live, which nothing is for sure during a catch-up
        return this.#request ? undefined : this.#sink.position(frame.position, this.#served);
      case "subscribed":
        return this.#subscribed(frame);
      case "live":
        return this.#live(frame);
      case "gap":
        return this.#sink.gap(frame, new Set([...this.#served, ...(this.#request?.subs ?? [])]));
      case "entity":
      case "removed":
      case "failed":
        return this.#sink.entity(frame);
      case "watching":
        this.#asked.delete(frame.id);
        this.#sink.up();
        return this.#sink.unwatched(frame.refused);
      case "refused":
        return this.#sink.unwatched(frame.refused);
      case "following":
        this.#sink.up();
        return this.#sink.presence(frame);
      case "presence":
        return this.#sink.presence({ channels: [frame] });
      case "goodbye":
        this.#goodbye = frame;
        return undefined;
      case "error":
        return this.#failed(frame);
      default:
        return undefined; // pong, unsubscribed, and what later versions add
    }
  }

  #message(frame) {
    const { type: _, ...message } = frame;
    // Live messages come in one order over all channels, so each moves everyone. During a
    // catch-up only its own channel is known to be complete up to it; with patterns, which may
    // overlap, not even that.
    const scope = !this.#request ? "all" : this.#hasPattern() ? "none" : "own";
    this.#sink.message(message, this.#served, scope);
  }

  #hasPattern() {
    return [...this.#subs].some((sub) => sub.isPattern);
  }

  #subscribed(frame) {
    const request = this.#request;
    if (!request || frame.id !== request.id) return;
    const refusals = new Map((frame.refused ?? []).map((refusal) => [refusal.channel, refusal]));
    const accepted = [];
    for (const sub of request.subs) {
      if (!this.#subs.has(sub)) continue; // given up meanwhile
      if (refusals.has(sub.name)) this.#refused.add(sub);
      else accepted.push(sub);
    }
    for (const name of request.names) if (!refusals.has(name)) this.#names.add(name);
    for (const sub of accepted) this.#served.add(sub);
    this.#sink.ready(accepted, frame);
    this.#sink.refused([...refusals.values()], request.subs);
    this.remove([]); // leaves channels whose last reader went while the request was on its way
  }

  #live(frame) {
    const request = this.#request;
    if (!request || frame.id !== request.id) return;
    this.#request = null;
    this.#sink.position(frame.position, request.subs.filter((sub) => this.#served.has(sub)));
    this.#pump();
  }

  #failed(frame) {
    const { code = "error", detail = "the server reported an error" } = frame;
    this.#sink.error(code, detail);
    if (PASSING.has(code) && !LASTING.test(detail)) {
      // Without an id nobody knows which request it was: all are asked again on another connection.
      this.#sink.up();
      this.#sink.ended({ retry: null, reason: detail });
      return;
    }
    const asked = this.#asked.get(frame.id);
    if (asked) {
      this.#asked.delete(frame.id);
      this.#sink.unwatched(asked.map(({ entity, id }) => ({ entity, id, code, detail })));
    }
    const request = this.#request;
    if (!request || frame.id !== request.id) return;
    this.#request = null;
    for (const sub of request.subs) this.#refused.add(sub);
    this.#sink.refused(request.names.map((channel) => ({ channel, code, detail })), request.subs);
    this.#pump();
  }

  #closed(event) {
    this.#socket = null;
    this.#isOpen = false;
    const goodbye = this.#goodbye;
    const retry = typeof goodbye?.retry === "number" ? goodbye.retry : null;
    this.#sink.ended({ retry, reason: goodbye?.reason ?? event?.reason ?? "", code: event?.code });
  }
}

function question(kind, count, channels, subs) {
  if (kind === "now") return { type: "subscribe", channels, position: null };
  if (kind === "last") return { type: "subscribe", channels, position: null, last: count };
  const places = (name) => subs.filter((sub) => sub.name === name).map((sub) => sub.place);
  // Patterns may overlap: then all start at the oldest position, so that whichever part the
  // server sends first, no channel is entered in its middle.
  const shared = subs.some((sub) => sub.isPattern) ? oldest(subs.map((sub) => sub.place)) : null;
  const entries = channels.map((name) => [name, shared ?? oldest(places(name))]);
  return { type: "resume", channels: Object.fromEntries(entries) };
}
