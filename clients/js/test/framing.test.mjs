/** Framings come apart the same wherever the network cuts them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { blocks, eventStream } from "../trunkline/framing.js";

const STREAM =
  "\uFEFF: hello\r\nretry: 1500\nid: e-1\nevent: ready\ndata: {\"a\":\ndata: 1}\n\n" +
  "id: e-2\r\rdata:plain\n\ndata\n\nid: bad\0id\ndata: é\r\n\r\nevent: x\n\ndata: never ended\n";

const EVENTS = [
  { type: "ready", id: "e-1", data: '{"a":\n1}', retry: 1500 },
  { type: "message", id: "e-2", data: null, retry: null },
  { type: "message", id: null, data: "plain", retry: null },
  { type: "message", id: null, data: "", retry: null },
  { type: "message", id: null, data: "é", retry: null },
];

test("server-sent events parse the same at every cut", () => {
  for (let cut = 0; cut <= STREAM.length; cut += 1) {
    const events = [];
    const feed = eventStream((event) => events.push(event));
    feed(STREAM.slice(0, cut));
    feed(STREAM.slice(cut));
    assert.deepEqual(events, EVENTS, `cut at ${cut}`);
  }
});

test("server-sent events parse one character at a time", () => {
  const events = [];
  const feed = eventStream((event) => events.push(event));
  for (const character of STREAM) feed(character);
  assert.deepEqual(events, EVENTS);
});

test("poll blocks parse the same at every cut", () => {
  const text = '[{"data":"m1\\r\\n|\\r\\nx"}]\r\n|\r\n[]\r\n|\r\n[1,\r\n||\r\n2]'.replace("\r\n||\r\n", "") + "\r\n|\r\n";
  for (let cut = 0; cut <= text.length; cut += 1) {
    const found = [];
    const feed = blocks((block) => found.push(block));
    feed(text.slice(0, cut));
    feed(text.slice(cut));
    assert.deepEqual(found, [[{ data: "m1\r\n|\r\nx" }], [], [1, 2]], `cut at ${cut}`);
  }
});
