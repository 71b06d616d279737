/** A line over WebSocket: resumed without loss or doubles, whatever the connection does. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Trunkline } from "../trunkline.js";
import { matcher } from "../trunkline/ledger.js";
import { chance, Gateway, Log, settle, world } from "./rig.mjs";

function setUp(options = {}) {
  const log = new Log();
  const gateway = new Gateway(log);
  const around = world({ WebSocket: gateway.WebSocket, ...options.env });
  const line = new Trunkline("/", { transports: ["websocket"], ...options, env: around.env });
  const statuses = [];
  line.on("status", ({ status }) => statuses.push(status));
  return { log, gateway, line, statuses, ...around };
}

const collect = (line, channel, start) => {
  const got = [];
  const sub = line.subscribe(channel, (message) => got.push(message.data), start);
  return Object.assign(got, { sub });
};

test("a line goes live and delivers", async () => {
  const { log, gateway, line, statuses } = setUp();
  const got = collect(line, "/a");
  await gateway.flush();
  log.publish("/a", 1);
  log.publish("/b", 2);
  await gateway.flush();
  assert.deepEqual([...got], [1]);
  assert.deepEqual(statuses, ["connecting", "live"]);
  assert.equal(line.transport, "websocket");
  assert.equal(line.position, "e1-1");
  line.close();
  assert.equal(line.status, "closed");
});

test("what was published while away is caught up, once", async () => {
  const { log, gateway, line, clock, statuses } = setUp();
  const got = collect(line, "/a", { position: "0" });
  await gateway.flush();
  log.publish("/a", 1);
  await gateway.flush();
  gateway.kill();
  log.publish("/a", 2);
  log.publish("/a", 3);
  await clock.pass(1000);
  await gateway.flush();
  log.publish("/a", 4);
  await gateway.flush();
  assert.deepEqual([...got], [1, 2, 3, 4]);
  assert.deepEqual(statuses, ["connecting", "live", "waiting", "connecting", "live"]);
});

test("one turn of subscriptions is one request, in one resume after a cut", async () => {
  const { gateway, line, clock } = setUp();
  collect(line, "/a");
  collect(line, "/b");
  await gateway.flush();
  assert.deepEqual(gateway.requests.map((request) => request.channels), [["/a", "/b"]]);
  gateway.kill();
  await clock.pass(1000);
  await gateway.flush();
  assert.deepEqual(gateway.requests[1].channels, { "/a": "e1-0", "/b": "e1-0" });
});

test("two subscriptions of one channel have places of their own", async () => {
  const { log, gateway, line } = setUp();
  for (const number of [1, 2, 3]) log.publish("/a", number);
  const now = collect(line, "/a");
  await gateway.flush();
  const all = collect(line, "/a", { position: "0" });
  const two = collect(line, "/a", { last: 2 });
  const late = collect(line, "/a");
  log.publish("/a", 4);
  await gateway.flush();
  log.publish("/a", 5);
  await gateway.flush();
  assert.deepEqual([...now], [4, 5]);
  assert.deepEqual([...all], [1, 2, 3, 4, 5]);
  assert.deepEqual(two.slice(-1), [5]);
  assert.deepEqual([...two], [3, 4, 5]);
  assert.deepEqual(late.slice(-1), [5]);
});

test("overlapping patterns resume without loss although the server sends one after the other", async () => {
  const { log, gateway, line, clock } = setUp();
  const wide = collect(line, "/a/**", { position: "0" });
  const narrow = collect(line, "/a/x", { position: "0" });
  await gateway.flush();
  log.publish("/a/x", 1);
  await gateway.flush();
  gateway.kill();
  for (const [channel, data] of [["/a/y", 2], ["/a/x", 3], ["/a/y", 4], ["/a/x", 5]]) log.publish(channel, data);
  await clock.pass(1000);
  await gateway.flush();
  assert.deepEqual([...wide].sort(), [1, 2, 3, 4, 5]);
  assert.deepEqual([...narrow], [1, 3, 5]);
});

test("a gap is an event, and only for who lost something", async () => {
  const { log, gateway, line, clock } = setUp();
  const gaps = [];
  const own = [];
  line.on("gap", (gap) => gaps.push(gap));
  line.subscribe("/a", () => {}, { onGap: (gap) => own.push(gap.reason) });
  await gateway.flush();
  gateway.kill();
  for (let number = 0; number < 5; number += 1) log.publish("/a", number);
  log.trim(3);
  await clock.pass(1000);
  await gateway.flush();
  assert.deepEqual(gaps, [{ reason: "trimmed", channels: ["/a"], position: "e1-3" }]);
  assert.deepEqual(own, ["trimmed"]);
});

test("after a reset the new line's messages arrive from its beginning", async () => {
  const { log, gateway, line, clock } = setUp();
  const reasons = [];
  line.on("gap", ({ reason }) => reasons.push(reason));
  const got = collect(line, "/a");
  await gateway.flush();
  for (const number of [1, 2, 3]) log.publish("/a", number);
  await gateway.flush();
  gateway.kill();
  log.reset("e2");
  log.publish("/a", "new");
  await clock.pass(1000);
  await gateway.flush();
  assert.deepEqual([...got], [1, 2, 3, "new"]);
  assert.deepEqual(reasons, ["reset"]);
  assert.equal(line.position, "e2-1");
});

test("a refused channel is named, and the others go on", async () => {
  const { log, gateway, line } = setUp();
  gateway.denied.add("/secret");
  const refused = [];
  line.on("refused", ({ channel, code }) => refused.push([channel, code]));
  const got = collect(line, "/a");
  collect(line, "/secret");
  await gateway.flush();
  log.publish("/a", 1);
  log.publish("/secret", 2);
  await gateway.flush();
  assert.deepEqual([...got], [1]);
  assert.deepEqual(refused, [["/secret", "access-denied"]]);
  assert.equal(line.status, "live");
});

test("a callback that throws breaks nobody", async () => {
  const { log, gateway, line, reports } = setUp();
  line.on("message", () => {
    throw new Error("listener");
  });
  line.subscribe("/a", () => {
    throw new Error("callback");
  });
  line.subscribe("/a", async () => {
    throw new Error("promise");
  });
  const got = collect(line, "/a");
  await gateway.flush();
  log.publish("/a", 1);
  await gateway.flush();
  assert.deepEqual([...got], [1]);
  assert.deepEqual(reports.map((error) => error.message).sort(), ["callback", "listener", "promise"]);
});

test("goodbye says when to come back, and the wish is kept", async () => {
  const { gateway, line, clock, signal } = setUp();
  collect(line, "/a");
  await gateway.flush();
  const changes = [];
  line.on("status", (change) => changes.push(change));
  gateway.sockets[0].push({ type: "goodbye", reason: "shutdown", retry: 4000 });
  await gateway.flush();
  gateway.kill(1012);
  assert.equal(changes[0].reason, "shutdown");
  assert.equal(changes[0].retryIn, 4000);
  signal("visible");
  await clock.pass(3900);
  assert.equal(line.status, "waiting");
  await clock.pass(200);
  await gateway.flush();
  assert.equal(line.status, "live");
});

test("coming online connects at once instead of after the back-off", async () => {
  let isOnline = false;
  const { gateway, line, signal, clock } = setUp({ env: { online: () => isOnline, random: () => 1 } });
  collect(line, "/a");
  gateway.isUp = false;
  for (let round = 0; round < 6; round += 1) {
    await gateway.flush();
    await clock.pass(16_000);
  }
  await gateway.flush();
  assert.equal(line.status, "offline");
  gateway.isUp = isOnline = true;
  signal("online");
  await gateway.flush();
  assert.equal(line.status, "live");
});

test("a laptop lid: the dead socket is replaced at once, and nothing is lost", async () => {
  const { log, gateway, line, clock } = setUp();
  const got = collect(line, "/a");
  await gateway.flush();
  gateway.isSilent = true; // the socket is dead, but nobody says so
  log.publish("/a", 1);
  await clock.sleep(3_600_000);
  gateway.isSilent = false;
  await clock.pass(1);
  await gateway.flush();
  assert.deepEqual([...got], [1]);
});

test("silence is questioned with a ping, and its answer keeps the connection", async () => {
  const { gateway, line, clock, statuses } = setUp();
  collect(line, "/a");
  await gateway.flush();
  for (let passed = 0; passed < 120; passed += 1) {
    await clock.pass(1000);
    await gateway.flush();
  }
  assert.ok(gateway.requests.some((request) => request.type === "ping"));
  assert.deepEqual(statuses, ["connecting", "live"]);
  gateway.isSilent = true;
  await clock.pass(40_000);
  assert.equal(line.status, "connecting");
});

test("a server that never answers is given up", async () => {
  const { gateway, line, clock, statuses } = setUp();
  gateway.isSilent = true;
  collect(line, "/a");
  await clock.pass(10_001);
  assert.deepEqual(statuses.slice(0, 2), ["connecting", "waiting"]);
  line.close();
});

test("the last unsubscribe lets the connection go, the next subscribe brings it back", async () => {
  const { log, gateway, line } = setUp();
  const got = collect(line, "/a");
  const other = collect(line, "/b");
  await gateway.flush();
  other.sub.unsubscribe();
  await gateway.flush();
  assert.deepEqual(gateway.requests.at(-1), { id: 2, type: "unsubscribe", channels: ["/b"] });
  got.sub.unsubscribe();
  assert.equal(line.status, "closed");
  assert.equal(gateway.sockets.length, 0);
  const again = collect(line, "/a", { position: got.sub.position });
  log.publish("/a", 1);
  await gateway.flush();
  assert.deepEqual([...again], [1]);
});

test("wrong arguments are told at once", () => {
  const { line } = setUp();
  assert.throws(() => line.subscribe("a", () => {}), /starts with/);
  assert.throws(() => line.subscribe("/a"), /callback/);
  assert.throws(() => line.subscribe("/a/*", () => {}, { last: 3 }), /pattern/);
  assert.throws(() => line.on("gaps", () => {}), /no event/);
  assert.throws(() => new Trunkline("http://x/", { transports: ["carrier-pigeon"] }), /no transport/);
  line.close();
  assert.throws(() => line.subscribe("/a", () => {}), /closed/);
});

const NAMES = ["/a", "/b", "/a/x", "/a/y"];
const INTERESTS = [...NAMES, "/a/*", "/a/**", "/:any"];

/** Run one random history and return each subscription with what it must and did receive. */
async function history(seed) {
  const random = chance(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const { log, gateway, line, clock } = setUp({ env: { random } });
  const readers = [];
  const subscribe = () => {
    const interest = pick(INTERESTS);
    const isExact = NAMES.includes(interest);
    const start = pick([{ position: "0" }, {}, isExact ? { last: 3 } : {}]);
    const reader = { interest, start, got: [], sub: null };
    reader.sub = line.subscribe(interest, (message) => reader.got.push(message), start);
    readers.push(reader);
  };
  const actions = [
    ...Array(8).fill(() => log.publish(pick(NAMES), null)),
    ...Array(10).fill(() => gateway.step()),
    () => gateway.flush(),
    () => gateway.kill(),
    () => clock.pass(random() * 2000),
    () => line.reconnect(),
    subscribe,
    () => readers.length > 3 && readers.splice(Math.floor(random() * readers.length), 1)[0].sub.unsubscribe(),
  ];
  subscribe();
  for (let count = 0; count < 150; count += 1) {
    await pick(actions)();
    await settle();
  }
  for (let second = 0; second < 40; second += 1) {
    await clock.pass(1000);
    await gateway.flush();
  }
  line.close();
  return { log, readers };
}

test("in any history every reader receives everything from its start, once", async () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const { log, readers } = await history(seed);
    for (const { interest, start, got } of readers) {
      const story = `seed ${seed}, ${interest} ${JSON.stringify(start)}`;
      const own = log.messages.filter((message) => matcher(interest)(message.channel));
      const ids = got.map((message) => message.global_id);
      assert.equal(new Set(ids).size, ids.length, `${story}: doubles`);
      for (const name of NAMES) {
        const part = got.filter((message) => message.channel === name).map((message) => message.message_id);
        for (let index = 1; index < part.length; index += 1) {
          assert.equal(part[index], part[index - 1] + 1, `${story}: ${name} out of order`);
        }
      }
      if (start.position === "0") assert.equal(got.length, own.length, `${story}: lost`);
      const since = own.filter((message) => message.global_id >= Math.min(...ids));
      assert.equal(ids.length, ids.length ? since.length : 0, `${story}: lost after the start`);
    }
  }
});

