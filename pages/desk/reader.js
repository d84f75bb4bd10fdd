// What is read: guidelines, the example with its turns, and the two responses, folded where
// they are long, scrolled level, with their differences marked.

const LONG_WORDS = 220;

class Reader {
  constructor(desk) {
    this.desk = desk;
    this.unfolded = false;
    this.diff = false;
    this.guidelines = false;
    this.cards = { A: this.card("A"), B: this.card("B") };
    this.rules = h("section", { class: "card", hidden: true });
    this.example = h("section", { class: "card example" });
    this.two = h("div", { class: "pair" }, this.cards.A.element, this.cards.B.element);
    this.reasons = new Reasons();
    this.elements = [this.rules, this.example, this.two, this.reasons.element];
  }

  card(name) {
    const body = h("div", { class: "text", tabindex: "-1" });
    const words = h("span", { class: "quiet" });
    const fold = h("button", { type: "button", class: "fold", onclick: () => this.toggle("unfolded") });
    body.addEventListener("scroll", () => this.level(name));
    const element = h("section", { class: "card", "aria-label": `Response ${name}` }, h("header", {}, h("span", { class: "badge" }, `Response ${name}`), words), body, fold);
    return { element, body, words, fold };
  }

  setGuidelines(safe) {
    this.hasGuidelines = Boolean(safe);
    this.rules.replaceChildren(h("header", {}, h("span", { class: "badge" }, "Guidelines"), h("span", { class: "quiet" }, "G closes them")), html("div", safe));
  }

  // `name`: unfolded, diff, guidelines
  toggle(name) {
    if (name === "guidelines" && !this.hasGuidelines) return;
    this[name] = !this[name];
    if (name === "guidelines") this.showGuidelines(); else this.showTexts();
    this.desk.bar.show();
  }

  showGuidelines() { this.rules.hidden = !this.guidelines || !this.hasGuidelines; }

  show(pair) {
    this.unfolded = false;
    this.example.replaceChildren(...pair.turns.map((turn) => h("div", { class: `turn ${turn.role === "assistant" ? "assistant" : ""}` }, h("span", { class: "quiet" }, turn.role ? turn.role[0].toUpperCase() + turn.role.slice(1) : ""), html("div", turn.html))));
    this.reasons.show(pair);
    this.showTexts();
  }

  showTexts() {
    if (!this.desk.pair) return;
    const { left, right } = this.desk.pair;
    const long = Math.max(left.words, right.words) > LONG_WORDS;
    this.two.classList.toggle("long", long);
    this.two.classList.toggle("open", this.unfolded);
    for (const [name, response] of [["A", left], ["B", right]]) {
      const { body, words, fold } = this.cards[name];
      body.replaceChildren(response.empty ? h("p", { class: "quiet" }, "This response is empty.") : html("div", response.html));
      body.scrollTop = 0;
      words.textContent = `${response.words.toLocaleString()} word${response.words === 1 ? "" : "s"}`;
      fold.hidden = !long;
      fold.textContent = this.unfolded ? "Fold (O)" : `Show all ${response.words.toLocaleString()} words (O)`;
    }
    if (this.diff) {
      const { A, B } = this.cards;
      const [a, b] = markDifferences(A.body, B.body);
      A.words.textContent += ` · ${a.toLocaleString()} only here`;
      B.words.textContent += ` · ${b.toLocaleString()} only here`;
    }
  }

  // Where the two scroll apart from the page, they scroll together.
  level(name) {
    const from = this.cards[name].body, to = this.cards[name === "A" ? "B" : "A"].body;
    if (this.leveling === from) { this.leveling = null; return; }
    const room = from.scrollHeight - from.clientHeight;
    const top = room > 0 ? (from.scrollTop / room) * (to.scrollHeight - to.clientHeight) : 0;
    if (Math.abs(to.scrollTop - top) < 1) return;
    this.leveling = to;
    to.scrollTop = top;
  }
}
