// What is pressed: the four choices, how much better, the texts that go with a vote, and the
// tools. It shows what the draft says.

const CHOICES = { left: "A is better", tie: "Tie", right: "B is better", both_bad: "Both bad" };
const STRENGTHS = ["significantly", "clearly", "slightly", "barely"];
const LONGEST = { reason: 10000, better: 100000 }; // characters that the server takes
const capital = (word) => word[0].toUpperCase() + word.slice(1);

class Bar {
  constructor(desk) {
    this.desk = desk;
    const button = (label, key, run, cls = "") => h("button", { type: "button", class: cls, "aria-keyshortcuts": key, onclick: (event) => { run(); event.currentTarget.blur(); } }, h("span", {}, label), h("kbd", { "aria-hidden": "true" }, key));
    this.fields = {
      reason: this.field("reason", "Why? Goes with your vote", 2, "Esc brings the keys back; the text is kept"),
      better: this.field("better", "A better response, in your own words", 4, "What a good response says. It is kept with your name, for training"),
    };
    this.choices = Object.fromEntries(Object.entries(CHOICES).map(([choice, label], i) => [choice, button(label, `${i + 1}`, () => desk.choose(choice), "choice")]));
    this.strengths = Object.fromEntries(STRENGTHS.map((name, i) => [name, button(capital(name), `${i + 5}`, () => desk.setStrength(name), "small")]));
    this.send = button("Send", "Enter", () => desk.next(), "small");
    this.tools = {
      reason: button("Reason", "N", () => this.write("reason"), "plain"),
      better: button("Write a better one", "W", () => this.write("better"), "plain"),
      diff: button("Differences", "D", () => desk.reader.toggle("diff"), "plain"),
      guidelines: button("Guidelines", "G", () => desk.reader.toggle("guidelines"), "plain"),
      undo: button("Undo", "U", () => desk.undo(), "plain"),
      skip: button("Skip", "S", () => desk.skipDialog.open(), "plain"),
      keys: button("Keys", "?", () => desk.helpDialog.open(), "plain"),
    };
    this.element = h("footer", { class: "bar" },
      desk.criteria.element, this.fields.reason.box, this.fields.better.box,
      h("div", { class: "votes" },
        h("div", { class: "row choices" }, ...Object.values(this.choices)),
        h("div", { class: "row tools" },
          h("div", { class: "segments", role: "group", "aria-label": "How much better?" }, ...Object.values(this.strengths)),
          this.send, h("span", { class: "gap" }), ...Object.values(this.tools))));
  }

  field(name, label, rows, hint) {
    const area = h("textarea", { rows, "aria-label": label, placeholder: hint, maxlength: LONGEST[name] });
    area.addEventListener("input", () => this.desk.draft.set(name, area.value));
    area.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey))) { event.preventDefault(); area.blur(); area.parentElement.hidden = !area.value; }
    });
    return { area, box: h("label", { class: "field", hidden: true }, h("span", { class: "quiet" }, label), area) };
  }

  write(name) {
    if (!this.desk.pair) return;
    this.fields[name].box.hidden = false;
    this.fields[name].area.focus();
  }

  // Another pair: its own texts, or none.
  fill() {
    for (const [name, { area, box }] of Object.entries(this.fields)) {
      area.value = this.desk.draft.values[name] ?? "";
      box.hidden = !area.value;
    }
  }

  show() {
    const { desk, tools } = this;
    const { choice: chosen, strength } = desk.draft.values;
    for (const [choice, item] of Object.entries(this.choices)) press(item, chosen === choice);
    for (const [name, item] of Object.entries(this.strengths)) press(item, strength === name);
    desk.criteria.show();
    this.send.hidden = !desk.prefs.confirm && !chosen;
    press(tools.diff, desk.reader.diff);
    press(tools.guidelines, desk.reader.guidelines);
    tools.guidelines.hidden = !desk.reader.hasGuidelines;
    tools.undo.disabled = !desk.undoable.length && !desk.line.leases.length;
  }
}
