/** Who is on the channels a page asks about: the members of each, and who wants to hear of them. */

const memberKey = (member) => JSON.stringify([member.client_id, member.user_id]);

/** The channels whose presence one line follows. */
export class Presences {
  #call;
  #all = new Map();

  /** @param {(callback: Function, value: object) => void} call calls a page's function safely */
  constructor(call) {
    this.#call = call;
  }

  get size() {
    return this.#all.size;
  }

  get names() {
    return [...this.#all.keys()];
  }

  members(channel) {
    return [...(this.#all.get(channel)?.members?.values() ?? [])];
  }

  /** Add a listener; returns whether the channel was not followed before. */
  add(channel, listener) {
    const known = this.#all.get(channel);
    if (!known) this.#all.set(channel, { members: null, listeners: new Set([listener]) });
    else {
      known.listeners.add(listener);
      if (known.members) queueMicrotask(() => known.listeners.has(listener) && this.#tell([listener], channel, [], []));
    }
    return !known;
  }

  /** Take a listener back; returns whether that was the channel's last. */
  remove(channel, listener) {
    const known = this.#all.get(channel);
    if (!known?.listeners.delete(listener) || known.listeners.size > 0) return false;
    return this.#all.delete(channel);
  }

  clear() {
    this.#all.clear();
  }

  /** Take what the server says: who is there (`members`), or who came and left. */
  take({ channel, members, joined = [], left = [] }) {
    const known = this.#all.get(channel);
    if (!known || (!members && !known.members)) return;
    const before = known.members ?? new Map();
    const now = new Map(members ? [] : before);
    for (const one of left) now.delete(memberKey(one));
    for (const one of members ?? joined) now.set(memberKey(one), one);
    const came = [...now].filter(([name]) => !before.has(name)).map(([, one]) => one);
    const went = [...before].filter(([name]) => !now.has(name)).map(([, one]) => one);
    const isFirst = known.members === null;
    known.members = now;
    if (isFirst || came.length + went.length > 0) this.#tell([...known.listeners], channel, came, went);
  }

  /** Take that channels are refused; they are followed no longer. */
  refuse(refusals) {
    for (const refusal of refusals) {
      const known = this.#all.get(refusal.channel);
      this.#all.delete(refusal.channel);
      for (const { onRefused } of known?.listeners ?? []) if (onRefused) this.#call(onRefused, refusal);
    }
  }

  #tell(listeners, channel, joined, left) {
    const members = this.members(channel);
    for (const { callback } of listeners) this.#call(callback, { channel, members, joined, left });
  }
}

/** Ask who is there again and again, for transports on which the server can't say it. */
export class PresencePoll {
  #context;
  #timer = null;
  #isClosed = false;

  #isAlone;

  /** @param {() => boolean} isAlone whether nothing else shows that the transport works */
  constructor(context, isAlone = () => false) {
    this.#context = context;
    this.#isAlone = isAlone;
  }

  /** Ask now, and from then on. */
  follow() {
    this.#context.env.clearTimeout(this.#timer);
    if (!this.#isClosed && this.#context.follows().length > 0) this.#ask().catch(() => {});
  }

  close() {
    this.#isClosed = true;
    this.#context.env.clearTimeout(this.#timer);
  }

  async #ask() {
    const { env, sink, headers, credentials, pollInterval } = this.#context;
    this.#timer = env.setTimeout(() => this.follow(), Math.max(pollInterval, 1_000));
    const url = this.#context.url("api/presence");
    for (const name of this.#context.follows()) url.searchParams.append("channel", name);
    const response = await env.fetch(url.href, { headers, credentials, cache: "no-store" });
    if (this.#isClosed) return;
    if (this.#isAlone()) {
      sink.heard();
      sink.up();
    }
    if (response.status === 403) {
      const { code, detail } = await this.#context.problem(response);
      sink.presence({ channels: [], refused: this.#context.follows().map((channel) => ({ channel, code, detail })) });
    } else if (response.ok) sink.presence(await response.json());
  }
}
