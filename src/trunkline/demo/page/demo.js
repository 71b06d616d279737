/** The demo: one line, a chat room and the machine's vitals on it, and proof that nothing is lost. */

import { Trunkline } from "../trunkline.js";
import { Board } from "./board.js";
import { animate, StripChart, WINDOW } from "./charts.js";
import { ChatRoom } from "./chat.js";

const CHAT = "/demo/chat";
const VITALS = "/demo/vitals";
const AUTOMATIC = ["websocket", "sse", "long-polling"];
const NAMES = { websocket: "WebSocket", sse: "Server-sent events", "long-polling": "Long-polling", polling: "Polling" };
const KILLED_FOR = 4_000;
const MOST_CORES = 16; // drawn one by one; the total always counts all

const $ = (id) => document.getElementById(id);
const put = (id, text) => {
  if ($(id).textContent !== text) $(id).textContent = text;
};
const number = new Intl.NumberFormat("en");
const seconds = () => Date.now() / 1000;

const root = new URL("..", import.meta.url);
const line = new Trunkline(root.href, { transports: AUTOMATIC, pollInterval: 1_000 });

// ── what happened to the line, in words ──

function record(words, tone = "") {
  const item = document.createElement("li");
  const time = document.createElement("time");
  const text = document.createElement("span");
  time.textContent = new Date().toLocaleTimeString([], { hour12: false });
  time.dateTime = new Date().toISOString();
  text.textContent = words;
  if (tone) text.dataset.tone = tone;
  item.append(time, text);
  $("log").prepend(item);
  while ($("log").childElementCount > 200) $("log").lastElementChild.remove();
  put("log-last", words);
  $("log-last").dataset.tone = tone;
}

// ── the proof: ids are dense, so every missing one shows ──

const tally = { received: 0, missing: 0, lastId: 0, heard: null, next: new Map(), recent: [], latencies: [] };
let announced = 0; // gaps the line told of since the last connection
let away = []; // stretches without a connection, in the publisher's seconds
let resumed = null; // {at, count, missing, timer, isFirst}: the catch-up under way
let hasBeenLive = false;

function count(message) {
  const due = tally.next.get(message.channel);
  const isOld = due !== undefined && message.message_id < due;
  if (isOld) tally.next.clear(); // the log is another one now
  else if (due !== undefined) tally.missing += message.message_id - due;
  tally.next.set(message.channel, message.message_id + 1);
  tally.received += 1;
  tally.lastId = message.global_id;
  tally.heard = seconds();
  const published = message.published_at ?? message.data?.at;
  const now = seconds();
  if (published === undefined || published > now - 5) tally.recent.push(now);
  if (resumed && published < resumed.at) {
    resumed.count += 1;
    conclude();
  } else if (published !== undefined) {
    tally.latencies.push(Math.max(0, now - published) * 1000);
    if (tally.latencies.length > 25) tally.latencies.shift();
  }
}

function conclude() {
  clearTimeout(resumed.timer);
  resumed.timer = setTimeout(() => {
    const { count: caught, missing, isFirst, pause } = resumed;
    resumed = null;
    const over = NAMES[line.transport] ?? line.transport;
    const many = `${number.format(caught)} ${caught === 1 ? "message" : "messages"}`;
    const caughtUp = caught === 0 ? "nothing was missed" : `nothing lost: ${many} caught up`;
    $("scroller").removeAttribute("aria-busy"); // from here on messages are news
    const lost = tally.missing - missing;
    const where = line.position && line.position !== "0" ? ` at ${line.position}` : "";
    if (isFirst) record(`Live over ${over}${where}: ${many} of history`, "good");
    else if (lost === 0) record(`Resumed over ${over}${where} after ${pause} s, ${caughtUp}`, "good");
    else record(`Resumed over ${over}${where}: ${many} caught up, ${number.format(lost)} gone${announced ? ", as the line announced" : ""}`, "bad");
    announced = 0;
  }, 900);
}

line.on("message", count);
line.on("gap", ({ reason, channels }) => {
  announced += 1;
  const why = reason === "reset" ? "the log was reset" : "older messages are no longer kept";
  record(`Gap in ${channels.join(", ")}: ${why}`, "bad");
});
line.on("refused", ({ channel, detail }) => record(`${channel} is refused: ${detail}`, "bad"));
line.on("error", (error) => record(`The server says: ${error.message}`, "bad"));

// ── the state of the connection ──

let lostAt = null;
let comesBackAt = null;

const WORDS = { connecting: "Connecting", live: "Live", waiting: "Reconnecting", offline: "Offline", closed: "Closed" };

