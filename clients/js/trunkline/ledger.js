/**
 * Where a subscription stands: positions, patterns, and what has already been delivered.
 *
 * Nothing here knows time or the network. A place only moves when the server said that everything
 * up to there was sent, so resuming from it loses nothing; what is sent twice is recognised.
 */

const POSITION = /^([0-9a-z]{1,32})-([0-9]{1,19})$/;

/** Parse `epoch-number`; returns null for anything else. */
export function parsePosition(text) {
  const found = typeof text === "string" ? POSITION.exec(text) : null;
  return found && { epoch: found[1], globalId: Number(found[2]) };
}

/** Tell whether a channel text has a wildcard or a parameter. */
export const isPattern = (text) => text.includes("*") || text.includes(":");

const literal = (text) => text.replace(/[.+?^${}()|[\]\\*]/g, "\\$&");

/** Return a test for channel names: `*` one segment, `**` the rest, `:name` one segment. */
export function matcher(text) {
  if (!isPattern(text)) return (name) => name === text;
  const segments = text.split("/");
  const parts = segments.map((segment, index) => {
    if (segment === "**" && index === segments.length - 1) return ".+";
    if (segment === "*" || /^:[A-Za-z_][A-Za-z0-9_]*$/.test(segment)) return "[^/]+";
    if (/[*:]/.test(segment)) throw new TypeError(`a wildcard must be a whole segment: ${text}`);
    return literal(segment);
  });
  const whole = new RegExp(`^(?:${parts.join("/")})$`, "s");
  return (name) => whole.test(name);
}

/** One subscription's place in the line. */
export class Place {
  /** The epoch of `globalId`, null while no server has named one. */
  epoch = null;
  /** Everything up to here was delivered or is not ours; null before the first answer. */
  globalId = null;
  /** The last id within the channel: the only position that polling understands. */
  messageId = null;
  /** How many of the newest messages to begin with, or null. */
  last = null;
  #oldest = false;
  #floor = 0;
  #after = 0; // what polling knows before it has seen a global id: an id within the channel
  #seen = new Map();

  /** @param {{position?: string|number|null, last?: number|null}} start */
  constructor({ position = null, last = null } = {}) {
    if (last !== null) {
      if (!Number.isInteger(last) || last < 0) throw new TypeError("last is a count, 0 or more");
      if (position !== null) throw new TypeError("give position or last, not both");
      if (last > 0) this.last = last;
    } else if (position === 0 || position === "0") {
      this.#oldest = true;
      this.globalId = 0;
    } else if (position !== null) {
      const parsed = parsePosition(position);
      if (!parsed) throw new TypeError(`no position: ${String(position).slice(0, 60)}`);
      this.epoch = parsed.epoch;
      this.globalId = this.#floor = parsed.globalId;
    }
  }

  /** All of it, as a plain value that another tab can take over. */
  get state() {
    const { epoch, globalId, messageId, last } = this;
    const [oldest, floor, after] = [this.#oldest, this.#floor, this.#after];
    return { epoch, globalId, messageId, last, oldest, floor, after, seen: [...this.#seen] };
  }

  /** Stand where another stood. */
  restore({ oldest, floor, after, seen, ...rest }) {
    Object.assign(this, rest);
    this.#oldest = oldest;
    this.#floor = floor;
    this.#after = after;
    this.#seen = new Map(seen);
    return this;
  }

  /** Whether reading can resume from here; else it begins from now or with the last few. */
  get known() {
    return this.globalId !== null;
  }

  /** The position to resume from, as the wire writes it. */
  get text() {
    if (!this.known) return null;
    // Without an epoch the number names nothing: read what is kept, and drop what was seen.
    return this.#oldest || this.epoch === null ? "0" : `${this.epoch}-${this.globalId}`;
  }

  /** The position as polling writes it: an id within the channel, or minus a count. */
  get pollText() {
    if (this.messageId !== null) return this.messageId;
    if (this.known) return 0; // a global id says nothing about the channel's: filter what comes
    return this.last === null ? -1 : -(this.last + 1);
  }

  /** Take the answer to the first request on a connection: reading starts at `position`. */
  anchor(position) {
    if (!this.known) {
      this.epoch = position.epoch;
      this.globalId = position.globalId;
      // With `last`, older messages than the start may follow, and all of them are wanted.
      if (this.last === null) this.#floor = position.globalId;
    } else if (this.epoch === null) {
      this.epoch = position.epoch;
    } else if (this.epoch !== position.epoch) {
      this.#restart(position);
    }
  }

  /** Tell whether a message has not been delivered yet. */
  admits(message) {
    if (message.message_id <= this.#after) return false;
    return message.global_id > Math.max(this.#floor, this.#seen.get(message.channel) ?? 0);
  }

  /** Remember a message as delivered. */
  note(message) {
    this.#seen.set(message.channel, message.global_id);
    this.messageId = message.message_id;
  }

  /** Remember a message as known although it was not wanted here. */
  pass(message) {
    this.messageId = Math.max(this.messageId ?? 0, message.message_id);
  }

  /** Take a polling server's word that the channel has come to `messageId`. */
  settle(messageId) {
    this.messageId = messageId;
    if (this.known) return;
    this.globalId = 0;
    this.#oldest = true;
    this.#after = messageId;
  }

  /** Move forward: everything up to `globalId` was sent. */
  move(globalId) {
    if (this.known && globalId < this.globalId) return;
    this.globalId = globalId;
    this.#oldest = false;
    this.#floor = Math.max(this.#floor, globalId);
    for (const [channel, id] of this.#seen) if (id <= globalId) this.#seen.delete(channel);
  }

  /**
   * Take a gap notice: messages before `position` are gone.
   *
   * @returns {boolean} whether this place lost anything by it
   */
  lose(position, reason) {
    if (reason === "reset") {
      this.#restart(position);
      return true;
    }
    if (!position) return true;
    // The position is where reading goes on, which may be here: other channels' messages follow.
    if (this.epoch === position.epoch && this.known && this.globalId > position.globalId) return false;
    this.epoch = position.epoch;
    this.move(position.globalId);
    return true;
  }

  #restart(position) {
    this.epoch = position?.epoch ?? null;
    this.globalId = position?.globalId ?? 0;
    this.#oldest = position == null;
    this.messageId = null;
    this.#floor = this.#after = 0;
    this.#seen.clear();
  }
}

/** Return the oldest of several known places' positions, as text. */
export function oldest(places) {
  let found = null;
  for (const place of places) {
    if (place.text === "0") return "0";
    if (found === null || place.globalId < found.globalId) found = place;
  }
  return found && found.text;
}

/**
 * Group subscriptions into requests a server can answer: those with a position, those that begin
 * now, and those that begin with the last N, one group per N.
 *
 * @returns {Array<{kind: "known"|"now"|"last", count: number, subs: object[]}>} new beginnings first
 */
export function cohorts(subs) {
  const groups = new Map();
  for (const sub of subs) {
    const { known, last } = sub.place;
    const kind = known ? "known" : last === null ? "now" : "last";
    const key = kind === "last" ? `last ${last}` : kind;
    if (!groups.has(key)) groups.set(key, { kind, count: last ?? 0, subs: [] });
    groups.get(key).subs.push(sub);
  }
  return [...groups.values()].sort((a, b) => (a.kind === "known") - (b.kind === "known"));
}
