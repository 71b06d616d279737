/**
 * When to connect, with which transport, and how long to wait: decisions only.
 *
 * Time and chance come in by argument; timers and sockets belong to the caller.
 */

const FORGIVEN = 3; // misses a transport that once worked may have before another is tried
const SETTLED = 5_000; // ms a connection must live for the back-off to start afresh
const SHUN = 60_000; // ms before a transport that failed is preferred again, doubling
const SHUN_CAP = 1_800_000;
const PROBE = 5_000; // ms an answer to a probe may take
const SLEPT = 10_000; // ms a timer is late only when the machine, or the tab, was asleep

/** Choose transports and waiting times for one line. */
export class Lifecycle {
  #order;
  #random;
  #base;
  #cap;
  #attempt = 0;
  #openedAt = 0;
  #notBefore = 0;
  #proven = new Set();
  #misses = new Map();
  #shunned = new Map();

  /** @param {{transports: string[], random: () => number, base?: number, cap?: number}} options */
  constructor({ transports, random, base = 500, cap = 30_000 }) {
    this.#order = transports;
    this.#random = random;
    this.#base = base;
    this.#cap = cap;
  }

  /** Return the transport to try now. */
  choose(now) {
    const open = this.#order.find((name) => !this.#isShunned(name, now));
    return open ?? this.#order[0];
  }

  /** Note that a transport delivers. */
  opened(name, now) {
    this.#openedAt = now;
    this.#proven.add(name);
    this.#misses.set(name, 0);
    const index = this.#order.indexOf(name);
    for (const better of this.#order.slice(index)) this.#shunned.delete(better);
  }

  /**
   * Decide what follows the end of a connection or of an attempt.
   *
   * @param {string} name the transport
   * @param {{opened: boolean, retry?: number|null, now: number}} end `retry` is the server's wish in ms
   * @returns {{connect: string} | {wait: number}}
   */
  ended(name, { opened, retry = null, now }) {
    if (opened && now - this.#openedAt >= SETTLED) this.#attempt = 0;
    if (retry !== null) {
      this.#notBefore = now + retry;
      return { wait: retry };
    }
    if (!opened && this.#missed(name, now)) {
      const next = this.#order.find((other) => !this.#isShunned(other, now));
      if (next) return { connect: next };
      for (const shun of this.#shunned.values()) shun.until = 0;
    }
    const ceiling = Math.min(this.#cap, this.#base * 2 ** this.#attempt);
    this.#attempt = Math.min(this.#attempt + 1, 20);
    return { wait: Math.round(this.#random() * ceiling) };
  }

  /**
   * Tell how long to wait although there is reason to connect at once.
   *
   * @returns {number} ms, 0 unless the server asked to stay away for longer
   */
  woken(now) {
    this.#attempt = 0;
    return Math.max(0, this.#notBefore - now);
  }

  /** Return a transport preferred to `name` that may be tried again, or null. */
  better(name, now) {
    const before = this.#order.slice(0, this.#order.indexOf(name));
    return before.find((other) => !this.#isShunned(other, now)) ?? null;
  }

  #isShunned(name, now) {
    return (this.#shunned.get(name)?.until ?? 0) > now;
  }

  #missed(name, now) {
    const misses = (this.#misses.get(name) ?? 0) + 1;
    this.#misses.set(name, misses);
    if (this.#proven.has(name) && misses < FORGIVEN) return false;
    const shun = this.#shunned.get(name) ?? { length: SHUN / 2, until: 0 };
    shun.length = Math.min(SHUN_CAP, shun.length * 2);
    shun.until = now + shun.length;
    this.#shunned.set(name, shun);
    return true;
  }
}

/**
 * Judge a connection by what was heard on it.
 *
 * A machine that slept fires its timers late, and its sockets are often dead without knowing.
 *
 * @param {object} seen
 * @param {number} seen.now ms
 * @param {number} seen.heard when anything last arrived
 * @param {number|null} seen.probed when a probe was sent that nothing has answered
 * @param {number} seen.heartbeat the server's interval in ms
 * @param {number} seen.late by how many ms the timer for this check came too late
 * @param {boolean} seen.shaken whether the network is said to have changed
 * @param {boolean} seen.canProbe whether the connection can be asked for a sign of life
 * @returns {"alive"|"probe"|"dead"}
 */
export function judge({ now, heard, probed, heartbeat, late, shaken, canProbe }) {
  const silent = now - heard;
  if (silent > 2.5 * heartbeat) return "dead";
  if (probed !== null) return now - probed > PROBE ? "dead" : "alive";
  if (shaken || (late > SLEPT && silent > heartbeat)) return canProbe ? "probe" : "dead";
  if (canProbe && (silent > 1.5 * heartbeat || late > SLEPT)) return "probe";
  return "alive";
}

/** Parse a Retry-After header (seconds or an HTTP date) into ms, or null. */
export function retryAfter(text, now) {
  if (!text) return null;
  const seconds = Number(text);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}