line.on("status", ({ status, transport, reason, retryIn, previous }) => {
  $("status").dataset.status = status;
  put("status-text", WORDS[status]);
  put("figure-transport", transport ? (NAMES[transport] ?? transport) : "–");
  comesBackAt = retryIn === null ? null : Date.now() + retryIn;
  if (status === "live") {
    const pause = lostAt === null ? "0" : (seconds() - lostAt).toFixed(1);
    if (away.at(-1)?.to === null) away.at(-1).to = seconds();
    away = away.filter(({ from, to }) => to === null || to - from > 0.5); // too short to see
    lostAt = null;
    clearTimeout(resumed?.timer);
    resumed = { at: seconds(), count: 0, missing: tally.missing, isFirst: !hasBeenLive, pause, timer: null };
    hasBeenLive = true;
    conclude();
    revive();
    return;
  }
  if (previous === "live") {
    lostAt = tally.heard ?? seconds(); // a dead connection is noticed later than it died
    away.push({ from: lostAt, to: null });
  }
  if (status === "connecting") record(`Connecting over ${NAMES[transport] ?? transport}`);
  else {
    const when = retryIn === null ? "" : `; next attempt in ${(retryIn / 1000).toFixed(1)} s`;
    const what = kill.disabled ? "Connection killed, as you wished" : `Connection lost${reason ? `: ${reason}` : ""}`;
    record(`${what}${when}`, "warn");
  }
});

const kill = $("kill");
kill.addEventListener("click", () => {
  kill.disabled = true;
  line.reconnect({ after: KILLED_FOR });
});

function revive() {
  kill.disabled = false;
  kill.textContent = "Kill the connection";
}

$("transport").addEventListener("change", (event) => {
  const { value } = event.target;
  record(`Transport chosen: ${event.target.selectedOptions[0].textContent.toLowerCase()}`);
  line.use(value === "auto" ? AUTOMATIC : [value]);
});

// ── the chat room ──

async function post(path, words) {
  const response = await fetch(new URL(path, root), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(words),
  }).catch(() => {
    throw new Error("the server can't be reached; your words are still here");
  });
  if (response.ok) return;
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? `the server answered ${response.status}`);
}

const room = new ChatRoom((words) => post("demo/say", words));

line.subscribe(CHAT, (message) => room.show(message, resumed === null), { last: 200 });

// ── the board ──

new Board(line, (item) => post("demo/item", item));

// ── the vitals ──

const bytes = (value) => {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let step = 0;
  for (; value >= 1000 && step < units.length - 1; step += 1) value /= 1024;
  return `${value < 10 && step > 0 ? value.toFixed(1) : Math.round(value)} ${units[step]}`;
};
const percent = (value) => `${Math.round(value)} %`;

const cpu = new StripChart($("chart-cpu"), {
  series: [{ ink: "--chart-1", fill: true }, { ink: "--chart-1", faint: true }],
  format: percent,
  top: 100,
});
const memory = new StripChart($("chart-memory"), { series: [{ ink: "--chart-2", fill: true }], format: bytes, top: 1 });
const network = new StripChart($("chart-network"), {
  series: [{ ink: "--chart-3", fill: true }, { ink: "--chart-1" }],
  format: (value) => `${bytes(value)}/s`,
});

line.subscribe(VITALS, ({ data }) => {
  const { at } = data;
  cpu.add(at, [data.cpu.total, ...data.cpu.cores.slice(0, MOST_CORES)]);
  memory.top = data.memory.total;
  memory.add(at, [data.memory.used]);
  network.add(at, [data.network.rx, data.network.tx]);
  if (at < seconds() - WINDOW) return;
  put("now-cpu", percent(data.cpu.total));
  put("sub-cpu", `${data.cpu.cores.length} cores\nbusiest ${percent(Math.max(0, ...data.cpu.cores))}`);
  put("now-memory", bytes(data.memory.used));
  put("sub-memory", `of ${bytes(data.memory.total)}\n${percent((100 * data.memory.used) / data.memory.total)} in use`);
  put("now-network", `${bytes(data.network.rx + data.network.tx)}/s`);
  put("sub-network", `↓ ${bytes(data.network.rx)}/s in\n↑ ${bytes(data.network.tx)}/s out`);
}, { last: 400 });

animate([cpu, memory, network], () => {
  const now = seconds();
  away = away.filter(({ to }) => to === null || to > now - WINDOW - 5);
  return { now, away };
});

// ── figures, four times a second: readable, and calm for screen readers ──

setInterval(() => {
  const now = seconds();
  tally.recent = tally.recent.filter((at) => at > now - 5);
  put("figure-id", tally.lastId ? number.format(tally.lastId) : "–");
  put("figure-rate", (tally.recent.length / 5).toFixed(1));
  const sorted = [...tally.latencies].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  put("figure-latency", middle === undefined ? "–" : middle < 10 ? `${middle.toFixed(1)} ms` : `${Math.round(middle)} ms`);
  put("figure-received", number.format(tally.received));
  put("figure-missing", number.format(tally.missing));
  $("missing").classList.toggle("some", tally.missing > 0);
  if (kill.disabled && comesBackAt) kill.textContent = `Back in ${Math.max(0, Math.ceil((comesBackAt - Date.now()) / 1000))} s`;
}, 250);
