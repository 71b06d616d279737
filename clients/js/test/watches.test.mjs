/** What a page knows of entities: the newest state of each, for all who listen, and no older one. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Trunkline } from "../trunkline.js";
import { isOlder, nameOf, Watches } from "../trunkline/watches.js";
import { settle, world, until } from "./rig.mjs";

const MARK = "0a1b2c3d4e5f";
const call = (callback, value) => callback(value);
const state = (id, number, value, entity = "items") => ({
  type: "entity", entity, id, version: `e1-${number}.${MARK}`, rows: [{ entity, id, value }],
});

function listener() {
  const told = [];
  return Object.assign((one) => told.push(one), { told });
}

test("an older state never overwrites a newer", () => {
  const watches = new Watches(call);
  const heard = listener();
  watches.add("items", "1", { callback: heard });
  for (const number of [5, 3, 5, 7, 6]) watches.take(state("1", number, number));
  assert.deepEqual(heard.told.map((one) => one.value), [5, 5, 7]);
  assert.equal(watches.version("items", "1"), `e1-7.${MARK}`);
});

test("versions of another epoch, and huge ones, are compared as they must be", () => {
  assert.equal(isOlder(`e2-1.${MARK}`, `e1-9.${MARK}`), false);
  assert.equal(isOlder(`e1-9007199254740993.${MARK}`, `e1-9007199254740992.${MARK}`), false);
  assert.equal(isOlder(`e1-9007199254740992.${MARK}`, `e1-9007199254740993.${MARK}`), true);
  assert.equal(isOlder(`e1-9.${MARK}`, `e1-10.${MARK}`), true);
  assert.equal(isOlder(null, `e1-1.${MARK}`), false);
});

test("keys are pairs", () => {
  assert.notEqual(nameOf({ entity: "a", id: "b.c" }), nameOf({ entity: "a.b", id: "c" }));
  assert.notEqual(nameOf({ entity: "a", id: '","' }), nameOf({ entity: 'a","', id: "" }));
});

test("a second listener is shown what is known, and the last one ends the watch", async () => {
  const watches = new Watches(call);
  const [one, two] = [listener(), listener()].map((callback) => ({ callback }));
  assert.deepEqual(watches.add("items", "1", one), { entity: "items", id: "1" });
  watches.take(state("1", 1, "a"));
  assert.equal(watches.add("items", "1", two), null);
  await settle();
  assert.deepEqual(two.callback.told.map(({ value }) => value), ["a"]);
  assert.equal(watches.remove("items", "1", one), null);
  assert.deepEqual(watches.remove("items", "1", two), { entity: "items", id: "1" });
  assert.equal(watches.size, 0);
});

test("what is gone has no value, and rows of others come along", () => {
  const watches = new Watches(call);
  const heard = listener();
  watches.add("items", "1", { callback: heard });
  const rows = [{ entity: "tags", id: "9", value: "red" }, { entity: "items", id: "1", value: "lamp" }];
  watches.take({ ...state("1", 1), rows });
  watches.take({ type: "removed", entity: "items", id: "1", version: `e1-2.${MARK}` });
  assert.deepEqual(heard.told.map(({ value, removed, rows: { length } }) => [value, removed, length]), [
    ["lamp", false, 2], [null, true, 0],
  ]);
});

/** A socket whose server is the test. */
function setUp(options = {}) {
  const sockets = [];
  class FakeSocket {
    sent = [];
    constructor(url) {
      this.url = url;
      sockets.push(this);
    }
    open = () => this.onopen();
    say = (frame) => this.onmessage({ data: JSON.stringify(frame) });
    send = (text) => this.sent.push(JSON.parse(text));
    close = () => {};
    end = () => this.onclose({ code: 1006 });
  }
  const around = world({ WebSocket: FakeSocket, ...options.env });
  const line = new Trunkline("/", { transports: ["websocket"], ...options, env: around.env });
  return { line, sockets, ...around };
}

test("entities watched in one turn are one request, and resume with their versions", async () => {
  const { line, sockets, clock } = setUp();
  const heard = listener();
  line.watch("items", "1", heard);
  line.watch("items", "2", heard);
  line.watch("items", "2", heard);
  await settle();
  sockets[0].open();
  assert.deepEqual(sockets[0].sent, [
    { id: 1, type: "watch", entities: [{ entity: "items", id: "1" }, { entity: "items", id: "2" }] },
  ]);
  sockets[0].say({ id: 1, type: "watching", entities: [], refused: [], current: [] });
  assert.equal(line.status, "live");
  sockets[0].say(state("1", 4, "a"));
  sockets[0].end();
  await clock.pass(1000);
  sockets[1].open();
  assert.deepEqual(sockets[1].sent[0].entities, [
    { entity: "items", id: "1", version: `e1-4.${MARK}` },
    { entity: "items", id: "2" },
  ]);
  line.close();
});

test("a secret goes first, refusals end a watch, and the last unwatch rests the line", async () => {
  const { line, sockets } = setUp();
  const refused = listener();
  line.setSecret("s");
  const one = line.watch("items", "1", () => {});
  line.watch("items", "2", () => {}, { onRefused: refused });
  await settle();
  sockets[0].open();
  assert.deepEqual(sockets[0].sent.map(({ type }) => type), ["secret", "watch"]);
  const refusal = { entity: "items", id: "2", code: "access-denied", detail: "no" };
  sockets[0].say({ id: 2, type: "watching", entities: [], refused: [refusal], current: [] });
  assert.deepEqual(refused.told, [refusal]);
  one.unwatch();
  assert.equal(line.status, "closed");
});

test("polling says that it carries no entities", async () => {
  const { line } = setUp({ transports: ["polling"], env: { fetch: () => new Promise(() => {}) } });
  const errors = [];
  line.on("error", (error) => errors.push(error.code));
  line.watch("items", "1", () => {});
  await until(() => errors.length > 0);
  assert.deepEqual(errors, ["watch-unsupported"]);
  line.close();
  assert.throws(() => line.watch("items", "1", () => {}), /closed/);
});

test("wrong arguments are told at once", () => {
  const { line } = setUp();
  for (const wrong of [[7, "1"], ["items", 1], ["", "1"], ["items", ""]]) {
    assert.throws(() => line.watch(...wrong, () => {}), TypeError);
  }
  assert.throws(() => line.watch("items", "1"), /callback/);
  assert.throws(() => line.setSecret(7), TypeError);
});
