/** The chat room: shows what the line brings, and sends what is typed. */

const MOST = 500; // messages kept on the page
const SAME_BREATH = 120; // seconds within which a speaker's messages stand together
const FIRST = ["Amber", "Brisk", "Calm", "Clever", "Gentle", "Hazel", "Lucid", "Merry", "Nimble", "Quiet", "Rosy", "Sunny", "Swift", "Tidal", "Velvet", "Witty"];
const SECOND = ["Badger", "Crane", "Dolphin", "Falcon", "Finch", "Fox", "Heron", "Ibex", "Lynx", "Marten", "Otter", "Owl", "Puffin", "Seal", "Tern", "Wren"];

const $ = (id) => document.getElementById(id);
const pick = (list) => list[Math.floor(Math.random() * list.length)];

/** The room on the page. */
export class ChatRoom {
  #list = $("messages");
  #scroller = $("scroller");
  #newer = $("newer");
  #name = $("name");
  #text = $("text");
  #note = $("say-note");
  #last = null;
  #mine = new Set(remembered("names") ?? []);
  #isAtEnd = true;

  /** @param {(words: {name: string, text: string}) => Promise<void>} say sends a message */
  constructor(say) {
    this.#name.value = remembered("name") ?? `${pick(FIRST)} ${pick(SECOND)}`;
    this.#claim();
    this.#name.addEventListener("change", () => this.#claim());
    $("say").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(say);
    });
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      $("say").requestSubmit();
    });
    this.#text.addEventListener("input", () => this.#count());
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#newer.addEventListener("click", () => this.#toEnd("smooth"));
    new ResizeObserver(() => this.#isAtEnd && this.#toEnd()).observe(this.#scroller);
    setInterval(() => this.#retell(), 10_000);
  }

  /** Show a message of the room; `isNew` says that it was just said. */
  show({ data, published_at: published, global_id: id }, isNew) {
    if (typeof data?.text !== "string") return;
    const said = { name: String(data.name || "Somebody"), at: published ?? data.at ?? Date.now() / 1000 };
    const isOwn = this.#mine.has(said.name);
    const isAgain = this.#last?.name === said.name && said.at - this.#last.at < SAME_BREATH;
    this.#last = said;
    const item = make("li", `said${isOwn ? " own" : ""}${isAgain ? " again" : ""}${isNew ? " fresh" : ""}`);
    const face = make("span", "face", initials(said.name));
    face.setAttribute("aria-hidden", "true");
    face.style.setProperty("--hue", String(hue(said.name)));
    const by = make("p", "by");
    const time = make("time", "", ago(said.at));
    time.dateTime = new Date(said.at * 1000).toISOString();
    time.title = `${new Date(said.at * 1000).toLocaleString()} · id ${id}`;
    by.append(make("b", "", isOwn ? "You" : said.name), time);
    const bubble = make("p", "bubble", data.text);
    bubble.title = time.title;
    item.append(face, by, bubble);
    this.#list.append(item);
    while (this.#list.childElementCount > MOST) this.#list.firstElementChild.remove();
    if (this.#isAtEnd || (isOwn && isNew)) this.#toEnd();
    else this.#newer.hidden = false;
  }

  async #send(say) {
    const text = this.#text.value.trim();
    const name = this.#name.value.trim();
    if (!text || !name) return;
    this.#claim();
    const button = $("say").querySelector("button");
    button.disabled = true;
    this.#note.textContent = "";
    try {
      await say({ name, text });
      this.#text.value = "";
      this.#count();
    } catch (error) {
      this.#note.textContent = `Not sent: ${error.message}`;
    } finally {
      button.disabled = false;
      this.#text.focus();
    }
  }

  /** Remember the name for this tab alone, so that two tabs are two people. */
  #claim() {
    const name = this.#name.value.trim();
    if (!name) return;
    this.#mine.add(name);
    remember("name", name);
    remember("names", [...this.#mine].slice(-20));
  }

  #count() {
    const left = this.#text.maxLength - this.#text.value.length;
    $("count").textContent = left <= 100 ? `${left} left` : "";
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < 40;
    if (this.#isAtEnd) this.#newer.hidden = true;
  }

  #toEnd(behavior = "instant") {
    this.#scroller.scrollTo({ top: this.#scroller.scrollHeight, behavior });
    this.#newer.hidden = true;
  }

  #retell() {
    for (const time of this.#list.querySelectorAll("time")) {
      const words = ago(Date.parse(time.dateTime) / 1000);
      if (time.textContent !== words) time.textContent = words;
    }
  }
}

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

function initials(name) {
  const words = name.trim().split(/\s+/);
  return [...words].slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}

function hue(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 360;
  return sum;
}

function ago(at) {
  const seconds = Date.now() / 1000 - at;
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds / 10) * 10} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  const date = new Date(at * 1000);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return seconds < 64_800 ? time : `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

function remembered(key) {
  try {
    return JSON.parse(sessionStorage.getItem(`trunkline-demo-${key}`));
  } catch {
    return null; // a browser may forbid storage: then the name is new on every load
  }
}

function remember(key, value) {
  try {
    sessionStorage.setItem(`trunkline-demo-${key}`, JSON.stringify(value));
  } catch {
    // As above.
  }
}
