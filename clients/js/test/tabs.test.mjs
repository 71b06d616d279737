/** Tabs that share a connection: what is asked for reaches whoever leads. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Trunkline } from "../trunkline.js";
import { Clock, Gateway, Log, settle, world } from "./rig.mjs";

/** Locks and channels of one browser; what tabs say to each other travels when `deliver` says so. */
class Browser {
  #held = new Map();
  #waiting = new Map();
  #channels = new Set();
  #mail = [];

  constructor() {
    const browser = this;
    this.BroadcastChannel = class {
      constructor(name) {
        this.name = name;
        browser.#channels.add(this);
      }
      postMessage(data) {
        const others = [...browser.#channels].filter((one) => one !== this && one.name === this.name);
        browser.#mail.push(...others.map((to) => ({ to, data: structuredClone(data) })));
      }
      close() {
        browser.#channels.delete(this);
      }
    };
    this.locks = { request: (name, ...rest) => this.#request(name, rest.at(-1)) };
  }

  async #request(name, work) {
    await new Promise((resolve) => {
      if (!this.#held.has(name)) return resolve(this.#held.set(name, true));
      const queue = this.#waiting.get(name) ?? [];
      this.#waiting.set(name, [...queue, resolve]);
      return undefined;
    });
    try {
      await work();
    } finally {
      const [next, ...rest] = this.#waiting.get(name) ?? [];
      this.#waiting.set(name, rest);
      if (next) next();
      else this.#held.delete(name);
    }
  }

  async deliver() {
    do {
      await settle();
      const { to, data } = this.#mail.shift() ?? {};
      if (this.#channels.has(to)) to.onmessage?.({ data });
    } while (this.#mail.length > 0);
    await settle();
  }
}

function setUp() {
  const log = new Log();
  const gateway = new Gateway(log);
  const browser = new Browser();
  const memory = new Map();
  const storage = { getItem: (key) => memory.get(key) ?? null, setItem: (key, value) => memory.set(key, value) };
  const { locks, BroadcastChannel } = browser;
  const { env } = world({
    clock: new Clock(), random: Math.random, WebSocket: gateway.WebSocket,
    locks, BroadcastChannel, storage: () => storage,
  });
  const tab = () => new Trunkline("/", { transports: ["websocket"], share: "me", env });
  const travel = async () => {
    for (let round = 0; round < 10; round += 1) {
      await browser.deliver();
      await gateway.flush();
    }
  };
  const loaded = () => new Promise((resolve) => setTimeout(resolve, 0));
  return { log, gateway, tab, travel, loaded };
}

test("what is asked for before the leader has answered is asked of it", async () => {
  const { log, gateway, tab, travel, loaded } = setUp();
  const [first, second] = [tab(), tab()];
  const got = { first: [], early: [], late: [] };
  const hear = (name) => (message) => got[name].push(message.data);
  first.subscribe("/a", hear("first"));
  await import("../trunkline/tabs.js").then(loaded);
  await travel();
  log.publish("/a", 1);
  await travel();
  assert.deepEqual(got.first, [1]);

  const early = second.subscribe("/a", hear("early"));
  for (let turn = 0; turn < 5; turn += 1) await settle(); // it has greeted, and waits for the answer
  const gone = second.subscribe("/c", () => assert.fail("given up before"));
  second.subscribe("/b", hear("late"));
  await settle();
  gone.unsubscribe();
  early.unsubscribe();
  await travel();
  for (const channel of ["/a", "/b", "/c"]) log.publish(channel, 2);
  await travel();
  assert.deepEqual(got, { first: [1, 2], early: [], late: [2] });
  const asked = gateway.requests.flatMap(({ type, channels }) => (type === "unsubscribe" ? channels : []));
  assert.ok(asked.includes("/c"), "what was given up is not read any longer");
  first.close();
  second.close();
});

test("a tab that has no secret takes none away", async () => {
  const { gateway, tab, travel, loaded } = setUp();
  const [first, second] = [tab(), tab()];
  first.setSecret("sesame");
  first.subscribe("/a", () => {});
  await import("../trunkline/tabs.js").then(loaded);
  await travel();
  second.subscribe("/a", () => {});
  await travel();
  const told = () => gateway.requests.filter(({ type }) => type === "secret").map(({ secret }) => secret);
  assert.deepEqual(told(), ["sesame"]);
  second.setSecret(null);
  await travel();
  assert.deepEqual(told(), ["sesame", null]);
  first.close();
  second.close();
});
