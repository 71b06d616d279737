/**
 * What a page knows of entities: the latest state of each, and who wants to hear of it.
 *
 * Nothing here knows time or the network. A state comes with a version, which is a position of the
 * line and a mark; an older one never overwrites a newer, whatever way the two came.
 */

const VERSION = /^([0-9a-z]{1,32})-([0-9]{1,19})\.[0-9a-f]{12}$/;

/** Tell whether a version is older than another of the same line. */
export function isOlder(version, known) {
  const one = VERSION.exec(version ?? "");
  const other = VERSION.exec(known ?? "");
  return one !== null && other !== null && one[1] === other[1] && BigInt(one[2]) < BigInt(other[2]);
}

/** Name an entity by one text; JSON keeps the two parts apart. */
export const nameOf = ({ entity, id }) => JSON.stringify([entity, id]);

/** The entities of one line. */
export class Watches {
  #call;
  #all = new Map();

  /** @param {(callback: Function, value: object) => void} call calls a page's function safely */
  constructor(call) {
    this.#call = call;
  }

  get size() {
    return this.#all.size;
  }

  /** What is watched, as requests name it: with the version that is known. */
  get named() {
    return [...this.#all.values()].map(named);
  }

  /**
   * Add a listener.
   *
   * @returns {object|null} the entity as a request names it, if it was not watched before
   */
  add(entity, id, listener, version = null) {
    const name = nameOf({ entity, id });
    const known = this.#all.get(name);
    if (known) {
      known.listeners.add(listener);
      if (known.state) queueMicrotask(() => known.listeners.has(listener) && this.#tell(listener, known.state));
      return null;
    }
    const watch = { entity, id, version, state: null, listeners: new Set([listener]) };
    this.#all.set(name, watch);
    return named(watch);
  }

  /** Take a listener back; returns the entity if that was its last. */
  remove(entity, id, listener) {
    const name = nameOf({ entity, id });
    const watch = this.#all.get(name);
    if (!watch?.listeners.delete(listener) || watch.listeners.size > 0) return null;
    this.#all.delete(name);
    return { entity, id };
  }

  /** Tell whether an entity is watched. */
  has(key) {
    return this.#all.has(nameOf(key));
  }

  /** The version that is known of an entity, or null. */
  version(entity, id) {
    return this.#all.get(nameOf({ entity, id }))?.version ?? null;
  }

  clear() {
    this.#all.clear();
  }

  /** Take what the server says of an entity: a state, that it is gone, or that it fails. */
  take(frame) {
    const watch = this.#all.get(nameOf(frame));
    if (!watch) return;
    if (frame.type === "failed") {
      const failure = { entity: watch.entity, id: watch.id, code: frame.code, detail: frame.detail };
      for (const listener of [...watch.listeners]) if (listener.onError) this.#call(listener.onError, failure);
      return;
    }
    if (isOlder(frame.version, watch.version)) return;
    watch.version = frame.version;
    watch.state = stateOf(watch, frame);
    for (const listener of [...watch.listeners]) this.#tell(listener, watch.state);
  }

  /** Take that entities are refused; they are watched no longer. */
  refuse(refusals) {
    for (const refusal of refusals) {
      const name = nameOf(refusal);
      const watch = this.#all.get(name);
      if (!watch) continue;
      this.#all.delete(name);
      for (const listener of watch.listeners) if (listener.onRefused) this.#call(listener.onRefused, refusal);
    }
  }

  #tell(listener, state) {
    this.#call(listener.callback, state);
  }
}

const named = ({ entity, id, version }) => (version === null ? { entity, id } : { entity, id, version });

function stateOf({ entity, id }, { type, version, rows = [] }) {
  const own = rows.find((row) => row.entity === entity && row.id === id) ?? rows[0];
  return { entity, id, version, removed: type === "removed", value: own?.value ?? null, rows };
}
