/** A line over server-sent events and polling, against a real HTTP server. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Trunkline } from "../trunkline.js";
import { chance, Log, until } from "./rig.mjs";
import { Server } from "./server.mjs";

const cleanUps = [];
after(async () => {
  for (const cleanUp of cleanUps) await cleanUp();
});

async function setUp(transport, options = {}) {
  const log = new Log();
  const server = await new Server(log).listen();
  const backoff = { base: 5, cap: 20 };
  const line = new Trunkline(server.url, { transports: [transport], backoff, pollInterval: 10, ...options });
  cleanUps.push(() => line.close(), () => server.close());
  const follow = (channel, start) => {
    const got = [];
    const sub = line.subscribe(channel, (message) => got.push(message.data), start);
    return { got, sub };
  };
  return { log, server, line, follow };
}

const holds = (got, expected, what) =>
  until(() => JSON.stringify(got) === JSON.stringify(expected), `${what ?? ""} ${JSON.stringify(expected)}`)
    .catch((error) => assert.fail(`${error.message}, but ${JSON.stringify(got)}`));

for (const transport of ["sse", "long-polling", "polling"]) {
  test(`${transport}: live, history and resume after a cut`, async () => {
    const { log, server, line, follow } = await setUp(transport);
    for (const number of [1, 2, 3]) log.publish("/a", number);
    const now = follow("/a");
    const all = follow("/a", { position: "0" });
    const two = follow("/a", { last: 2 });
    await holds(all.got, [1, 2, 3]);
    await holds(two.got, [2, 3]);
    await until(() => now.sub.position !== null);
    assert.equal(line.status, "live");
    assert.equal(line.transport, transport);
    log.publish("/a", 4);
    await holds(now.got, [4], "live");
    await holds(two.got, [2, 3, 4]);
    server.cut();
    log.publish("/a", 5);
    for (const [{ got }, expected] of [[now, [4, 5]], [all, [1, 2, 3, 4, 5]], [two, [2, 3, 4, 5]]]) {
      await holds(got, expected, "after the cut");
    }
  });

  test(`${transport}: a subscription added later gets its own past`, async () => {
    const { log, follow } = await setUp(transport);
    const first = follow("/a");
    await until(() => first.sub.position !== null);
    log.publish("/b", "old");
    log.publish("/a", 1);
    await holds(first.got, [1]);
    const second = follow("/b", { position: "0" });
    await holds(second.got, ["old"]);
    log.publish("/a", 2);
    log.publish("/b", "new");
    await holds(first.got, [1, 2]);
    await holds(second.got, ["old", "new"]);
  });

  test(`${transport}: a position from another transport resumes without loss or doubles`, async () => {
    const { log, follow } = await setUp(transport);
    log.publish("/other", 0);
    for (const number of [1, 2, 3, 4]) log.publish("/a", number);
    const { got } = follow("/a", { position: "e1-3" });
    await holds(got, [3, 4]);
    log.publish("/a", 5);
    await holds(got, [3, 4, 5]);
  });

  test(`${transport}: Retry-After is honoured, and the problem is told`, async () => {
    const { server, line, follow } = await setUp(transport);
    const body = JSON.stringify({ type: "urn:trunkline:problem:rate-limited", detail: "slower" });
    server.failure = { status: 429, headers: { "retry-after": "120" }, body };
    const errors = [];
    const changes = [];
    line.on("error", (error) => errors.push([error.code, error.status, error.message]));
    line.on("status", (change) => changes.push(change));
    follow("/a");
    await until(() => line.status === "waiting");
    assert.deepEqual(errors, [["rate-limited", 429, "slower"]]);
    assert.equal(changes.at(-1).retryIn, 120_000);
  });
}

for (const transport of ["sse", "long-polling", "polling"]) {
  test(`${transport}: in any history every reader receives everything from its start, once`, async () => {
    for (let seed = 1; seed <= 12; seed += 1) {
      const random = chance(seed);
      const pick = (list) => list[Math.floor(random() * list.length)];
      const { log, server, line, follow } = await setUp(transport);
      const readers = [];
      const subscribe = () => {
        const start = pick([{ position: "0" }, {}, { last: 3 }]);
        readers.push({ start, name: pick(["/a", "/b"]) });
        Object.assign(readers.at(-1), follow(readers.at(-1).name, start));
      };
      const actions = [
        ...Array(8).fill(() => log.publish(pick(["/a", "/b"]), log.messages.length)),
        ...Array(4).fill(() => new Promise((resolve) => setTimeout(resolve, random() * 8))),
        () => server.cut(),
        () => transport === "sse" && server.write(`id: ${log.head}\n\n`),
        subscribe,
        () => readers.length > 3 && readers.splice(1, 1)[0].sub.unsubscribe(),
      ];
      subscribe();
      for (let count = 0; count < 60; count += 1) await pick(actions)();
      await until(() => readers.every(({ sub }) => sub.position !== null), "all begun");
      log.publish("/a", "end");
      log.publish("/b", "end");
      for (const { name, start, got } of readers) {
        await until(() => got.at(-1) === "end", `seed ${seed}: the end of ${name}`);
        const own = log.messages.filter(({ channel }) => channel === name).map(({ data }) => data);
        const from = start.position === "0" ? 0 : own.indexOf(got[0]);
        assert.deepEqual(got, own.slice(from), `seed ${seed}: ${name} ${JSON.stringify(start)}`);
      }
      line.close();
      await server.close();
    }
  });
}

test("sse: streams of several beginnings become one when a heartbeat shows they caught up", async () => {
  const { log, server, line, follow } = await setUp("sse");
  for (const number of [1, 2, 3]) log.publish("/a", number);
  const some = follow("/a", { last: 2 });
  const now = follow("/b");
  await until(() => server.held === 2, "two streams");
  await holds(some.got, [2, 3]);
  server.write(`id: ${log.head}\n\n`);
  await until(() => server.requests.length === 3 && server.held === 1, "one stream");
  const query = new URLSearchParams(server.requests[2]);
  assert.equal(query.get("position"), "e1-3");
  assert.deepEqual(query.getAll("channel"), ["/a", "/b"]);
  log.publish("/b", "x");
  log.publish("/a", 4);
  await holds(now.got, ["x"]);
  await holds(some.got, [2, 3, 4]);
  assert.equal(line.position, "e1-5");
});

test("sse: patterns, gaps and refusals", async () => {
  const { log, server, line, follow } = await setUp("sse");
  server.denied.add("/secret");
  const refused = [];
  const gaps = [];
  line.on("refused", ({ channel, code }) => refused.push(`${channel} ${code}`));
  line.on("gap", ({ reason, position }) => gaps.push(`${reason} ${position}`));
  const { got } = follow("/a/**");
  follow("/secret");
  await until(() => refused.length === 1);
  log.publish("/a/x", 1);
  await holds(got, [1]);
  server.failure = { status: 503 };
  server.cut();
  for (const number of [2, 3, 4]) log.publish("/a/x", number);
  log.trim(3);
  server.failure = null;
  await holds(got, [1, 4]);
  assert.deepEqual(gaps, ["trimmed e1-3"]);
  assert.equal(refused[0], "/secret access-denied");
});

test("sse: a refused latecomer does not disturb the stream that lives", async () => {
  const { log, server, line, follow } = await setUp("sse");
  server.denied.add("/secret");
  const { got } = follow("/a");
  await until(() => line.status === "live");
  const refused = [];
  line.on("refused", ({ channel }) => refused.push(channel));
  follow("/secret");
  await until(() => refused.length === 1);
  log.publish("/a", 1);
  await holds(got, [1]);
  assert.equal(server.requests.length, 2);
});

test("sse: goodbye's wish to wait is kept", async () => {
  const { server, line, follow } = await setUp("sse");
  const changes = [];
  line.on("status", (change) => changes.push(change));
  follow("/a");
  await until(() => line.status === "live");
  server.write('retry: 90000\nevent: goodbye\ndata: {"reason":"shutdown","retry":90000}\n\n');
  server.finish();
  await until(() => line.status === "waiting");
  assert.equal(changes.at(-1).retryIn, 90_000);
  assert.equal(changes.at(-1).reason, "shutdown");
});

test("polling names what it cannot do: patterns", async () => {
  const { log, line, follow } = await setUp("long-polling");
  const refused = [];
  line.on("refused", ({ channel, code, detail }) => refused.push([channel, code, detail]));
  follow("/a/**");
  const { got } = follow("/a/x");
  await until(() => line.status === "live");
  log.publish("/a/x", 1);
  await holds(got, [1]);
  assert.deepEqual(refused[0].slice(0, 2), ["/a/**", "pattern-unsupported"]);
  assert.match(refused[0][2], /WebSocket or SSE/);
});

for (const transport of ["sse", "long-polling", "polling"]) {
  test(`${transport}: after a reset the gap is told and the new log is read from its start`, async () => {
    const { log, server, line, follow } = await setUp(transport);
    const gaps = [];
    line.on("gap", ({ reason, channels }) => gaps.push(`${reason} ${channels}`));
    const { got } = follow("/a", { position: "0" });
    for (const number of [1, 2, 3]) log.publish("/a", number);
    await holds(got, [1, 2, 3]);
    server.failure = { status: 503 };
    server.cut();
    log.reset("e2");
    log.publish("/a", "new");
    server.failure = null;
    await holds(got, [1, 2, 3, "new"]);
    log.publish("/a", "newer");
    await holds(got, [1, 2, 3, "new", "newer"]);
    assert.deepEqual(gaps, ["reset /a"]);
  });
}

test("long-polling falls back to unstreamed answers behind a proxy that buffers", async () => {
  // Time that counts the wait for the first block a hundred times faster.
  const env = { setTimeout: (act, ms) => setTimeout(act, ms >= 3000 ? ms / 100 : ms) };
  const { log, server, follow } = await setUp("long-polling", { env });
  server.isBuffering = true;
  const { got } = follow("/a");
  await until(() => server.requests.some((one) => !one.isChunked && one.dlp === "" && server.held === 1));
  log.publish("/a", 1);
  await holds(got, [1]);
  const { positions, dlp } = server.requests[0];
  assert.deepEqual([positions, dlp], [{ "/a": -1 }, "?dlp=t"]);
});

test("changing the transport on a live line loses nothing and doubles nothing", async () => {
  const { log, line, follow } = await setUp("sse");
  const { got } = follow("/a", { last: 2 });
  const expected = [];
  await until(() => line.status === "live");
  const order = ["polling", "sse", "long-polling", "polling", "long-polling", "sse"];
  for (const [index, transport] of order.entries()) {
    log.publish("/a", `before ${index}`);
    line.use([transport]);
    log.publish("/a", `after ${index}`);
    expected.push(`before ${index}`, `after ${index}`);
    await holds(got, expected, transport);
    assert.equal(line.transport, transport);
  }
  assert.throws(() => line.use(["smoke"]), /no transport/);
});

test("a browser without WebSocket, or a proxy without SSE, ends up with what works", async () => {
  const log = new Log();
  const server = await new Server(log).listen();
  const fetch = (url, options) => {
    if (url.includes("/sse")) return Promise.reject(new TypeError("blocked"));
    return globalThis.fetch(url, options);
  };
  const Blocked = class {
    constructor() {
      setImmediate(() => this.onclose({ code: 1006 }));
    }
    close() {}
  };
  const line = new Trunkline(server.url, { env: { fetch, WebSocket: Blocked } });
  cleanUps.push(() => line.close(), () => server.close());
  const tried = [];
  line.on("status", ({ status, transport }) => tried.push(`${status} ${transport}`));
  line.subscribe("/a", () => {});
  await until(() => line.status === "live");
  assert.deepEqual(tried, ["connecting websocket", "connecting sse", "connecting long-polling", "live long-polling"]);
});

test("a connection's polls count on from those of the one before", async () => {
  const { log, server, line, follow } = await setUp("long-polling");
  const { got } = follow("/a", { position: "0" });
  log.publish("/a", 1);
  await holds(got, [1]);
  await until(() => server.requests.length > 1);
  line.reconnect();
  const before = server.requests.length;
  log.publish("/a", 2);
  await holds(got, [1, 2]);
  await until(() => server.requests.length > before + 1);
  const numbers = server.requests.map(({ sequence }) => sequence);
  assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b));
});
