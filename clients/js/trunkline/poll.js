/**
 * The last resort: message_bus's poll protocol, held open by the server or asked again and again.
 *
 * Its positions are ids within a channel, and it knows names only, no patterns.
 */

import { blocks, drain } from "./framing.js";
import { retryAfter } from "./lifecycle.js";
import { PresencePoll } from "./presences.js";

/** Serve subscriptions by polling; `LongPollTransport` lets the server hold the request. */
export class PollTransport {
  static transport = "polling";
  static supported = (env) => typeof env.fetch === "function";

  #context;
  #sink;
  #held;
  #subs = new Set();
  #controller = null;
  #isClosed = false;
  #sequence; // goes on over connections and tabs: a server takes a lower number for a late one
  #plainPolls = 0;
  #alarm = null;
  #wake = null;
  #presence;

  constructor(context, held = false) {
    this.#context = context;
    this.#sink = context.sink;
    this.#held = held;
    this.#sequence = context.env.now();
    this.#presence = new PresencePoll(context);
  }

  /** Begin polling for these subscriptions. */
  start(subs) {
    this.add(subs);
    this.follow();
    this.#loop().then(
      (end) => this.#isClosed || this.#sink.ended(end),
      (error) => this.#isClosed || this.#sink.ended({ retry: null, reason: String(error?.message ?? error) }),
    );
  }

  /** Poll for more subscriptions, at once. */
  add(subs) {
    for (const sub of subs) {
      this.#subs.add(sub);
      if (!sub.isPattern) continue;
      const detail = "polling reads channels by name; patterns need WebSocket or SSE";
      this.#sink.refused([{ channel: sub.name, code: "pattern-unsupported", detail }], [sub]);
    }
    this.#interrupt();
  }

  /** Poll for these no longer. */
  remove(subs) {
    for (const sub of subs) this.#subs.delete(sub);
  }

  /** Ask who is on what is followed. */
  follow() {
    this.#presence.follow();
  }

  /** The longest time between two signs of life, in ms: a held request may be silent. */
  get rhythm() {
    return Math.max(30_000, 1.25 * this.#context.pollInterval, this.#held ? 0 : 1.25 * this.#context.hiddenPollInterval);
  }

  /** Stop polling and report nothing more. */
  close() {
    this.#isClosed = true;
    this.#presence.close();
    this.#interrupt();
  }

  #interrupt() {
    this.#controller?.abort();
    this.#wake?.();
  }

  async #loop() {
    let isAnswered = false; // the first answer must come at once: it shows that polling works
    while (!this.#isClosed) {
      const asked = [...this.#subs].filter((sub) => !sub.isPattern);
      if (asked.length === 0) return { retry: null, reason: "there is no channel polling can read" };
      // Beginnings are settled by an answer that comes at once, so that what it holds is backlog.
      const begins = asked.some((sub) => !sub.place.known && sub.place.messageId === null);
      const poll = { asked, isHeld: this.#held && this.#context.mayHold() && isAnswered && !begins, count: 0, wasHeld: false };
      this.#controller = new AbortController();
      try {
        const end = await this.#poll(poll);
        if (end) return end;
        isAnswered = true;
      } catch (error) {
        if (!this.#controller.signal.aborted) throw error;
        continue; // subscriptions changed, or a proxy holds blocks back: ask again
      }
      await this.#pause(poll);
    }
    return { retry: null, reason: "" };
  }

  async #poll(poll) {
    const { env, headers, credentials } = this.#context;
    poll.positions = positions(poll.asked);
    const isChunked = poll.isHeld && this.#context.streaming && this.#plainPolls === 0;
    if (poll.isHeld && this.#plainPolls > 0) this.#plainPolls -= 1;
    const url = this.#context.url(`message-bus/${encodeURIComponent(this.#context.clientId)}/poll`);
    if (!poll.isHeld) url.searchParams.set("dlp", "t");
    const extra = { "content-type": "application/json", "x-trunkline-gaps": "true" };
    if (!isChunked) extra["dont-chunk"] = "true";
    this.#sequence += 1;
    const started = env.now();
    const { signal } = this.#controller;
    const response = await env.fetch(url.href, {
      method: "POST",
      headers: { ...headers, ...extra },
      body: JSON.stringify({ ...poll.positions, __seq: this.#sequence }),
      credentials,
      cache: "no-store",
      signal,
    });
    if (!response.ok) {
      const problem = await this.#context.problem(response);
      const retry = retryAfter(response.headers.get("retry-after"), env.now());
      return { retry, status: response.status, reason: problem.detail, problem };
    }
    this.#sink.heard();
    this.#sink.up();
    const isStream = (response.headers.get("content-type") ?? "").startsWith("text/plain");
    if (isStream) await this.#stream(response, poll, signal);
    else this.#receive(await response.json(), poll, signal);
    this.#sink.heard();
    poll.wasHeld = isStream || env.now() - started > 1_000;
    return null;
  }

  async #stream(response, poll, signal) {
    const { env } = this.#context;
    const controller = this.#controller;
    const buffered = env.setTimeout(() => {
      this.#plainPolls = this.#context.retryStreamingAfter;
      controller.abort();
    }, this.#context.firstChunkTimeout);
    const feed = blocks((messages) => {
      env.clearTimeout(buffered);
      this.#receive(messages, poll, signal);
    });
    try {
      await drain(response, feed, () => signal.aborted || this.#sink.heard());
    } finally {
      env.clearTimeout(buffered);
    }
  }

  #receive(messages, poll, signal) {
    if (signal.aborted) return;
    const status = { ...messages.find((message) => message.channel === "/__status")?.data };
    for (const message of messages) {
      if (message.channel === "/__gap") this.#gaps(message.data, poll);
    }
    this.#resets(status, poll);
    const real = messages.filter((message) => !message.channel.startsWith("/__"));
    const beginners = poll.asked.filter((sub) => sub.place.messageId === null && !sub.place.known);
    for (const sub of beginners) begin(sub, real);
    for (const message of real) this.#sink.message(message, this.#asked(poll), "own");
    for (const sub of this.#asked(poll)) {
      if (sub.name in status) sub.place.settle(status[sub.name]);
      else if (beginners.includes(sub) && sub.place.messageId === null) sub.place.settle(0);
    }
    poll.count += real.length;
  }

  /** A server that is behind the id we sent has another log now: read that one from its start. */
  #resets(status, poll) {
    for (const [channel, head] of Object.entries(status)) {
      if (!(poll.positions[channel] > head)) continue;
      this.#sink.gap({ reason: "reset", channels: [channel], position: null }, this.#asked(poll));
      delete status[channel];
      this.#interrupt(); // the running request would wait where the server believes us to be
    }
  }

  #asked(poll) {
    return poll.asked.filter((sub) => this.#subs.has(sub));
  }

  #gaps(data, poll) {
    for (const [channel, { reason }] of Object.entries(data)) {
      this.#sink.gap({ reason, channels: [channel], position: null }, this.#asked(poll));
    }
  }

  #pause({ count, wasHeld, isHeld }) {
    const { env, minPollInterval } = this.#context;
    const pollInterval = env.hidden() ? this.#context.hiddenPollInterval : this.#context.pollInterval;
    const isNews = this.#held && (count > 0 || wasHeld || !isHeld);
    return new Promise((resolve) => {
      this.#wake = () => {
        env.clearTimeout(this.#alarm);
        this.#wake = null;
        resolve();
      };
      const wait = isNews ? minPollInterval : pollInterval * (0.75 + env.random() / 2);
      this.#alarm = env.setTimeout(() => this.#wake?.(), wait);
    });
  }
}

/** Poll with requests that the server holds until there is something to say. */
export class LongPollTransport extends PollTransport {
  static transport = "long-polling";

  constructor(context) {
    super(context, true);
  }
}

/** Return one position per channel: the oldest that any of its subscriptions needs. */
function positions(subs) {
  const found = new Map();
  for (const { name, place } of subs) {
    const position = place.pollText;
    const other = found.get(name);
    if (other === undefined) found.set(name, position);
    // A count and an id can't be compared: read everything kept, and sort it out here.
    else if (position < 0 !== other < 0) found.set(name, 0);
    else found.set(name, Math.min(position, other));
  }
  return Object.fromEntries(found);
}

/** Skip what lies before a subscription's beginning in a channel's whole backlog. */
function begin({ name, place }, messages) {
  const own = messages.filter((message) => message.channel === name);
  const skipped = own[own.length - 1 - (place.last ?? 0)];
  if (skipped) place.settle(skipped.message_id);
}
