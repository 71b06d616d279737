/** The board: a few items, each watched by itself, edited here and seen everywhere. */

const COUNT = 6;

/** The board on the page. */
export class Board {
  #list = document.getElementById("items");
  #note = document.getElementById("board-note");

  /**
   * @param {object} line what is watched
   * @param {(item: {id: string, text: string, done: boolean}) => Promise<void>} save
   */
  constructor(line, save) {
    for (let number = 1; number <= COUNT; number += 1) this.#add(line, String(number), save);
  }

  #add(line, id, save) {
    const item = document.createElement("li");
    const done = document.createElement("input");
    const text = document.createElement("input");
    done.type = "checkbox";
    done.setAttribute("aria-label", `Item ${id} is done`);
    text.maxLength = 60;
    text.placeholder = `Item ${id}`;
    text.setAttribute("aria-label", `Item ${id}`);
    text.autocomplete = "off";
    item.append(done, text);
    this.#list.append(item);

    let shown = { text: "", done: false };
    const left = async () => {
      const now = { text: text.value.trim(), done: done.checked };
      if (now.text === shown.text && now.done === shown.done) return;
      try {
        await save({ id, ...now });
        this.#note.textContent = "";
      } catch (error) {
        this.#note.textContent = error.message;
      }
    };
    done.addEventListener("change", left);
    text.addEventListener("change", left);
    text.addEventListener("keydown", (event) => event.key === "Enter" && text.blur());

    line.watch("items", id, ({ value, removed, version }) => {
      const isNews = item.dataset.version !== undefined;
      shown = removed ? { text: "", done: false } : value;
      item.dataset.version = version;
      item.classList.toggle("done", shown.done);
      done.checked = shown.done;
      if (document.activeElement !== text) text.value = shown.text; // what is being typed stays
      if (!isNews) return;
      item.classList.remove("news");
      void item.offsetWidth; // begins the animation anew
      item.classList.add("news");
    }, {
      onError: ({ detail }) => {
        this.#note.textContent = detail;
      },
    });
  }
}
