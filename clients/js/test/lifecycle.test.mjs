/** Back-off, fallback, and the judgement whether a connection still lives. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { judge, Lifecycle, retryAfter } from "../trunkline/lifecycle.js";

const ORDER = ["websocket", "sse", "polling"];
const make = (random = () => 1) => new Lifecycle({ transports: ORDER, random });

test("an unproven transport that fails gives way at once to the next", () => {
  const life = make();
  assert.equal(life.choose(0), "websocket");
  assert.deepEqual(life.ended("websocket", { opened: false, now: 0 }), { connect: "sse" });
  assert.deepEqual(life.ended("sse", { opened: false, now: 1 }), { connect: "polling" });
});

test("when all fail the line waits, longer each round, and begins with the first again", () => {
  const life = make();
  const waits = [];
  for (let round = 0; round < 9; round += 1) {
    let decision = { connect: life.choose(round) };
    while (decision.connect) decision = life.ended(decision.connect, { opened: false, now: round });
    waits.push(decision.wait);
    assert.equal(life.choose(round), "websocket");
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
});

test("jitter is full: from nothing to the ceiling", () => {
  assert.equal(make(() => 0).ended("websocket", { opened: true, now: 0 }).wait, 0);
  assert.equal(make(() => 0.999).ended("websocket", { opened: true, now: 0 }).wait, 500);
});

test("a transport that once worked is forgiven two misses: the server restarts", () => {
  const life = make();
  life.opened("websocket", 0);
  assert.ok("wait" in life.ended("websocket", { opened: true, now: 10_000 }));
  assert.ok("wait" in life.ended("websocket", { opened: false, now: 11_000 }));
  assert.ok("wait" in life.ended("websocket", { opened: false, now: 12_000 }));
  assert.deepEqual(life.ended("websocket", { opened: false, now: 13_000 }), { connect: "sse" });
});

test("a connection that keeps opening and ending does not reset the back-off", () => {
  const life = make();
  const waits = [];
  for (let now = 0; now < 4000; now += 1000) {
    life.opened("websocket", now);
    waits.push(life.ended("websocket", { opened: true, now: now + 10 }).wait);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000]);
  life.opened("websocket", 10_000);
  assert.equal(life.ended("websocket", { opened: true, now: 16_000 }).wait, 500);
});

test("the server's wish to wait is kept, also when there is reason to hurry", () => {
  const life = make();
  life.opened("websocket", 0);
  assert.deepEqual(life.ended("websocket", { opened: true, retry: 7000, now: 1000 }), { wait: 7000 });
  assert.equal(life.woken(3000), 5000);
  assert.equal(life.woken(9000), 0);
});

test("a preferred transport is tried again after a while, ever more rarely", () => {
  const life = make();
  life.ended("websocket", { opened: false, now: 0 });
  life.opened("sse", 0);
  assert.equal(life.better("sse", 59_000), null);
  assert.equal(life.better("sse", 61_000), "websocket");
  life.ended("websocket", { opened: false, now: 61_000 });
  assert.equal(life.better("sse", 61_000 + 119_000), null);
  assert.equal(life.better("sse", 61_000 + 121_000), "websocket");
});

const seen = {
  now: 100_000,
  heard: 100_000,
  probed: null,
  heartbeat: 15_000,
  late: 0,
  shaken: false,
  canProbe: true,
};
const judged = (change) => judge({ ...seen, ...change });

test("silence is first questioned, then fatal", () => {
  assert.equal(judged({ heard: 80_000 }), "alive");
  assert.equal(judged({ heard: 77_000 }), "probe");
  assert.equal(judged({ heard: 77_000, canProbe: false }), "alive");
  assert.equal(judged({ heard: 62_000 }), "dead");
  assert.equal(judged({ heard: 62_000, canProbe: false }), "dead");
  assert.equal(judged({ heard: 77_000, probed: 94_000 }), "dead");
  assert.equal(judged({ heard: 77_000, probed: 96_000 }), "alive");
});

test("a timer that fired far too late means the machine slept", () => {
  assert.equal(judged({ late: 20_000, heard: 99_000 }), "probe");
  assert.equal(judged({ late: 20_000, heard: 80_000, canProbe: false }), "dead");
  // A hidden tab's timers are late too; fresh messages show that the connection lives.
  assert.equal(judged({ late: 20_000, heard: 99_000, canProbe: false }), "alive");
});

test("a change of network is tried out, or answered by a new connection", () => {
  assert.equal(judged({ shaken: true }), "probe");
  assert.equal(judged({ shaken: true, canProbe: false }), "dead");
});

test("Retry-After is seconds or a date", () => {
  assert.equal(retryAfter("12", 0), 12_000);
  assert.equal(retryAfter("Thu, 01 Jan 1970 00:01:00 GMT", 15_000), 45_000);
  assert.equal(retryAfter("soon", 0), null);
  assert.equal(retryAfter(null, 0), null);
});
