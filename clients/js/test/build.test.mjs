/** The classic script is what the modules make, and making it smaller changes nothing. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { classic, minify, TARGET } from "../build.mjs";

test("the classic script that is checked in is what the modules make", () => {
  assert.equal(readFileSync(TARGET, "utf8"), classic(), "run `node build.mjs`");
});

test("texts, templates and regular expressions stay as they are", () => {
  const text = `
    // a comment with "quotes' and \`ticks\`
    class A { #secret = /[/"\`]{1,2}\\/\\/x/g; /* " */ read(b) { return \`  a // b \${ b ? \`in { \${b}  \` : "}" } "  \${this.#secret.source}\`; } }
    const a = 4 / 2 / 1; return [new A().read("x  y"), a, "  //  ", 'it  is'.length];
  `;
  const small = minify(text);
  assert.ok(small.length < text.length);
  assert.ok(!small.includes("secret"));
  assert.deepEqual(new Function(small)(), new Function(text)());
});
