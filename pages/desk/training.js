// A training pair says what it is, stays on the screen after its vote, and shows whether the
// vote was right, what was expected and why. Enter goes on.

class Training {
  constructor(desk) {
    this.desk = desk;
    this.held = null; // the pair that was voted on, until its feedback is read
    this.said = null; // the choice
    this.told = null; // the server's feedback
    this.element = h("section", { class: "card training", role: "status", "aria-live": "polite", hidden: true });
  }

  // It waits to hear, or to be read.
  get open() { return Boolean(this.held || this.told); }

  hold(pair, choice) { this.held = pair; this.said = choice; this.told = null; }

  tell(feedback) { this.told = feedback; this.unseen = true; }

  release() { this.held = this.said = this.told = null; }

  show() {
    const { told, said } = this;
    const step = this.desk.pair?.training;
    this.element.hidden = !told && !step;
    this.element.classList.toggle("right", Boolean(told?.right));
    this.element.classList.toggle("wrong", Boolean(told && !told.right));
    if (this.element.hidden) return;
    const badge = (text) => h("header", {}, h("span", { class: "badge" }, text));
    if (!told) {
      const what = said ? "Looking up the answer …"
        : `Judge it as any other; then you see what was expected, and why. ${step.needed} of ${step.of} must be right before real pairs come.`;
      this.element.replaceChildren(badge(`Training pair ${step.place} of ${step.of}`), h("p", {}, what));
      return;
    }
    const expected = CHOICES[told.expected];
    const verdict = told.right ? `Right: ${expected}.` : `${said ? `You said: ${CHOICES[said]}. ` : ""}Expected: ${expected}.`;
    const next = h("button", { type: "button", "aria-keyshortcuts": "Enter", onclick: () => this.desk.next() },
      h("span", {}, told.verdict === "failed" && !told.tries_left ? "Close" : told.verdict === "passed" ? "Begin" : told.verdict === "failed" ? "Try again" : "Next pair"),
      h("kbd", { "aria-hidden": "true" }, "Enter"));
    this.element.replaceChildren(
      badge(`Training pair ${told.place} of ${told.of}`),
      h("p", {}, h("strong", {}, verdict)),
      ...(told.explanation ? [html("div", told.explanation)] : []),
      h("p", {}, this.score(told)),
      h("div", { class: "row" }, next),
    );
    // On a small screen somebody may have scrolled down to vote.
    if (this.unseen) this.element.scrollIntoView({ block: "nearest" });
    this.unseen = false;
  }

  score(told) {
    const right = `${told.score} of ${told.place} right`;
    if (told.verdict === "passed") return `${right}: you have passed. Real pairs come now.`;
    if (told.verdict === "failed") {
      const again = told.tries_left ? `You can try again: ${told.tries_left} ${told.tries_left === 1 ? "try is" : "tries are"} left.` : "There is no try left; the project's lead can let you try again.";
      return `${right}, and ${told.needed} are needed: not passed yet. ${again}`;
    }
    return `${right} so far; ${told.needed} of ${told.of} are needed.`;
  }
}
