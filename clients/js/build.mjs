/**
 * Make the classic script: all modules in one file, with a global, and as small as can be had
 * without knowing the language: no comments, no indentation, short names for private members.
 *
 *     node build.mjs          writes trunkline.global.js
 *     node build.mjs --check  says whether the one that is there is the one it would write
 */

import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const ENTRY = join(HERE, "trunkline.js");
export const TARGET = join(HERE, "trunkline.global.js");

const IMPORT = /^import \{([^}]*)\} from "([^"]+)";$/gm;
const REEXPORT = /^export \{([^}]*)\}( from "[^"]+")?;$/gm;
const LOADING = /import\("([^"]+)"\)\.then\(\(module\) => module\.(\w+)\)/g;
const DECLARATION = /^export (?=(?:class|function|const|async)\b)/gm;

/** List the modules below an entry, each after those it imports. */
function modules(path, found = new Map()) {
  if (found.has(path)) return found;
  found.set(path, null); // being looked at: a circle ends here
  const text = readFileSync(path, "utf8");
  for (const [, , name] of text.matchAll(IMPORT)) modules(join(dirname(path), name), found);
  for (const [, name] of text.matchAll(LOADING)) modules(join(dirname(path), name), found);
  found.delete(path);
  found.set(path, text);
  return found;
}

const WORD = /[\w$#]/;
const BEFORE_REGEX = /(?:^|[=(,:;!&|?{}[\n>]|\breturn|\bcase)\s*$/;

/** Cut a text into tokens: comments, texts, templates (their expressions apart), regexes, the rest. */
function* tokens(text) {
  let at = 0;
  let code = "";
  const depths = []; // of braces, one count per template that is open
  const flush = function* () {
    if (code) yield { kind: "code", text: code };
    code = "";
  };
  const until = (pattern, from) => {
    pattern.lastIndex = from;
    const end = pattern.exec(text);
    if (!end) throw new Error(`no end: ${text.slice(at, at + 40)}`);
    return end.index + end[0].length;
  };
  const template = (from) => until(/(?:\\[^]|\$(?!\{)|[^`\\$])*(?:`|\$\{)/g, from);
  while (at < text.length) {
    const two = text.slice(at, at + 2);
    const one = text[at];
    let end = at + 1;
    let kind = null;
    if (two === "//") [kind, end] = ["comment", until(/(?=\n|$)/g, at)];
    else if (two === "/*") [kind, end] = ["comment", until(/\*\//g, at + 2)];
    else if (one === '"') [kind, end] = ["literal", until(/(?:\\.|[^"\\])*"/g, at + 1)];
    else if (one === "'") [kind, end] = ["literal", until(/(?:\\.|[^'\\])*'/g, at + 1)];
    else if (one === "/" && BEFORE_REGEX.test(code.slice(-12))) {
      [kind, end] = ["literal", until(/(?:\\.|\[(?:\\.|[^\]])*\]|[^/\\[])+\/[a-z]*/g, at + 1)];
    } else if (one === "`" || (one === "}" && depths.at(-1) === 0)) {
      if (one === "}") depths.pop();
      [kind, end] = ["literal", template(at + 1)];
      if (text[end - 1] === "{") depths.push(0);
    } else if (depths.length > 0 && (one === "{" || one === "}")) {
      depths[depths.length - 1] += one === "{" ? 1 : -1;
    }
    if (kind === null) code += one;
    else {
      yield* flush();
      yield { kind, text: text.slice(at, end) };
    }
    at = end;
  }
  yield* flush();
}

const LETTERS = "etnairoscldupmhgfbyvwkjxqzETNAIROSCLDUPMHGFBYVWKJXQZ";

const words = (text) => text.trim().split(/\s+/);

/** Return short names for private members, the most frequent first. */
function shortNames(code) {
  const counts = new Map();
  for (const [name] of code.matchAll(/#[a-zA-Z]\w*/g)) counts.set(name, (counts.get(name) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return new Map(
    sorted.map(([name], index) => {
      const high = Math.floor(index / LETTERS.length);
      return [name, `#${high ? LETTERS[high - 1] : ""}${LETTERS[index % LETTERS.length]}`];
    }),
  );
}

/** Make JavaScript smaller: the same program. Statements must end in semicolons. */
export function minify(text) {
  const parts = [...tokens(text)].filter((token) => token.kind !== "comment");
  const names = shortNames(parts.filter(({ kind }) => kind === "code").map((one) => one.text).join("\n"));
  let out = "";
  for (const { kind, text: piece } of parts) {
    out += kind === "literal" ? piece : squeeze(piece, names, out);
  }
  return `${out.trim()}\n`;
}

function squeeze(code, names, before) {
  const renamed = code.replace(/#[a-zA-Z]\w*/g, (name) => names.get(name));
  // A line break matters only where a field or a statement ends without a semicolon: none here.
  const short = renamed.replace(/\s+/g, " ").replace(/ ?([^\w$# "'`/]) ?/g, (_, sign) => sign);
  const tight = short.replaceAll(";}", "}");
  return before && !WORD.test(before.at(-1)) && before.at(-1) !== '"' ? tight.trimStart() : tight;
}

/** Write all modules as one text without imports and exports. */
export function bundle() {
  const parts = [];
  const names = new Map();
  for (const [path, text] of modules(ENTRY)) {
    const own = text.replace(IMPORT, "").replace(REEXPORT, "").replace(DECLARATION, "").replace(LOADING, "Promise.resolve($2)");
    for (const [, name] of own.matchAll(/^(?:async )?(?:class|function|const|let) (\w+)/gm)) {
      const other = names.get(name);
      if (other) throw new Error(`${name} stands in ${other} and in ${relative(HERE, path)}`);
      names.set(name, relative(HERE, path));
    }
    parts.push(own);
  }
  return parts.join("\n");
}

/** Return the classic script. */
export function classic() {
  const head = `/*! Trunkline's browser client ${version()}. MIT license. Made by build.mjs from trunkline.js. */\n`;
  const global = `
    const known = globalThis.trunkline;
    const api = {
      Trunkline,
      TrunklineError,
      noConflict() {
        if (globalThis.trunkline === api) {
          if (known === undefined) delete globalThis.trunkline;
          else globalThis.trunkline = known;
        }
        return api;
      },
    };
    globalThis.trunkline = api;
  `;
  return head + minify(`(() => {"use strict";\n${bundle()}\n${global}})();`);
}

const version = () => JSON.parse(readFileSync(join(HERE, "package.json"), "utf8")).version;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const made = classic();
  if (!process.argv.includes("--check")) writeFileSync(TARGET, made);
  else if (readFileSync(TARGET, "utf8") !== made) {
    console.error("trunkline.global.js is not what the modules make: run `node build.mjs`");
    process.exit(1);
  }
}
