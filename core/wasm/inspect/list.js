// The list of lines: only the lines in view have elements.

import { make } from "./dom.js";

const ROW_PX = 28;
const MARGIN_ROWS = 12;

export class List {
  constructor(root, choose) {
    this.root = root;
    this.space = root.firstElementChild;
    this.rows = [];
    this.current = 0;
    // The time of the journal's first line.
    this.begin = 0;
    this.choose = choose;
    root.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(root);
    this.space.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) choose(Number(row.dataset.line));
    });
  }

  /** Replaces the rows; `reveal` draws them. */
  fill(rows) {
    this.rows = rows;
    this.space.style.height = `${rows.length * ROW_PX}px`;
  }

  show(rows) {
    this.fill(rows);
    this.reveal(this.current);
  }

  // The place of the first row that is not before this line.
  place(line) {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].number < line) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The next line, or with `by` -1 the one before, whose row fits; `undefined` when there is none. */
  next(by, fits) {
    const at = this.place(this.current);
    const exact = this.rows[at]?.number === this.current;
    for (let place = by > 0 && !exact ? at : at + by; this.rows[place]; place += by) {
      if (fits(this.rows[place])) return this.rows[place].number;
    }
    return undefined;
  }

  // The line this number of rows further.
  beside(by) {
    const at = this.place(this.current);
    const exact = this.rows[at]?.number === this.current;
    const place = at + (by > 0 && !exact ? by - 1 : by);
    return this.rows[Math.max(0, Math.min(this.rows.length - 1, place))]?.number ?? this.current;
  }

  reveal(line) {
    this.current = line;
    const top = this.place(line) * ROW_PX;
    const { scrollTop, clientHeight } = this.root;
    if (top < scrollTop || top + ROW_PX > scrollTop + clientHeight) this.root.scrollTop = top - clientHeight / 2;
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.root.scrollTop / ROW_PX) - MARGIN_ROWS);
    const last = Math.ceil((this.root.scrollTop + this.root.clientHeight) / ROW_PX) + MARGIN_ROWS;
    this.space.replaceChildren(...this.rows.slice(first, last).map((row, index) => this.element(row, first + index)));
    const id = `line-${this.current}`;
    if (document.getElementById(id)) this.root.setAttribute("aria-activedescendant", id);
    else this.root.removeAttribute("aria-activedescendant");
  }

  /** Redraws if one of these lines is in view. */
  changed(from, to) {
    const shown = this.space.children;
    const [first, last] = [shown[0]?.dataset.line, shown[shown.length - 1]?.dataset.line].map(Number);
    if (first <= to && last >= from) this.draw();
  }

  element(row, place) {
    const { at, kind, event, rooms, conn } = row.fields;
    const what = make("span", {}, make("b", {}, kind), ` ${[event, rooms[0], conn].filter(Boolean).join(" · ")}`);
    const element = make("div", {
      class: "row", role: "option", id: `line-${row.number}`, "data-line": row.number,
      "aria-selected": row.number === this.current, "aria-setsize": this.rows.length, "aria-posinset": place + 1,
    }, make("span", { class: "line" }, String(row.number)), make("span", { class: "at" }, `+${((at - this.begin) / 1000).toFixed(3)}`), what,
      make("span", {}, ...row.broken.map((name) => make("em", { title: "An invariant that does not hold" }, name)),
        make("span", { class: "dim" }, row.deliveries ? `→ ${row.deliveries}` : "")));
    element.style.top = `${place * ROW_PX}px`;
    return element;
  }
}
