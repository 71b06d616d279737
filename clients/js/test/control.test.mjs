/** Start, stop, pause, resume, unsubscribe, credentials, diagnostics, presence. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Trunkline } from "../trunkline.js";
import { PresencePoll, Presences } from "../trunkline/presences.js";
import { Place } from "../trunkline/ledger.js";
import { Clock, Gateway, Log, settle, until, world } from "./rig.mjs";

function setUp(options = {}) {
  const log = new Log();
  const gateway = new Gateway(log);
  const around = world({ WebSocket: gateway.WebSocket, ...options.env });
  const line = new Trunkline("/", { transports: ["websocket"], ...options, env: around.env });
  return { log, gateway, line, ...around };
}

const collect = (line, channel, start) => {
  const got = [];
  const callback = (message) => got.push(message.data);
  const sub = line.subscribe(channel, callback, start);
  return Object.assign(got, { sub, callback });
};

for (const [halt, go, status] of [["pause", "resume", "paused"], ["stop", "start", "stopped"]]) {
  test(`${halt} drops the connection, ${go} goes on: nothing lost, nothing twice`, async () => {
    const { log, gateway, line } = setUp();
    const got = collect(line, "/a", { position: "0" });
    await gateway.flush();
    log.publish("/a", 1);
    await gateway.flush();
    line[halt]();
    line[halt]();
    assert.equal(line.status, status);
    assert.equal(gateway.sockets.length, 0);
    log.publish("/a", 2);
    const late = collect(line, "/b", { position: "0" });
    log.publish("/b", 3);
    line.reconnect();
    await gateway.flush();
    assert.deepEqual([[...got], [...late]], [[1], []]);
    assert.equal(gateway.sockets.length, 0);
    line[go]();
    line[go]();
    await gateway.flush();
    assert.deepEqual([[...got], [...late]], [[1, 2], [3]]);
    assert.equal(line.status, "live");
    line.close();
    line[go]();
    assert.equal(line.status, "closed");
  });
}

test("a line that does not start by itself waits for start", async () => {
  const { gateway, line, log } = setUp({ autoStart: false });
  const got = collect(line, "/a", { position: "0" });
  log.publish("/a", 1);
  await gateway.flush();
  assert.equal(line.status, "stopped");
  assert.equal(gateway.sockets.length, 0);
  line.start();
  await gateway.flush();
  assert.deepEqual([...got], [1]);
  line.close();
});

test("the last unsubscribed while paused leaves nothing to resume", async () => {
  const { gateway, line } = setUp();
  const got = collect(line, "/a");
  await gateway.flush();
  line.pause();
  got.sub.unsubscribe();
  assert.equal(line.status, "paused");
  line.resume();
  await gateway.flush();
  assert.equal(gateway.sockets.length, 0);
  line.close();
});

test("unsubscribing by channel, callback and prefix", async () => {
  const { log, gateway, line } = setUp();
  const [one, two, other, room] = ["/a", "/a", "/b", "/rooms/1"].map((name) => collect(line, name));
  collect(line, "/rooms/*");
  await gateway.flush();
  assert.equal(line.unsubscribe("/a", two.callback), 1);
  assert.equal(line.unsubscribe("/a", () => {}), 0);
  log.publish("/a", 1);
  await gateway.flush();
  assert.deepEqual([[...one], [...two]], [[1], []]);
  assert.equal(line.unsubscribe({ prefix: "/rooms/" }), 2);
  assert.equal(line.unsubscribe("/a"), 1);
  log.publish("/rooms/1", 1);
  log.publish("/b", 2);
  await gateway.flush();
  assert.deepEqual([[...room], [...other]], [[], [2]]);
  assert.equal(line.unsubscribe({ prefix: "" }), 1);
  assert.equal(line.status, "closed");
});

test("credentials are asked for before each connection, and again when they expired", async () => {
  const asked = [];
  const answers = [401, 200, 401, 401, 401];
  const requests = [];
  const fetch = async (url, { headers }) => {
    requests.push([new URL(url).searchParams.get("key"), headers.authorization, headers.own]);
    const status = answers.shift() ?? 500;
    if (status === 200) return new Response(new ReadableStream({ start: (it) => it.close() }), {
      headers: { "content-type": "text/event-stream" },
    });
    return new Response("{}", { status });
  };
  const { line, clock } = setUp({
    transports: ["sse"],
    headers: { own: "yes" },
    env: { fetch },
    authorize: async ({ isExpired }) => {
      asked.push(isExpired);
      return { headers: { authorization: `token ${asked.length}` }, query: { key: `${asked.length}` } };
    },
  });
  const errors = [];
  line.on("error", ({ code }) => errors.push(code));
  line.subscribe("/a", () => {});
  const passing = async (count) => {
    // Virtual time passes only while the line waits: requests take real time.
    const pass = () => line.status === "waiting" && void clock.pass(100);
    await until(() => asked.length >= count || pass(), `${count} attempts`);
    await until(() => line.status === "waiting", "the answer");
  };
  await passing(2);
  assert.deepEqual(asked.slice(0, 2), [false, true]); // refused once: at once with fresh ones
  assert.deepEqual(requests[1], ["2", "token 2", "yes"]);
  assert.deepEqual(errors, []);
  await passing(5);
  assert.ok(errors.includes("http-401")); // refused again with fresh ones: told, and waited out
  line.close();
});

test("what authorize throws is a failure like any other", async () => {
  const { line, clock, gateway } = setUp({
    authorize: () => Promise.reject(new Error("no session")),
  });
  const reasons = [];
  line.on("status", ({ reason }) => reason && reasons.push(reason));
  line.subscribe("/a", () => {});
  await clock.pass(2_000);
  assert.ok(reasons.includes("no session"));
  assert.equal(gateway.sockets.length, 0);
  line.close();
});

test("diagnostics say what is and what was", async () => {
  const { gateway, line } = setUp();
  collect(line, "/a");
  await gateway.flush();
  for (let turn = 0; turn < 60; turn += 1) {
    line.pause();
    line.resume();
  }
  await gateway.flush();
  const told = line.diagnostics();
  assert.equal(told.status, "live");
  assert.deepEqual(told.subscriptions, [{ channel: "/a", position: "e1-0" }]);
  assert.equal(told.log.length, 100);
  assert.equal(told.log.at(-1).event, "status");
  line.close();
});

test("presence tells who is there first, then what is different", () => {
  const told = [];
  const presences = new Presences((callback, value) => callback(value));
  const [ann, bob] = ["ann", "bob"].map((id) => ({ client_id: id, user_id: null }));
  const listener = { callback: ({ members, joined, left }) => told.push([members, joined, left]) };
  assert.equal(presences.add("/a", listener), true);
  presences.take({ channel: "/a", joined: [bob] }); // before the answer: it is in the answer
  presences.take({ channel: "/a", members: [] });
  presences.take({ channel: "/a", joined: [ann, bob] });
  presences.take({ channel: "/a", left: [ann] });
  presences.take({ channel: "/a", members: [bob] }); // a reconnect that changed nothing
  presences.take({ channel: "/a", members: [ann] });
  assert.deepEqual(told, [
    [[], [], []],
    [[ann, bob], [ann, bob], []],
    [[bob], [], [ann]],
    [[ann], [ann], [bob]],
  ]);
  assert.equal(presences.remove("/a", listener), true);
  assert.deepEqual(presences.names, []);
});

test("where a stream can't tell presence, it is asked for", async () => {
  const clock = new Clock();
  const heard = [];
  const urls = [];
  const fetch = async (url) => {
    urls.push(url);
    return Response.json({ channels: [{ channel: "/a", members: [] }], refused: [] });
  };
  const poll = new PresencePoll({
    env: { fetch, setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout },
    sink: { presence: (frame) => heard.push(frame) },
    url: (path) => new URL(path, "http://line.test/"),
    pollInterval: 5_000,
    follows: () => ["/a"],
  });
  poll.follow();
  await clock.pass(4_000);
  assert.equal(heard.length, 1);
  await clock.pass(2_000);
  await until(() => heard.length === 2);
  assert.equal(urls[0], "http://line.test/api/presence?channel=%2Fa");
  poll.close();
  await clock.pass(20_000);
  assert.equal(urls.length, 2);
});

test("a place that was handed over is the same place", () => {
  const place = new Place({ last: 3 });
  place.anchor({ epoch: "e", globalId: 10 });
  place.note({ channel: "/a", message_id: 2, global_id: 9 });
  const other = new Place().restore(JSON.parse(JSON.stringify(place.state)));
  assert.deepEqual(other.state, place.state);
  assert.equal(other.admits({ channel: "/a", message_id: 2, global_id: 9 }), false);
  assert.equal(other.admits({ channel: "/a", message_id: 3, global_id: 11 }), true);
});

test("tabs that cannot elect a leader have a connection each", async () => {
  const { log, gateway, line } = setUp({ share: "me", env: { locks: undefined } });
  const got = collect(line, "/a");
  await gateway.flush();
  log.publish("/a", 1);
  await gateway.flush();
  assert.deepEqual([...got], [1]);
  assert.equal(line.transport, "websocket");
  line.close();
});
