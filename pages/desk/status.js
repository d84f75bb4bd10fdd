// How far this person is, what the page has to say, and what stands there when no pair does.

class Status {
  constructor(desk) {
    this.desk = desk;
    this.progress = h("div", { class: "progress", role: "progressbar", "aria-valuemin": "0" }, h("div"));
    this.line = h("div", { class: "quiet status" });
    this.message = h("div", { class: "message", role: "status", "aria-live": "polite", hidden: true });
    this.empty = h("section", { class: "card empty", hidden: true });
    this.wait = h("div", { class: "quiet wait" }, "Fetching the next pair …");
    this.elements = [this.progress, this.line, this.message, this.wait, this.empty];
  }

  show() {
    const { desk } = this;
    // No pair is here, but one may be on its way.
    const coming = !desk.refused && (desk.setup === null || desk.line.outbox.length > 0 || desk.line.syncing || desk.line.offline);
    this.wait.hidden = Boolean(desk.pair) || !coming;
    this.empty.hidden = Boolean(desk.pair) || coming;
    this.showProgress();
    this.showMessage();
    if (!this.empty.hidden) this.showEmpty();
  }

  showProgress() {
    const { progress: now, setup } = this.desk;
    if (!now) return;
    const whole = Math.max(1, now.done + now.left);
    this.progress.firstChild.style.width = `${(100 * now.done) / whole}%`;
    this.progress.setAttribute("aria-valuemax", whole);
    this.progress.setAttribute("aria-valuenow", now.done);
    const text = [`${now.done.toLocaleString()} done by you`, `${now.left.toLocaleString()} left for you`];
    if (now.median_ms && now.left) text.push(`about ${duration((now.left * now.median_ms) / 1000)}`);
    if (setup?.goal) text.push(`today ${Math.max(0, now.today)} of ${setup.goal}${now.today >= setup.goal ? " ✓" : ""}`);
    this.line.textContent = text.join(" · ");
  }

  showMessage() {
    const { line, pairs } = this.desk;
    const here = (n) => n > 1 ? `You can go on: ${n} pairs are here.` : n ? "This pair is the last one here." : "The next pair comes then, too.";
    const waiting = line.leases.length;
    const what = `${waiting} ${waiting === 1 ? "vote or skip is" : "votes and skips are"} kept in this browser and will be sent`;
    let said = this.desk.message;
    if (line.offline) said = `Offline. ${waiting ? `${what} when the connection is back.` : "Nothing is lost; the connection is tried again and again."} ${here(pairs.length)} ${said}`;
    else if (waiting && line.tries) said = `${said} ${what}.`;
    this.message.textContent = said.trim();
    this.message.hidden = !said.trim();
    this.message.classList.toggle("offline", line.offline);
  }

  showEmpty() {
    const { desk } = this;
    const now = desk.progress ?? { done: 0, skipped: 0, elsewhere: 0, wanted: 1 };
    const link = (href, label) => h("a", { href, target: "_self" }, label);
    const again = (label, run) => h("button", { type: "button", onclick: run }, label);
    const parts = [];
    if (desk.refused) {
      parts.push(h("h2", {}, "You get no pairs for now."), h("p", {}, desk.refused));
    } else if (!now.wanted) {
      parts.push(h("h2", {}, "There is nothing to label yet."), h("p", {}, desk.data.may_import
        ? "Import comparisons, or generate responses from two prompts: pairs to label come from either."
        : "Come back when the people who run this project added pairs."));
      if (desk.data.may_import) parts.push(link(`/data?project=${desk.project}`, "Import data"));
    } else {
      const thanks = now.done ? `You have voted on ${now.done.toLocaleString()} pair${now.done === 1 ? "" : "s"}. Thank you!` : "";
      const others = now.elsewhere ? ` ${now.elsewhere.toLocaleString()} more are with somebody else now and may come back.` : "";
      parts.push(h("h2", {}, "Nothing is left for you."), h("p", {}, thanks + others || (now.for_groups?.length ? "" : "Every pair has the votes it needs.")));
      if (now.for_groups?.length) parts.push(h("p", { dir: "auto" }, forGroups(now.for_groups)));
      const row = [again("Look again", () => { desk.line.forgetProgress(); desk.line.sync(); })];
      if (now.skipped) row.push(again(`Show the ${now.skipped.toLocaleString()} you skipped`, () => desk.line.unskip()));
      row.push(again("Undo (U)", () => desk.undo()), link(`/my_work?project=${desk.project}`, "My work"));
      parts.push(h("div", { class: "row" }, ...row));
    }
    this.empty.replaceChildren(...parts);
  }
}
