/**
 * The server-sent events transport, read with fetch.
 *
 * EventSource would hide what this client lives on: events that carry only a position (the
 * heartbeat), the status and Retry-After of a refusal, and request headers.
 *
 * A stream's channels are fixed when it opens, so new subscriptions get a stream of their own;
 * once all streams have caught up they are joined into one that starts at the oldest position.
 */

import { drain, eventStream } from "./framing.js";
import { retryAfter } from "./lifecycle.js";
import { cohorts, oldest } from "./ledger.js";
import { PresencePoll } from "./presences.js";

const MOST_STREAMS = 3; // and one for entities: browsers allow six connections to a host over HTTP/1.1

/** Serve subscriptions over server-sent events. */
export class SseTransport {
  static transport = "sse";
  static supported = (env) => typeof env.fetch === "function";

  #context;
  #sink;
  #subs = new Set();
  #refused = new Set();
  #streams = new Set();
  #watches; // gives the entities to watch, as requests name them
  #watching = null; // the stream that carries them
  #presence;

  constructor(context) {
    this.#context = context;
    this.#sink = context.sink;
    this.#watches = context.watches ?? (() => []);
    this.#presence = new PresencePoll(context, () => this.#streams.size === 0);
  }

  /** Open streams for these subscriptions, and for the entities. */
  start(subs) {
    this.add(subs);
    this.watch();
    this.follow();
  }

  /** Ask who is on what is followed: a stream can't say it. */
  follow() {
    this.#presence.follow();
  }

  /** Watch what is to be watched now: on one stream, opened anew, which resumes by versions. */
  watch() {
    if (this.#watching !== null) this.#abort(this.#watching);
    const entities = this.#watches();
    this.#watching = null;
    if (entities.length === 0) return;
    const stream = this.#stream([], "known");
    this.#watching = stream;
    const url = this.#context.url("sse", { client_id: this.#context.clientId });
    for (const { entity, id, version } of entities) {
      url.searchParams.append("watch", JSON.stringify(version ? [entity, id, version] : [entity, id]));
    }
    this.#follow(stream, url);
  }

  /** Watch these entities no longer: what still comes of them is for nobody. */
  unwatch() {
    if (this.#watches().length === 0) this.watch();
  }

  /** Go on with another secret. */
  secret() {
    this.watch();
  }

  /** Serve more subscriptions. */
  add(subs) {
    for (const sub of subs) this.#subs.add(sub);
    if (subs.length === 0) return;
    const carrying = this.#streams.size - (this.#watching === null ? 0 : 1);
    if (carrying >= MOST_STREAMS) this.#restart();
    else for (const cohort of cohorts(subs)) this.#open(cohort);
  }

  /** Serve these no longer; the server learns of it when the stream is next reopened. */
  remove(subs) {
    for (const sub of subs) {
      this.#subs.delete(sub);
      this.#refused.delete(sub);
      for (const stream of this.#streams) {
        if (!stream.subs.delete(sub)) continue;
        stream.isStale = true;
        if (stream.subs.size === 0) this.#abort(stream);
      }
    }
  }

  /** Drop all streams and report nothing more. */
  close() {
    this.#presence.close();
    for (const stream of this.#streams) this.#abort(stream);
  }

  #abort(stream) {
    this.#streams.delete(stream);
    stream.controller.abort();
  }

  #restart() {
    for (const stream of [...this.#streams]) if (stream !== this.#watching) this.#abort(stream);
    const wanted = [...this.#subs].filter((sub) => !this.#refused.has(sub));
    for (const cohort of cohorts(wanted)) this.#open(cohort);
  }

  #stream(subs, kind) {
    const stream = {
      subs: new Set(subs),
      controller: new AbortController(),
      isOrdered: kind !== "last",
      hasCaughtUp: false,
      isStale: false,
      goodbye: null,
    };
    this.#streams.add(stream);
    return stream;
  }

  #open({ kind, count, subs }) {
    const stream = this.#stream(subs, kind);
    const url = this.#context.url("sse", { client_id: this.#context.clientId });
    for (const name of new Set(subs.map((sub) => sub.name))) url.searchParams.append("channel", name);
    if (kind === "known") url.searchParams.set("position", oldest(subs.map((sub) => sub.place)));
    if (kind === "last") url.searchParams.set("last", String(count));
    this.#follow(stream, url);
  }

  #follow(stream, url) {
    this.#read(stream, url).then(
      (end) => this.#ended(stream, end),
      (error) => this.#ended(stream, { retry: null, reason: String(error?.message ?? error) }),
    );
  }

  async #read(stream, url) {
    const { env, headers, credentials } = this.#context;
    const secret = this.#context.secret?.() ?? null;
    const response = await env.fetch(url.href, {
      headers: { ...headers, ...(secret === null ? {} : { "x-trunkline-secret": secret }), accept: "text/event-stream" },
      credentials,
      cache: "no-store",
      signal: stream.controller.signal,
    });
    const type = response.headers.get("content-type") ?? "";
    if (!response.ok || !type.startsWith("text/event-stream")) {
      const problem = await this.#context.problem(response);
      const retry = retryAfter(response.headers.get("retry-after"), env.now());
      return { retry, status: response.status, reason: problem.detail, problem };
    }
    const isCurrent = () => this.#streams.has(stream);
    const feed = eventStream((event) => isCurrent() && this.#receive(stream, event));
    await drain(response, feed, () => isCurrent() && this.#sink.heard());
    return { retry: stream.goodbye?.retry ?? null, reason: stream.goodbye?.reason ?? "" };
  }

  #ended(stream, end) {
    if (!this.#streams.delete(stream)) return; // dropped by us
    if (end.status === 403 && this.#streams.size > 0) {
      // Only this stream's channels are refused: the others go on.
      for (const sub of stream.subs) this.#refused.add(sub);
      const { code, detail } = end.problem;
      const names = new Set([...stream.subs].map((sub) => sub.name));
      this.#sink.refused([...names].map((channel) => ({ channel, code, detail })), stream.subs);
      return;
    }
    this.close();
    this.#sink.ended(end);
  }

  #receive(stream, event) {
    if (event.data === null) {
      if (event.id !== null) this.#caughtUp(stream, event.id);
      return;
    }
    const body = JSON.parse(event.data);
    if (event.type === "message") {
      // A stream read from a position is in global order; the first few of `last` need not be.
      this.#sink.message(body, stream.subs, stream.isOrdered ? "all" : "own");
    } else if (event.type === "ready") {
      const refusals = body.refused ?? [];
      const names = new Set(refusals.map(({ channel }) => channel));
      const losers = [...stream.subs].filter((sub) => names.has(sub.name));
      for (const sub of losers) {
        this.#refused.add(sub);
        stream.subs.delete(sub);
      }
      this.#sink.ready(stream.subs, body);
      this.#sink.refused(refusals, losers);
    } else if (event.type === "entity" || event.type === "removed" || event.type === "failed") {
      this.#sink.entity(body);
    } else if (event.type === "watching" || event.type === "refused") {
      this.#sink.unwatched(body.refused);
    } else if (event.type === "gap") {
      this.#sink.gap(body, stream.subs);
    } else if (event.type === "goodbye") {
      stream.goodbye = body;
    }
  }

  #caughtUp(stream, position) {
    stream.isOrdered = stream.hasCaughtUp = true;
    this.#sink.position(position, stream.subs);
    const all = [...this.#streams].filter((one) => one !== this.#watching);
    const isUntidy = all.length > 1 || all.some((one) => one.isStale);
    if (isUntidy && all.every((one) => one.hasCaughtUp)) this.#restart();
  }
}
