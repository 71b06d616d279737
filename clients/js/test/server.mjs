/** A tiny real HTTP server that speaks the SSE and poll protocols over a rig's log. */

import { createServer } from "node:http";
import { isPattern, matcher } from "../trunkline/ledger.js";

const ENVELOPE = ({ global_id, message_id, channel, data }) => ({ global_id, message_id, channel, data });

export class Server {
  denied = new Set();
  failure = null; // {status, headers, body} for every request
  isBuffering = false; // a proxy that holds streams back
  requests = [];
  #open = new Set();

  constructor(log) {
    this.log = log;
    this.http = createServer((request, response) => this.#route(request, response));
  }

  async listen(port = 0) {
    await new Promise((resolve) => this.http.listen(port, "127.0.0.1", resolve));
    this.port = this.http.address().port;
    this.url = `http://127.0.0.1:${this.port}/`;
    return this;
  }

  /** Cut every connection in its middle. */
  cut() {
    for (const response of this.#open) response.destroy();
    this.http.closeAllConnections();
  }

  /** End every held answer in good order. */
  finish() {
    for (const response of this.#open) response.end();
  }

  async close() {
    this.cut();
    await new Promise((resolve) => this.http.close(resolve));
  }

  /** How many streams are held open. */
  get held() {
    return this.#open.size;
  }

  /** Write raw text to every open event stream. */
  write(text) {
    for (const response of this.#open) response.write(text);
  }

  async #route(request, response) {
    const url = new URL(request.url, this.url);
    if (this.failure) {
      response.writeHead(this.failure.status, this.failure.headers).end(this.failure.body ?? "");
      return;
    }
    if (url.pathname === "/sse") this.#sse(url, request, response);
    else if (url.pathname.startsWith("/message-bus/")) {
      let body = "";
      for await (const part of request) body += part;
      this.#poll(url, request, response, JSON.parse(body));
    } else response.writeHead(404).end();
  }

  #hold(response, listener) {
    this.log.listeners.add(listener);
    this.#open.add(response);
    response.on("close", () => {
      this.log.listeners.delete(listener);
      this.#open.delete(response);
    });
  }

  #sse(url, request, response) {
    this.requests.push(url.search);
    const asked = url.searchParams.getAll("channel");
    const names = asked.filter((name) => !this.denied.has(name));
    const refused = asked.filter((name) => this.denied.has(name));
    const refusals = refused.map((channel) => ({ channel, code: "access-denied", detail: "not yours" }));
    if (names.length === 0) {
      const problem = { type: "urn:trunkline:problem:access-denied", title: "No", status: 403, detail: "not yours" };
      response.writeHead(403, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
      return;
    }
    const { log } = this;
    const last = Number(url.searchParams.get("last") ?? 0);
    const reads = names.map((name) => log.read(name, url.searchParams.get("position"), last));
    const number = ({ start }) => Number(start.split("-")[1]);
    const { start } = reads.reduce((a, b) => (number(b) < number(a) ? b : a));
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    const body = JSON.stringify({ position: start, channels: names, refused: refusals });
    response.write(`retry: 1000\nid: ${start}\nevent: ready\ndata: ${body}\n\n`);
    const gap = reads.find((read) => read.gap);
    if (gap) {
      const notice = JSON.stringify({ reason: gap.gap, channels: names, position: gap.start });
      response.write(`id: ${gap.start}\nevent: gap\ndata: ${notice}\n\n`);
    }
    const send = (message) => {
      response.write(`id: ${log.epoch}-${message.global_id}\ndata: ${JSON.stringify(message)}\n\n`);
    };
    const backlog = new Map(reads.flatMap((read) => read.some).map((message) => [message.global_id, message]));
    for (const id of [...backlog.keys()].sort((a, b) => a - b)) send(backlog.get(id));
    this.#hold(response, (message) => {
      if (names.some((name) => matcher(name)(message.channel))) send(message);
    });
  }

  #poll(url, request, response, body) {
    const { __seq: sequence, ...positions } = body;
    const isChunked = request.headers["dont-chunk"] === undefined;
    this.requests.push({ positions, sequence, dlp: url.search, isChunked });
    const { log } = this;
    const answer = [];
    const status = {};
    for (const [name, position] of Object.entries(positions)) {
      if (isPattern(name)) continue;
      const head = log.last(name);
      let after = position < -1 ? Math.max(0, head + position + 1) : position;
      if (position === -1 || position > head) status[name] = after = head;
      const own = log.messages.filter((message) => message.channel === name && message.message_id > after);
      answer.push(...own.map(ENVELOPE));
    }
    if (Object.keys(status).length > 0) {
      answer.push({ global_id: -1, message_id: -1, channel: "/__status", data: status });
    }
    const isHeld = !url.search.includes("dlp=t");
    const plain = { "content-type": "application/json; charset=utf-8" };
    if (!isHeld || (answer.length > 0 && !isChunked)) {
      response.writeHead(200, plain).end(JSON.stringify(answer));
    } else if (isChunked) {
      response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
      const write = (block) => this.isBuffering || response.write(`${JSON.stringify(block)}\r\n|\r\n`);
      response.flushHeaders();
      write(answer);
      this.#hold(response, (message) => message.channel in positions && write([ENVELOPE(message)]));
    } else {
      this.#hold(response, (message) => {
        if (message.channel in positions && !response.headersSent) {
          response.writeHead(200, plain).end(JSON.stringify([ENVELOPE(message)]));
        }
      });
    }
  }
}
