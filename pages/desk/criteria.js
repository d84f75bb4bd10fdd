// The criteria: a row for each, two (one a response) where it is rated from 1 to 5. One row
// may be in hand; the keys rate that one.

class Criteria {
  constructor(desk) {
    this.desk = desk;
    this.rows = [];
    this.hand = -1;
    this.element = h("div", { class: "criteria", hidden: true });
  }

  get row() { return this.rows[this.hand]; }

  build(criteria) {
    this.rows = [];
    for (const { name, scale } of criteria) {
      if (scale === "1-5") for (const [side, letter] of [["left", "A"], ["right", "B"]]) this.rows.push({ name, side, label: `${name} · ${letter}`, values: [1, 2, 3, 4, 5], labels: ["1", "2", "3", "4", "5"] });
      else this.rows.push({ name, label: name, values: ["left", "same", "right"], labels: ["A", "Same", "B"] });
    }
    this.rows.forEach((row, place) => {
      row.buttons = row.values.map((value, i) => h("button", { type: "button", class: "small", onclick: (event) => { this.hand = place; this.mark(row, value); event.currentTarget.blur(); } }, row.labels[i]));
      row.element = h("div", { class: "criterion", role: "group", "aria-label": row.label }, h("span", { dir: "auto" }, row.label), h("div", { class: "segments" }, ...row.buttons));
    });
    this.element.replaceChildren(...this.rows.map((row) => row.element));
    this.element.hidden = !this.rows.length;
    this.hand = -1;
  }

  rate(place) {
    const row = this.row;
    if (!row || !this.desk.pair || place < 0 || place >= row.values.length) return;
    this.mark(row, row.values[place]);
    if (this.hand < this.rows.length - 1) this.moveTo(this.hand + 1);
  }

  step(by) {
    const row = this.row;
    if (!row || !this.desk.pair) return;
    const now = row.values.indexOf(this.marked(row));
    const from = now >= 0 ? now + by : row.side ? 2 : by < 0 ? 0 : 2;
    this.mark(row, row.values[Math.max(0, Math.min(row.values.length - 1, from))], true);
  }

  marked(row) {
    const value = this.desk.draft.values.criteria?.[row.name];
    return row.side ? value?.[row.side] : value;
  }

  mark(row, value, keep = false) {
    const criteria = { ...this.desk.draft.values.criteria };
    const again = !keep && this.marked(row) === value;
    if (row.side) {
      const points = { ...criteria[row.name] };
      if (again) delete points[row.side]; else points[row.side] = value;
      if (Object.keys(points).length) criteria[row.name] = points; else delete criteria[row.name];
    } else if (again) delete criteria[row.name];
    else criteria[row.name] = value;
    this.desk.draft.set("criteria", criteria);
    this.desk.bar.show();
  }

  moveTo(place) {
    if (!this.rows.length) return;
    this.hand = (place + this.rows.length) % this.rows.length;
    this.desk.bar.show();
    this.row.element.scrollIntoView({ block: "nearest" });
  }

  letGo() { this.hand = -1; }

  show() {
    this.rows.forEach((row, place) => {
      row.element.classList.toggle("current", place === this.hand);
      row.buttons.forEach((item, i) => press(item, this.marked(row) === row.values[i]));
    });
  }
}