for (const [id, code, detail] of [
  ["own", "log-unavailable", "the log cannot be read now"],
  ["own", "internal", "something failed"],
  [null, "limit-exceeded", "the limit requests_per_second=5 is exceeded"],
]) {
  test(`a request that fails for now (${code}) is asked again`, async () => {
    const { log, gateway, line, clock } = setUp();
    const refused = [];
    line.on("refused", (refusal) => refused.push(refusal));
    line.on("error", () => {});
    gateway.fails = { id, code, detail };
    const got = collect(line, "/a", { position: "0" });
    await gateway.flush();
    gateway.fails = null;
    log.publish("/a", 1);
    await clock.pass(2_000);
    await gateway.flush();
    assert.deepEqual([...got], [1]);
    assert.deepEqual(refused, []);
    line.close();
  });
}

test("a limit that waiting does not lift refuses what exceeds it", async () => {
  const { log, gateway, line, clock } = setUp();
  const refused = [];
  line.on("refused", ({ channel }) => refused.push(channel));
  line.on("error", () => {});
  const got = collect(line, "/a");
  await gateway.flush();
  gateway.fails = { id: "own", code: "limit-exceeded", detail: "the limit max_subscriptions=1 is exceeded" };
  collect(line, "/b");
  await gateway.flush();
  log.publish("/a", 1);
  await gateway.flush();
  await clock.pass(2_000);
  assert.deepEqual([[...got], refused, gateway.sockets.length], [[1], ["/b"], 1]);
  line.close();
});
