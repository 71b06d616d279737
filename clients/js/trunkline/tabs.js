/**
 * One connection for all tabs of a browser.
 *
 * A Web Lock decides which tab leads: it holds a line of its own, and serves the others over a
 * BroadcastChannel. Every tab keeps its own subscriptions and where each stands, as the leader last
 * told it together with a message; so when another tab takes the lead, all come to it with their
 * places, and it goes on there: nothing is lost, nothing comes twice.
 */

import { identifier } from "./surroundings.js";

const PATIENCE = 4_000; // ms a leader may take to answer before it counts as frozen
const RHYTHM = 30_000; // ms it may be silent: while it polls it has nothing to pass on

/** Serve a tab's subscriptions through whichever tab leads. */
export class TabTransport {
  static transport = "shared";

  #context;
  #sink;
  #id;
  #subs = new Map();
  #nextId = 1;
  #channel = null;
  #leader = null; // the id of the leader in office
  #unsaid = []; // what came up since the greeting that no leader has answered yet
  #timer = null;
  #stop = new AbortController();
  #release = [];
  rhythm = RHYTHM;

  constructor(context) {
    this.#context = context;
    this.#sink = context.sink;
    this.#id = identifier(context.env.random);
  }

  start(subs) {
    this.#enlist(subs);
    const { env, share } = this.#context;
    this.#channel = new env.BroadcastChannel(share);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    // The leader waits for this lock: it gets it when the tab is gone, however that happened.
    this.#hold(`${share}:${this.#id}`, {}, () => {
      this.#hold(share, {}, () => this.#lead());
      this.#greet();
      this.#timer = env.setTimeout(() => this.#hold(share, { steal: true }, () => this.#lead()), PATIENCE);
    });
  }

  add(subs) {
    this.#say("add", { subs: this.#enlist(subs) });
  }

  remove(subs) {
    const ids = [...this.#subs].filter(([, sub]) => subs.includes(sub)).map(([id]) => id);
    for (const id of ids) this.#subs.delete(id);
    this.#say("remove", { ids });
  }

  watch(entities) {
    this.#say("watch", { entities });
  }

  unwatch(entities) {
    this.#say("unwatch", { entities });
  }

  follow(channels) {
    this.#say("follow", { channels });
  }

  unfollow(channels) {
    this.#say("unfollow", { channels });
  }

  secret(secret) {
    this.#say("secret", { secret });
  }

  probe() {
    this.#say("ping");
  }

  close() {
    this.#say("bye");
    this.#stop.abort();
    this.#context.env.clearTimeout(this.#timer);
    for (const release of this.#release) release();
    this.#channel?.close();
    this.#channel = null;
  }

  /** Hold a lock until this transport is closed; `act` may return what to do then. */
  #hold(name, options, act) {
    if (this.#stop.signal.aborted) return;
    const { locks } = this.#context.env;
    const how = options.steal ? options : { signal: this.#stop.signal };
    let end;
    const work = async () => {
      if (this.#stop.signal.aborted) return;
      end = act();
      await new Promise((resolve) => this.#release.push(resolve));
      end?.();
    };
    // Refused at the close, or stolen by a tab that this one kept waiting.
    locks.request(name, how, work).catch(() => end?.());
  }

  #lead() {
    const leader = new Leader(this.#context);
    return () => leader.close();
  }

  #enlist(subs) {
    return subs.map((sub) => {
      const id = this.#nextId++;
      this.#subs.set(id, sub);
      return { id, name: sub.name, place: sub.place.state };
    });
  }

  #greet() {
    this.#unsaid = []; // a greeting says it all
    const subs = [...this.#subs].map(([id, { name, place }]) => ({ id, name, place: place.state }));
    const { watches, follows, secret } = this.#context;
    const told = { subs, entities: watches(), channels: follows(), secret: secret() };
    this.#channel?.postMessage({ op: "hello", tab: this.#id, ...told });
  }

  #say(op, told = {}) {
    const word = { op, tab: this.#id, ...told };
    if (this.#leader) this.#channel?.postMessage(word);
    else this.#unsaid.push(word);
  }

  #hear({ op, from, to, ...told }) {
    if (op === "lead" || op === "resign") {
      if (op === "resign" && from !== this.#leader) return;
      this.#greet();
      this.#leader = op === "lead" ? from : null;
      return;
    }
    if (op === "welcome" && this.#id in to) {
      this.#context.env.clearTimeout(this.#timer);
      this.#leader ??= from; // one that woke up may not know yet that it leads no longer
      for (const word of this.#unsaid.splice(0)) this.#channel.postMessage(word);
    }
    if (from !== this.#leader || (to && !(this.#id in to))) return;
    this.#sink.heard();
    const subs = [];
    for (const [id, state] of to?.[this.#id] ?? []) {
      const sub = this.#subs.get(id);
      if (!sub) continue;
      sub.place.restore(state);
      subs.push(sub);
    }
    if (op === "hand" && subs.length > 0) this.#sink.hand(told.kind, told.value, subs);
    else if (op === "status") this.#sink.status(told.value);
    else if (op === "entity") this.#entity(told.value);
    else if (op === "unwatched") this.#sink.unwatched([told.value]);
    else if (op === "presence") this.#sink.presence(told.value);
    else if (op === "error") this.#sink.error(told.code, told.detail);
  }

  #entity(frame) {
    const known = this.#context.watches().find(({ entity, id }) => entity === frame.entity && id === frame.id);
    if (frame.type === "failed" || frame.version !== known?.version) this.#sink.entity(frame);
  }
}

/** The tab that has the connection: it subscribes for all of them. */
class Leader {
  #id;
  #line;
  #env;
  #share;
  #channel;
  #tabs = new Map(); // id to what each tab has: functions that give it up, by name
  #places = new Map(); // what each tab was last told of its places
  #batch = null;

  constructor({ env, share, lineOf }) {
    this.#env = env;
    this.#share = share;
    this.#id = identifier(env.random);
    this.#line = lineOf();
    this.#line.on("status", () => this.#status());
    this.#line.on("error", ({ code, message }) => this.#post("error", { code, detail: message }));
    this.#line.on("position", () => this.#tellPlaces());
    this.#channel = new env.BroadcastChannel(share);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#post("lead");
  }

  close() {
    this.#line.close();
    this.#post("resign");
    this.#channel.close();
  }

  #post(op, told = {}) {
    this.#channel.postMessage({ op, from: this.#id, ...told });
  }

  #status() {
    const { status, transport } = this.#line;
    this.#post("status", { value: { status, transport } });
  }

  #hear({ op, tab, ...told }) {
    if (!tab) return; // another leader's
    if (op === "hello") {
      this.#forget(tab);
      this.#tabs.set(tab, new Map());
      this.#post("welcome", { to: { [tab]: [] } });
      // Its lock is free when it is gone.
      this.#env.locks.request(`${this.#share}:${tab}`, () => this.#forget(tab)).catch(() => {});
    }
    const held = this.#tabs.get(tab);
    if (!held) return;
    if (op === "ping") this.#post("pong", { to: { [tab]: [] } });
    else if (op === "bye") this.#forget(tab);
    else if (op === "remove") for (const id of told.ids) this.#drop(held, id);
    else if (op === "unwatch") for (const { entity, id } of told.entities) this.#drop(held, `${entity} ${id}`);
    else if (op === "unfollow") for (const name of told.channels) this.#drop(held, name);
    // A tab that greets without one may just not have set it.
    const isSecret = op === "secret" || (op === "hello" && told.secret !== null);
    if (isSecret && told.secret !== this.#line.secret) this.#line.setSecret(told.secret);
    for (const sub of told.subs ?? []) this.#subscribe(tab, held, sub);
    if (op === "watch" || op === "hello") for (const one of told.entities) this.#watch(tab, held, one);
    if (op === "follow" || op === "hello") for (const name of told.channels) this.#follow(tab, held, name);
    if (op === "hello") this.#status();
  }

  #subscribe(tab, held, { id, name, place }) {
    const collect = (kind) => (value) => this.#collect(kind, value, tab, id, sub);
    const how = { place, onGap: collect("gap"), onRefused: collect("refused") };
    const sub = this.#line.subscribe(name, collect("message"), how);
    held.set(id, () => sub.unsubscribe());
    held.get(id).sub = sub;
  }

  #watch(tab, held, { entity, id, version }) {
    const to = { [tab]: [] };
    const shown = (state) => {
      this.#post("entity", { to, value: { ...state, type: state.removed ? "removed" : "entity" } });
    };
    const { unwatch } = this.#line.watch(entity, id, shown, {
      version,
      onError: (failure) => this.#post("entity", { to, value: { ...failure, type: "failed" } }),
      onRefused: (value) => this.#post("unwatched", { to, value }),
    });
    held.set(`${entity} ${id}`, unwatch);
  }

  #follow(tab, held, name) {
    const to = { [tab]: [] };
    const tell = (members, refused = []) => {
      const channels = members ? [{ channel: name, members }] : [];
      this.#post("presence", { to, value: { channels, refused } });
    };
    const { unfollow } = this.#line.presence(name, ({ members }) => tell(members), {
      onRefused: (refusal) => tell(null, [refusal]),
    });
    held.set(name, unfollow);
  }

  #drop(held, name) {
    held.get(name)?.();
    held.delete(name);
  }

  #forget(tab) {
    for (const give of this.#tabs.get(tab)?.values() ?? []) give();
    this.#tabs.delete(tab);
    this.#places.delete(tab);
  }

  /** Gather whom one message, gap or refusal is for: its subscriptions hear it in one go. */
  #collect(kind, value, tab, id, sub) {
    if (this.#batch?.value !== value) {
      this.#flush();
      this.#batch = { kind, value, to: {} };
      queueMicrotask(() => this.#flush());
    }
    (this.#batch.to[tab] ??= []).push([id, sub.state]);
  }

  #flush() {
    if (this.#batch) this.#post("hand", this.#batch);
    this.#batch = null;
  }

  #tellPlaces() {
    this.#flush();
    const to = {};
    for (const [tab, held] of this.#tabs) {
      const places = [...held].filter(([, give]) => give.sub).map(([id, give]) => [id, give.sub.state]);
      const text = JSON.stringify(places);
      if (places.length === 0 || this.#places.get(tab) === text) continue;
      this.#places.set(tab, text);
      to[tab] = places;
    }
    // Without a place that moved it is the heartbeat, for all.
    this.#post("places", Object.keys(to).length > 0 ? { to } : {});
  }
}
