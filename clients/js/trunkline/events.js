/** What happens on a line, who hears of it, and the last of it on record. */

const EVENTS = ["status", "gap", "message", "error", "refused", "position"];
const FREQUENT = new Set(["message", "position"]);
const LOGGED = 100; // what is kept for diagnostics

/** The events of one line. */
export class Events {
  #env;
  #listeners = new Map(EVENTS.map((name) => [name, new Set()]));
  #log = [];

  constructor(env) {
    this.#env = env;
  }

  /** The last events but the frequent ones, oldest first. */
  get log() {
    return [...this.#log];
  }

  /** Hear an event; returns a function that stops it. */
  on(name, listener) {
    const listeners = this.#listeners.get(name);
    if (!listeners) throw new TypeError(`no event ${name}: there are ${EVENTS.join(", ")}`);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  emit(name, value) {
    const listeners = this.#listeners.get(name);
    if (!FREQUENT.has(name)) {
      this.#log.push({ at: this.#env.now(), event: name, detail: value instanceof Error ? String(value) : value });
      if (this.#log.length > LOGGED) this.#log.shift();
    }
    for (const listener of [...listeners]) this.call(listener, value);
    if (name === "error" && listeners.size === 0) this.#env.report(value);
  }

  /** Call a user's function; what it throws stops nobody else. */
  call(callback, value) {
    try {
      const result = callback(value);
      result?.then?.(null, (error) => this.#env.report(error));
    } catch (error) {
      this.#env.report(error);
    }
  }
}
