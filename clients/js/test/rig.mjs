/** What the tests stand on: a virtual clock, a log, and a gateway that speaks WebSocket frames. */

import { matcher } from "../trunkline/ledger.js";

/** Timers that fire when told, in due order. */
export class Clock {
  time = 1_000_000;
  #timers = new Map();
  #nextId = 1;

  setTimeout = (act, ms) => {
    const id = this.#nextId++;
    this.#timers.set(id, { due: this.time + Math.max(0, ms), act });
    return id;
  };
  clearTimeout = (id) => this.#timers.delete(id);
  now = () => this.time;

  /** Let `ms` pass, firing what falls due and letting promises settle in between. */
  async pass(ms) {
    const end = this.time + ms;
    for (;;) {
      await settle();
      const next = [...this.#timers].sort((a, b) => a[1].due - b[1].due)[0];
      if (!next || next[1].due > end) break;
      this.#timers.delete(next[0]);
      this.time = Math.max(this.time, next[1].due);
      next[1].act();
    }
    this.time = end;
    await settle();
  }

  /** Sleep like a laptop: time goes on, timers fire only afterwards. */
  async sleep(ms) {
    this.time += ms;
    await this.pass(0);
  }
}

export const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Poll real time until `test` holds. */
export async function until(test, what = "the condition") {
  const deadline = Date.now() + 10_000;
  while (!test()) {
    if (Date.now() > deadline) throw new Error(`${what} did not come about`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** An ordered log in memory, with an epoch and channels that can be trimmed. */
export class Log {
  epoch = "e1";
  messages = [];
  floor = 0;
  #globalId = 0;
  #counters = new Map();
  listeners = new Set();

  publish(channel, data) {
    const message_id = (this.#counters.get(channel) ?? 0) + 1;
    this.#counters.set(channel, message_id);
    const global_id = ++this.#globalId;
    const message = { channel, message_id, global_id, published_at: 0, data };
    this.messages.push(message);
    for (const listener of [...this.listeners]) listener(message);
    return message;
  }

  get head() {
    return `${this.epoch}-${this.#globalId}`;
  }

  last(channel) {
    return this.#counters.get(channel) ?? 0;
  }

  /** Return where reading from `text` starts, its messages, and the gap if there is one. */
  read(name, text, last = 0) {
    const own = this.messages.filter((message) => matcher(name)(message.channel));
    if (last > 0) {
      const some = own.slice(-last);
      return { start: `${this.epoch}-${some.length ? some[0].global_id - 1 : this.#globalId}`, some };
    }
    if (text === null) return { start: this.head, some: [] };
    if (text === "0") return { start: `${this.epoch}-0`, some: own };
    const [epoch, id] = text.split("-");
    if (epoch !== this.epoch) return { start: `${this.epoch}-${this.floor}`, some: own, gap: "reset" };
    const start = Math.max(Number(id), this.floor);
    const some = own.filter((message) => message.global_id > start);
    return { start: `${this.epoch}-${start}`, some, gap: Number(id) < this.floor ? "trimmed" : null };
  }

  trim(globalId) {
    this.messages = this.messages.filter((message) => message.global_id > globalId);
    this.floor = globalId;
  }

  reset(epoch) {
    this.epoch = epoch;
    this.messages = [];
    this.floor = this.#globalId = 0;
    this.#counters.clear();
  }
}

/** A gateway for WebSockets whose frames travel only when `step` or `flush` says so. */
export class Gateway {
  isUp = true;
  sockets = [];
  requests = [];
  denied = new Set();
  isSilent = false;
  fails = null; // an error to answer subscriptions with; `id: "own"` stands for the request's

  constructor(log) {
    this.log = log;
    log.listeners.add((message) => {
      for (const socket of this.sockets) socket.live(message);
    });
    const gateway = this;
    this.WebSocket = class extends FakeSocket {
      constructor(url) {
        super(url, gateway);
        gateway.sockets.push(this);
      }
    };
  }

  /** Move one frame on each way; returns whether anything moved. */
  step() {
    return [...this.sockets].map((socket) => socket.step()).some(Boolean);
  }

  async flush() {
    do await settle();
    while (this.step());
    await settle();
  }

  /** Cut every connection; what was on its way is lost. */
  kill(code = 1006) {
    for (const socket of [...this.sockets]) socket.end(code);
  }
}

class FakeSocket {
  #gateway;
  #isOpen = false;
  #inbound = [];
  #outbound = [];
  #names = new Set();

  constructor(url, gateway) {
    this.url = url;
    this.#gateway = gateway;
  }

  send(text) {
    if (!this.#isOpen) throw new Error("not open");
    this.#inbound.push(JSON.parse(text));
  }

  close() {
    this.#gateway.sockets = this.#gateway.sockets.filter((socket) => socket !== this);
  }

  end(code) {
    this.close();
    this.onclose?.({ code, reason: "" });
  }

  push(frame) {
    this.#outbound.push(frame);
  }

  live(message) {
    if ([...this.#names].some((name) => matcher(name)(message.channel))) {
      this.push({ type: "message", ...message });
    }
  }

  step() {
    if (!this.#isOpen) {
      if (this.#gateway.isSilent) return false;
      if (!this.#gateway.isUp) this.end(1006);
      else {
        this.#isOpen = true;
        this.onopen?.();
      }
      return true;
    }
    const request = this.#inbound.shift();
    if (request) this.#answer(request);
    if (this.#gateway.isSilent) return Boolean(request);
    const frame = this.#outbound.shift();
    if (frame) this.onmessage?.({ data: JSON.stringify(frame) });
    return Boolean(request || frame);
  }

  #answer(request) {
    const { log, denied } = this.#gateway;
    this.#gateway.requests.push(request);
    if (request.type === "secret") return undefined;
    if (request.type === "ping") return this.push({ id: request.id, type: "pong", position: log.head });
    if (request.type === "unsubscribe") {
      for (const name of request.channels) this.#names.delete(name);
      return this.push({ id: request.id, type: "unsubscribed", channels: request.channels });
    }
    const { fails } = this.#gateway;
    if (fails) return this.push({ type: "error", ...fails, id: fails.id && request.id });
    const asked =
      request.type === "resume"
        ? Object.entries(request.channels)
        : request.channels.map((name) => [name, request.position ?? null]);
    const refused = asked.filter(([name]) => denied.has(name));
    const fresh = asked.filter(([name]) => !denied.has(name) && !this.#names.has(name));
    const reads = fresh.map(([name, text]) => ({ name, ...log.read(name, text, request.last) }));
    const start = reads.length ? reads[0].start : log.head;
    this.push({
      id: request.id,
      type: "subscribed",
      channels: asked.map(([name]) => name).filter((name) => !denied.has(name)),
      refused: refused.map(([channel]) => ({ channel, code: "access-denied", detail: "not yours" })),
      position: start,
    });
    for (const { name, some, gap, start: position } of reads) {
      if (gap) this.push({ type: "gap", reason: gap, channels: [name], position });
      for (const message of some) this.push({ type: "message", ...message });
      this.#names.add(name);
    }
    return this.push({ id: request.id, type: "live", position: log.head });
  }
}

/** Surroundings for a line that live on a virtual clock. */
export function world({ clock = new Clock(), random = () => 0.5, ...rest } = {}) {
  const signals = new Set();
  const reports = [];
  const env = {
    fetch: undefined,
    WebSocket: undefined,
    setTimeout: clock.setTimeout,
    clearTimeout: clock.clearTimeout,
    now: clock.now,
    random,
    online: () => true,
    location: () => "http://line.test/",
    report: (error) => reports.push(error),
    listen: (act) => {
      signals.add(act);
      return () => signals.delete(act);
    },
    ...rest,
  };
  return { env, clock, reports, signal: (what) => [...signals].forEach((act) => act(what)) };
}

/** A small seeded generator (mulberry32), so that a failing case can be run again. */
export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
