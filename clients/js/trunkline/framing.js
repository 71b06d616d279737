/** Byte streams to events: the two text framings that HTTP transports read. */

/**
 * Return a parser for server-sent events (WHATWG HTML, section 9.2.6).
 *
 * Unlike EventSource it also reports events that carry only an id: they move the position and
 * show that the connection lives.
 *
 * @param {(event: {type: string, id: string|null, data: string|null, retry: number|null}) => void} emit
 * @returns {(text: string) => void} feed it decoded text as it comes
 */
export function eventStream(emit) {
  let rest = "";
  let started = false;
  let event = blank();
  const field = (line) => {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (name === "data") event.data = event.data === null ? value : `${event.data}\n${value}`;
    else if (name === "event") event.type = value || "message";
    else if (name === "id" && !value.includes("\0")) event.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) event.retry = Number(value);
  };
  return (text) => {
    rest += text;
    if (!started && rest) {
      if (rest.startsWith("\uFEFF")) rest = rest.slice(1);
      started = true;
    }
    // A carriage return at the very end may be half of a line ending: leave it for later.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line) {
        if (!line.startsWith(":")) field(line);
      } else {
        if (event.data !== null || event.id !== null || event.retry !== null) emit(event);
        event = blank();
      }
    }
  };
}

const blank = () => ({ type: "message", id: null, data: null, retry: null });

const SEPARATOR = "\r\n|\r\n";

/**
 * Return a parser for message_bus's chunked answers: JSON arrays, each followed by a separator.
 *
 * @param {(messages: object[]) => void} emit
 * @returns {(text: string) => void}
 */
export function blocks(emit) {
  let rest = "";
  return (text) => {
    rest += text;
    const complete = rest.split(SEPARATOR);
    rest = complete.pop();
    for (const block of complete) emit(JSON.parse(block.replaceAll("\r\n||\r\n", SEPARATOR)));
  };
}

/** Read a response's body as text into `feed` until it ends. */
export async function drain(response, feed, heard) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    feed(decoder.decode(value, { stream: true }));
  }
}
