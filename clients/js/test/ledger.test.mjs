/** A place moves only when it may, and recognises what was sent twice. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { cohorts, matcher, oldest, parsePosition, Place } from "../trunkline/ledger.js";

const message = (global_id, message_id = global_id, channel = "/a") => ({ channel, global_id, message_id });

test("patterns match whole segments", () => {
  const cases = [
    ["/a", "/a", true],
    ["/a", "/a/b", false],
    ["/a/*", "/a/b", true],
    ["/a/*", "/a/b/c", false],
    ["/a/*", "/a", false],
    ["/a/**", "/a/b/c", true],
    ["/a/**", "/a", false],
    ["/a/:id/c", "/a/7/c", true],
    ["/a/:id/c", "/a/7/8/c", false],
    ["/a.b/*", "/axb/c", false],
  ];
  for (const [pattern, name, expected] of cases) {
    assert.equal(matcher(pattern)(name), expected, `${pattern} on ${name}`);
  }
  assert.throws(() => matcher("/a/b*"), TypeError);
  assert.throws(() => matcher("/a/**/b"), TypeError);
});

test("positions are an epoch and a number, and nothing else", () => {
  assert.deepEqual(parsePosition("k3x-17"), { epoch: "k3x", globalId: 17 });
  for (const text of ["0", "", "K-1", "a-", "a-1x", null, 7]) assert.equal(parsePosition(text), null);
  assert.throws(() => new Place({ position: "soon" }), TypeError);
  assert.throws(() => new Place({ position: "0", last: 2 }), TypeError);
  assert.throws(() => new Place({ last: -1 }), TypeError);
});

test("a subscription from now begins where the server says and drops what is older", () => {
  const place = new Place();
  assert.equal(place.text, null);
  place.anchor({ epoch: "e", globalId: 10 });
  assert.equal(place.text, "e-10");
  assert.equal(place.admits(message(10)), false);
  assert.equal(place.admits(message(11)), true);
});

test("a bare 0 stays 0 until something was received, so that it is never a gap", () => {
  const place = new Place({ position: "0" });
  place.anchor({ epoch: "e", globalId: 0 });
  assert.equal(place.text, "0");
  place.note(message(4));
  place.move(4);
  assert.equal(place.text, "e-4");
});

test("a message counts once, whichever way it comes again", () => {
  const place = new Place({ position: "e-1" });
  place.note(message(5, 1, "/a"));
  assert.equal(place.admits(message(5, 1, "/a")), false);
  assert.equal(place.admits(message(5, 1, "/b")), true);
  place.move(9);
  assert.equal(place.admits(message(9, 1, "/b")), false);
  place.move(3);
  assert.equal(place.text, "e-9");
});

test("history asked for by count is taken although it lies before the start", () => {
  const place = new Place({ last: 3 });
  place.anchor({ epoch: "e", globalId: 50 });
  assert.equal(place.admits(message(20)), true);
  place.note(message(20));
  assert.equal(place.admits(message(20)), false);
});

test("a trimmed gap concerns only places before it", () => {
  const behind = new Place({ position: "e-5" });
  const ahead = new Place({ position: "e-50" });
  assert.equal(behind.lose({ epoch: "e", globalId: 20 }, "trimmed"), true);
  assert.equal(behind.text, "e-20");
  assert.equal(ahead.lose({ epoch: "e", globalId: 20 }, "trimmed"), false);
  assert.equal(ahead.text, "e-50");
});

test("a gap may be told at the place itself, where reading goes on", () => {
  const place = new Place({ position: "e-20" });
  assert.equal(place.lose({ epoch: "e", globalId: 20 }, "trimmed"), true);
  assert.equal(place.text, "e-20");
});

test("after a reset the same small numbers are new messages", () => {
  const place = new Place({ position: "e-5" });
  place.note(message(6));
  place.move(6);
  assert.equal(place.lose({ epoch: "f", globalId: 0 }, "reset"), true);
  assert.equal(place.admits(message(1)), true);
  assert.equal(place.text, "f-0");
});

test("an answer from another epoch restarts the place even before the notice", () => {
  const place = new Place({ position: "e-5" });
  place.anchor({ epoch: "f", globalId: 2 });
  assert.equal(place.text, "f-2");
  assert.equal(place.admits(message(3)), true);
});

test("polling asks by id within the channel, or by count", () => {
  assert.equal(new Place().pollText, -1);
  assert.equal(new Place({ last: 10 }).pollText, -11);
  assert.equal(new Place({ position: "0" }).pollText, 0);
  assert.equal(new Place({ position: "e-7" }).pollText, 0);
  const place = new Place();
  place.settle(12);
  assert.equal(place.pollText, 12);
  assert.equal(place.text, "0"); // for other transports: all that is kept …
  assert.equal(place.admits(message(99, 12)), false); // … but nothing from before the beginning
  assert.equal(place.admits(message(100, 13)), true);
});

test("the oldest position wins, and an unnamed epoch is older than all", () => {
  const places = ["e-9", "e-3", "e-12"].map((position) => new Place({ position }));
  assert.equal(oldest(places), "e-3");
  assert.equal(oldest([...places, new Place({ position: "0" })]), "0");
});

test("beginnings are grouped by kind, and come before resumed ones", () => {
  const subs = [{ position: "e-1" }, {}, { last: 5 }, { last: 5 }, { last: 9 }, { last: 0 }];
  const groups = cohorts(subs.map((start) => ({ place: new Place(start) })));
  const sizes = groups.map(({ kind, count, subs: own }) => [kind, count, own.length]);
  assert.deepEqual(sizes, [["now", 0, 2], ["last", 5, 2], ["last", 9, 1], ["known", 0, 1]]);
});
