/** Against `trunkline serve` as users run it: modules and classic script, over a crash. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { until } from "./rig.mjs";

const PYTHON = process.env.PYTHON;
const KEY = "a-key-for-tests";
const skip = PYTHON ? false : "PYTHON names no interpreter with trunkline";
const folder = mkdtempSync(join(tmpdir(), "trunkline-"));
let server = null;
let url = "";

const free = () =>
  new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });

async function start(port) {
  url = `http://127.0.0.1:${port}/`;
  const log = `sqlite:///${join(folder, "line.db")}`;
  const command = ["-m", "trunkline.cli", "serve", "--open", "--port", String(port), "--log", log];
  const env = { ...process.env, TRUNKLINE_PUBLISH_KEYS: KEY, TRUNKLINE_PRESENCE: "/room/**" };
  server = spawn(PYTHON, command, { env, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  server.stderr.on("data", (data) => (said += data));
  for (let turn = 0; turn < 600; turn += 1) {
    if (server.exitCode !== null) throw new Error(said);
    try {
      await fetch(new URL("trunkline.js", url));
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw new Error(`it did not start: ${said}`);
}

function kill() {
  return new Promise((resolve) => {
    server.once("exit", resolve);
    server.kill("SIGKILL");
  });
}

async function publish(channel, ...values) {
  const body = JSON.stringify(values.map((data) => ({ channel, data })));
  const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
  const response = await fetch(new URL("api/publish", url), { method: "POST", headers, body });
  assert.equal(response.status, 200, await response.text());
}

before(async () => {
  if (!skip) await start(await free());
});
after(async () => {
  if (server) await kill();
  rmSync(folder, { recursive: true, force: true });
});

// The classic script, as a page without modules has it.
const classic = readFileSync(new URL("../trunkline.global.js", import.meta.url), "utf8");
new Function(classic)();
const builds = { modules: (await import("../trunkline.js")).Trunkline, classic: globalThis.trunkline.Trunkline };
// Not every Node has a WebSocket.
const transports = ["sse", "long-polling", "polling", ...(globalThis.WebSocket ? ["websocket"] : [])];

for (const [build, Trunkline] of Object.entries(builds)) {
  for (const transport of transports) {
    test(`${build}, ${transport}: over a crash nothing is lost and nothing doubled`, { skip }, async () => {
      const channel = `/room/${build}/${transport}`;
      const line = new Trunkline(url, { transports: [transport], pollInterval: 100, backoff: { base: 50, cap: 300 } });
      line.on("error", () => {});
      const got = [];
      const there = [];
      line.subscribe(channel, ({ data }) => got.push(data), { position: "0" });
      line.presence(channel, ({ members }) => there.push(members.map((one) => one.client_id)));
      await publish(channel, 1, 2);
      await until(() => got.length === 2, "the first two");
      await until(() => there.at(-1)?.includes(line.clientId), "its own presence");
      line.pause();
      await publish(channel, 3);
      line.resume();
      await until(() => got.length === 3, "what came while paused");
      await kill();
      await start(Number(new URL(url).port));
      await publish(channel, 4, 5);
      await until(() => got.length >= 5, "what came after the crash");
      assert.deepEqual(got, [1, 2, 3, 4, 5]);
      line.close();
    });
  }
}

for (const transport of transports.filter((name) => !name.includes("polling"))) {
  test(`${transport}: presence alone keeps a line live`, { skip }, async () => {
    const { Trunkline } = globalThis.trunkline;
    const make = (pollInterval) => new Trunkline(url, { transports: [transport], pollInterval });
    const [line, other] = [make(1_000), make(5_000)];
    const there = [];
    line.presence("/room/alone", ({ members }) => there.push(members.map((one) => one.client_id).join()));
    await until(() => line.status === "live" && there.at(-1) === "", "nobody");
    other.subscribe("/room/alone", () => {});
    await until(() => there.at(-1) === other.clientId, "the other");
    other.close();
    await until(() => there.at(-1) === "", "nobody again");
    line.close();
  });
}

test("the global gives its name back", () => {
  const mine = globalThis.trunkline;
  const before = new Function(`const known = { other: true }; globalThis.trunkline = known; ${classic}; return known;`)();
  const api = globalThis.trunkline;
  assert.notEqual(api, before);
  assert.equal(api.noConflict(), api);
  assert.equal(globalThis.trunkline, before);
  assert.equal(api.noConflict(), api);
  assert.equal(globalThis.trunkline, before);
  globalThis.trunkline = mine;
});
