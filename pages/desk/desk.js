// The annotators' desk: two responses side by side, judged from the keyboard.
//
// Streamlit's own way (a press goes to the server, the page comes back) loses a press while
// the network is away, and makes a person wait for every vote. So the pair on the screen and
// the next one are held here. A press shows the next pair at once; the vote goes to an
// outbox in the browser's storage, and leaves it when the server says that it is stored. A
// vote carries its lease, so however often it is sent, it is one vote.
//
// What is shown as HTML was made safe by the server (core/rendering); everything else is
// set as text.

const TOO_SOON_MS = 250; // nobody has read a pair that fast
const BEAT_MS = 25_000;
const IDLE_MS = 30 * 60_000; // a page that nobody looks at gives its pairs back
const LONG_WORDS = 220;
const PROGRESS_MS = 15_000;
const CHOICES = { left: "A is better", tie: "Tie", right: "B is better", both_bad: "Both bad" };
const STRENGTHS = ["significantly", "clearly", "slightly", "barely"];
const SKIPS = ["I do not know the subject", "I do not read the language well", "A response is broken or empty", "I would rather not read this"];
const desks = new WeakMap();

export default function (component) {
  const { data, parentElement } = component;
  let desk = desks.get(parentElement);
  if (desk && desk.project === data.project && desk.user === data.user) return () => desk.close();
  desk?.close();
  desk = new Desk(parentElement.querySelector("#desk"), data);
  desks.set(parentElement, desk);
  return () => { desk.close(); desks.delete(parentElement); };
}

class Desk {
  constructor(root, data) {
    Object.assign(this, { root, data, project: data.project, user: data.user });
    this.store = new Store(`prefloop.desk.${data.user}.${data.project}`);
    this.outbox = this.store.all("deed."); // each under a key of its own: other windows have theirs
    this.prefs = new Store("prefloop.desk").read("prefs", { confirm: false });
    this.pairs = []; // the first is on the screen
    this.past = new Map(); // pairs judged in this window, by lease: an unsent vote can be taken back
    this.undoable = [];
    this.setup = null;
    this.progress = null;
    this.shown = null; // {lease, at}
    this.row = -1; // the criterion in hand
    this.open = false;
    this.diff = false;
    this.guidelines = false;
    this.offline = false;
    this.message = "";
    this.lastInput = performance.now();
    this.closed = false;
    this.listeners = new AbortController();
    const on = (target, type, work, capture = false) =>
      target.addEventListener(type, work, { signal: this.listeners.signal, capture });
    on(window, "keydown", (event) => this.key(event), true);
    on(window, "pointerdown", () => this.here(), true);
    on(window, "online", () => this.sync());
    on(window, "offline", () => { this.offline = true; this.showStatus(); });
    on(window, "pagehide", () => this.leave());
    on(window, "pageshow", (event) => event.persisted && this.sync());
    on(document, "visibilitychange", () => document.visibilityState === "visible" && this.beat());
    this.timer = setInterval(() => this.beat(), BEAT_MS);
    this.build();
    this.sync({ opening: true });
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.listeners.abort();
    clearInterval(this.timer);
    clearTimeout(this.again);
    this.leave();
  }

  // --- the server ---------------------------------------------------------------------

  async post(path, body, keepalive = false) {
    return fetch(`/desk/${this.project}/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Prefloop-Desk": "1" },
      body: JSON.stringify(body),
      keepalive,
      signal: keepalive ? undefined : AbortSignal.timeout(20_000),
    });
  }

  // Send what waits, ask for pairs. One at a time; what came meanwhile goes with the next.
  async sync(asked = {}) {
    this.opening ||= asked.opening || false;
    if (this.syncing) { this.syncAgain = true; return; }
    if (this.closed) return;
    this.syncing = true;
    clearTimeout(this.again);
    const sent = this.outbox.slice(0, 200);
    const day = new Date(); day.setHours(0, 0, 0, 0);
    const opening = this.opening || !this.setup;
    const progress = opening || performance.now() - (this.progressAt ?? -Infinity) > PROGRESS_MS;
    let answer = null, refused = "";
    try {
      const response = await this.post("work", {
        deeds: sent, known: this.pairs.map((pair) => pair.lease), opening, progress, day_start: day.toISOString(),
      });
      if (response.ok) answer = await response.json();
      else if (response.status === 401) refused = "You are signed out. Sign in again in another tab; what you did is kept here.";
      else if (response.status < 500) refused = (await response.json().catch(() => ({}))).detail?.toString() || "This was refused.";
    } catch { /* the network is away: the outbox keeps everything */ }
    this.syncing = false;
    if (this.closed) return;
    this.offline = answer === null && !refused;
    if (answer === null) {
      this.message = refused;
      this.tries = (this.tries ?? 0) + 1;
      this.again = setTimeout(() => this.sync(), Math.min(8_000, 500 * 2 ** this.tries));
      this.showStatus();
      return;
    }
    this.tries = 0;
    if (opening) { this.opening = false; this.open_(answer.opening); }
    this.take(answer, sent);
    if (this.syncAgain || this.outbox.length) { this.syncAgain = false; this.sync(); }
  }

  open_(opening) {
    this.setup = opening;
    this.undoable = opening.undoable;
    if (!opening.undoable.length && opening.guidelines && this.shown === null) this.guidelines = true;
    this.buildCriteria();
  }

  take(answer, sent) {
    const finished = new Set(sent.map((deed) => deed.kind + deed.key));
    this.outbox = this.outbox.filter((deed) => !finished.has(deed.kind + deed.key));
    for (const deed of sent) this.store.remove(`deed.${deed.kind}.${deed.key}`);
    let front = this.pairs[0]?.lease;
    const problems = [];
    answer.done.forEach((done, place) => {
      const deed = sent[place];
      if (deed.kind === "undo") {
        this.undoable = this.undoable.filter((id) => id !== deed.key);
        if (!done.problem) {
          const back = answer.pairs.find((pair) => pair.pair_id === done.pair_id) ??
            answer.pairs.find((pair) => this.known(pair.lease)?.pair_id === done.pair_id);
          if (back) {
            front = back.lease;
            if (done.said) this.store.write(`draft.${back.lease}`, done.said);
          }
          if (this.progress) { this.progress.done -= 1; this.progress.left += 1; this.progress.today -= 1; }
        }
      } else if (deed.kind === "vote" && done.vote_id && !done.problem) {
        this.undoable.unshift(done.vote_id);
      }
      if (done.problem) problems.push(done.problem);
    });
    if (problems.length) this.message = problems.join(" ");
    const waiting = new Set(this.outbox.map((deed) => deed.key));
    const pairs = answer.pairs.map((pair) => pair.pair_id ? pair : this.known(pair.lease))
      .filter((pair) => pair && !waiting.has(pair.lease));
    // The pair somebody reads stays where it is; others stand behind it.
    const place = pairs.findIndex((pair) => pair.lease === front);
    if (place > 0) pairs.unshift(...pairs.splice(place, 1));
    this.pairs = pairs;
    if (answer.progress) { this.progress = answer.progress; this.progressAt = performance.now(); this.countWaiting(); }
    this.show();
  }

  known(lease) { return this.pairs.find((pair) => pair.lease === lease); }

  // The server's figures do not know yet what waits here.
  countWaiting() {
    const votes = this.outbox.filter((deed) => deed.kind === "vote").length;
    this.progress.done += votes; this.progress.today += votes; this.progress.left -= votes;
  }

  async beat() {
    if (this.closed || performance.now() - this.lastInput > IDLE_MS) return;
    const leases = [...this.pairs.map((pair) => pair.lease), ...this.outbox.filter((deed) => deed.kind !== "undo").map((deed) => deed.key)];
    if (!leases.length) return;
    try {
      const response = await this.post("heartbeat", { leases });
      if (!response.ok) return;
      const held = new Set((await response.json()).held);
      const waiting = new Set(this.outbox.map((deed) => deed.key));
      const lost = this.pairs.filter((pair) => leases.includes(pair.lease) && !held.has(pair.lease) && !waiting.has(pair.lease));
      if (!lost.length || this.syncing) return;
      if (lost.includes(this.pairs[0])) this.message = "This pair went to somebody else while it lay here.";
      this.pairs = this.pairs.filter((pair) => !lost.includes(pair));
      this.sync();
    } catch { /* the next one will do */ }
  }

  // Somebody is here: after a long pause the leases may be gone.
  here() {
    const away = performance.now() - this.lastInput;
    this.lastInput = performance.now();
    if (away > BEAT_MS * 4) this.beat();
  }

  leave() {
    const leases = this.pairs.map((pair) => pair.lease);
    if (leases.length) this.post("leave", { leases }, true).catch(() => {});
  }

  keep(deed) {
    deed.at = Date.now();
    this.outbox.push(deed);
    this.store.write(`deed.${deed.kind}.${deed.key}`, deed);
  }

  // --- what a person does -------------------------------------------------------------

  get pair() { return this.pairs[0]; }
  get busy() { return this.outbox.some((deed) => deed.kind === "undo"); }

  ready() {
    return this.pair && !this.busy && this.shown?.lease === this.pair.lease && performance.now() - this.shown.at >= TOO_SOON_MS;
  }

  choose(choice) {
    if (!this.ready()) return;
    if (this.prefs.confirm) {
      this.draft.choice = this.draft.choice === choice ? null : choice;
      this.saveDraft();
      this.showBar();
    } else this.send(choice);
  }

  next() {
    if (!this.ready()) return;
    if (this.draft.choice) this.send(this.draft.choice);
    else this.say("Choose with 1 to 4 first.");
  }

  send(choice) {
    const { strength, criteria, reason, better } = this.draft;
    const values = { choice, strength: strength ?? null, criteria: criteria ?? {}, reason: (reason ?? "").trim(), duration_ms: Math.round(performance.now() - this.shown.at) };
    if (better?.trim()) values.better = better.trim();
    this.finish({ kind: "vote", key: this.pair.lease, pair_id: this.pair.pair_id, values });
    this.guidelines = false;
    if (this.progress) { this.progress.done += 1; this.progress.left = Math.max(0, this.progress.left - 1); this.progress.today += 1; }
  }

  skip(reason) {
    if (!this.pair) return;
    this.finish({ kind: "skip", key: this.pair.lease, pair_id: this.pair.pair_id, values: { reason } });
    this.progressAt = -Infinity;
  }

  finish(deed) {
    this.past.set(deed.key, this.pair);
    if (this.past.size > 50) this.past.delete(this.past.keys().next().value);
    this.keep(deed);
    this.store.remove(`draft.${deed.key}`);
    this.pairs.shift();
    this.message = "";
    this.show();
    // After the frame: the next pair is seen first, then the vote goes out.
    setTimeout(() => this.sync());
  }

  undo() {
    if (this.busy) return;
    const last = this.outbox.findLast((deed) => deed.kind === "vote");
    if (last && this.syncing) { this.say("Your last vote is being stored. Press U again in a moment."); return; }
    if (last && this.past.has(last.key)) { // not sent yet: nobody else needs to know
      this.outbox = this.outbox.filter((deed) => deed !== last);
      this.store.remove(`deed.vote.${last.key}`);
      this.store.write(`draft.${last.key}`, last.values);
      this.pairs.unshift(this.past.get(last.key));
      if (this.progress) { this.progress.done -= 1; this.progress.left += 1; this.progress.today -= 1; }
      this.show();
      return;
    }
    if (this.offline) { this.say("Offline: this vote was sent, and can be taken back when the connection is there again."); return; }
    if (!this.undoable.length) { this.say("There is nothing to take back."); return; }
    this.keep({ kind: "undo", key: this.undoable[0] });
    this.message = "";
    this.sync();
  }

  setStrength(value) {
    if (!this.pair) return;
    this.draft.strength = this.draft.strength === value ? null : value;
    this.saveDraft();
    this.showBar();
  }

  rate(place) {
    const row = this.rows[this.row];
    if (!row || !this.pair || place < 0 || place >= row.values.length) return;
    this.mark(row, row.values[place]);
    if (this.row < this.rows.length - 1) this.moveTo(this.row + 1);
  }

  step(by) {
    const row = this.rows[this.row];
    if (!row || !this.pair) return;
    const now = row.values.indexOf(this.marked(row));
    const from = now >= 0 ? now + by : row.side ? 2 : by < 0 ? 0 : 2;
    this.mark(row, row.values[Math.max(0, Math.min(row.values.length - 1, from))], true);
  }

  marked(row) {
    const value = this.draft.criteria?.[row.name];
    return row.side ? value?.[row.side] : value;
  }

  mark(row, value, keep = false) {
    const criteria = { ...this.draft.criteria };
    const again = !keep && this.marked(row) === value;
    if (row.side) {
      const points = { ...criteria[row.name] };
      if (again) delete points[row.side]; else points[row.side] = value;
      if (Object.keys(points).length) criteria[row.name] = points; else delete criteria[row.name];
    } else if (again) delete criteria[row.name];
    else criteria[row.name] = value;
    this.draft.criteria = criteria;
    this.saveDraft();
    this.showBar();
  }

  moveTo(row) {
    if (!this.rows.length) return;
    this.row = (row + this.rows.length) % this.rows.length;
    this.showBar();
    this.rows[this.row].element.scrollIntoView({ block: "nearest" });
  }

  saveDraft() { if (this.pair) this.store.write(`draft.${this.pair.lease}`, this.draft); }

  say(text) { this.message = text; this.showStatus(); }

  toggle(name) {
    this[name] = !this[name];
    if (name === "guidelines") this.showGuidelines(); else this.showTexts();
    this.showBar();
  }

  // --- keys: one list, for the keyboard and for the overlay that explains it --------------

  keys() {
    const digit = (n) => `Digit${n}`;
    return [
      ["Vote", [
        ...Object.entries(CHOICES).map(([choice, label], i) => ({ show: `${i + 1}`, code: digit(i + 1), label, run: () => this.choose(choice) })),
        { show: "Enter", key: "enter", label: "Send what is chosen, and go on to the next pair", run: () => this.next() },
        { show: "U", key: "u", label: "Undo: take the last vote back, again and again to the first", run: () => this.undo() },
        { show: "S", key: "s", label: "Skip, with a reason", run: () => this.pair && this.skipDialog.open() },
      ]],
      ["How much better, and why", [
        ...STRENGTHS.map((name, i) => ({ show: `${i + 5}`, code: digit(i + 5), label: name[0].toUpperCase() + name.slice(1), run: () => this.setStrength(name) })),
        { show: "N", key: "n", label: "Write a reason (Esc: back to the keys)", run: () => this.write("reason") },
        { show: "W", key: "w", label: "Write a better response (Esc: back to the keys)", run: () => this.write("better") },
      ]],
      ["Criteria", [
        { show: "J", key: "j", label: "Next criterion", repeat: true, run: () => this.moveTo(this.row + 1) },
        { show: "K", key: "k", label: "Criterion before", repeat: true, run: () => this.moveTo(this.row < 0 ? -1 : this.row - 1) },
        { show: "←", key: "arrowleft", label: "One step towards A, or one point less", needsRow: true, run: () => this.step(-1) },
        { show: "→", key: "arrowright", label: "One step towards B, or one point more", needsRow: true, run: () => this.step(1) },
        { show: "Shift + 1 … 5", shift: true, label: "The first … fifth choice of the criterion, then the next one", run: (n) => this.rate(n - 1) },
      ]],
      ["Look", [
        { show: "D", key: "d", label: "Mark the words that differ", run: () => this.toggle("diff") },
        { show: "O", key: "o", label: "Open or fold long responses", run: () => this.toggle("open") },
        { show: "G", key: "g", label: "Guidelines", run: () => this.setup?.guidelines && this.toggle("guidelines") },
        { show: "M", key: "m", label: "Mode: send at once, or with Enter", run: () => this.mode() },
        { show: "?", key: "?", label: "This list", run: () => this.helpDialog.open() },
      ]],
    ];
  }

  key(event) {
    this.here();
    if (!this.root.isConnected || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = event.composedPath()[0];
    if (target instanceof Element && target.closest("input, textarea, select, [contenteditable=''], [contenteditable=true]")) return;
    if (this.dialogs.some((dialog) => dialog.element.open) || document.querySelector("[role=dialog], dialog[open]")) return;
    if (event.key === "Enter" && target instanceof Element && target.closest("button, a, summary")) return;
    const code = event.code.replace("Numpad", "Digit");
    const number = /^Digit([1-8])$/.exec(code)?.[1];
    const key = event.key.toLowerCase();
    for (const [, group] of this.keyGroups) {
      for (const item of group) {
        const hit = item.shift ? event.shiftKey && number && number <= 5
          : item.code ? !event.shiftKey && item.code === code : item.key === key && (!event.shiftKey || key === "?");
        if (!hit || (item.needsRow && this.row < 0)) continue;
        event.preventDefault();
        event.stopImmediatePropagation();
        // A key that is held repeats; only moving about may.
        if (!event.repeat || item.repeat) item.run(Number(number));
        return;
      }
    }
    if (event.key === "Escape" && this.row >= 0) { this.row = -1; this.showBar(); }
  }

  mode() {
    this.prefs.confirm = !this.prefs.confirm;
    new Store("prefloop.desk").write("prefs", this.prefs);
    this.say(this.prefs.confirm ? "Mode: 1 to 4 choose, Enter sends." : "Mode: 1 to 4 send at once.");
    this.showBar();
  }

  write(name) {
    if (!this.pair) return;
    this.fields[name].box.hidden = false;
    this.fields[name].area.focus();
  }

  // --- what stands on the page ----------------------------------------------------------

  build() {
    this.keyGroups = this.keys();
    const button = (label, key, run, cls = "") => h("button", { type: "button", class: cls, "aria-keyshortcuts": key, onclick: (event) => { run(); event.currentTarget.blur(); } }, h("span", {}, label), key ? h("kbd", { "aria-hidden": "true" }, key) : null);
    const part = (this.part = {});
    const card = (name) => {
      const body = h("div", { class: "text", tabindex: "-1" });
      const words = h("span", { class: "quiet" });
      const fold = h("button", { type: "button", class: "fold", onclick: () => this.toggle("open") });
      body.addEventListener("scroll", () => this.level(name));
      part[name] = { body, words, fold };
      return h("section", { class: "card", "aria-label": `Response ${name}` }, h("header", {}, h("span", { class: "badge" }, `Response ${name}`), words), body, fold);
    };
    const field = (name, label, rows, hint) => {
      const area = h("textarea", { rows, "aria-label": label, placeholder: hint });
      area.addEventListener("input", () => { this.draft[name] = area.value; this.saveDraft(); });
      area.addEventListener("keydown", (event) => {
        event.stopPropagation();
        if (event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey))) { event.preventDefault(); area.blur(); area.parentElement.hidden = !area.value; }
      });
      return { area, box: h("label", { class: "field", hidden: true }, h("span", { class: "quiet" }, label), area) };
    };
    this.fields = {
      reason: field("reason", "Why? Goes with your vote", 2, "Esc brings the keys back; the text is kept"),
      better: field("better", "A better response, in your own words", 4, "What a good response says. It is kept with your name, for training"),
    };
    part.progress = h("div", { class: "progress", role: "progressbar", "aria-valuemin": "0" }, h("div"));
    part.status = h("div", { class: "quiet status" });
    part.message = h("div", { class: "message", role: "status", "aria-live": "polite", hidden: true });
    part.guidelines = h("section", { class: "card", hidden: true });
    part.example = h("section", { class: "card example" });
    part.pair = h("div", { class: "pair" }, card("A"), card("B"));
    part.choices = Object.fromEntries(Object.entries(CHOICES).map(([choice, label], i) => [choice, button(label, `${i + 1}`, () => this.choose(choice), "choice")]));
    part.strengths = Object.fromEntries(STRENGTHS.map((name, i) => [name, button(name[0].toUpperCase() + name.slice(1), `${i + 5}`, () => this.setStrength(name), "small")]));
    part.criteria = h("div", { class: "criteria", hidden: true });
    part.send = button("Send", "Enter", () => this.next(), "small");
    part.tools = {
      reason: button("Reason", "N", () => this.write("reason"), "plain"),
      better: button("Write a better one", "W", () => this.write("better"), "plain"),
      diff: button("Differences", "D", () => this.toggle("diff"), "plain"),
      guidelines: button("Guidelines", "G", () => this.toggle("guidelines"), "plain"),
      undo: button("Undo", "U", () => this.undo(), "plain"),
      skip: button("Skip", "S", () => this.skipDialog.open(), "plain"),
      keys: button("Keys", "?", () => this.helpDialog.open(), "plain"),
    };
    part.bar = h("footer", { class: "bar" },
      part.criteria, this.fields.reason.box, this.fields.better.box,
      h("div", { class: "votes" },
        h("div", { class: "row choices" }, ...Object.values(part.choices)),
        h("div", { class: "row tools" },
          h("div", { class: "segments", role: "group", "aria-label": "How much better?" }, ...Object.values(part.strengths)),
          part.send, h("span", { class: "gap" }), ...Object.values(part.tools))));
    part.desk = h("div", { class: "work", hidden: true }, part.guidelines, part.example, part.pair, part.bar);
    part.empty = h("section", { class: "card empty", hidden: true });
    part.wait = h("div", { class: "quiet wait" }, "Fetching the next pair …");
    this.helpDialog = dialog("Keys", ...this.keyGroups.map(([title, items]) => h("section", {}, h("h3", {}, title),
      h("dl", {}, ...items.flatMap((item) => [h("dt", {}, h("kbd", {}, item.show)), h("dd", {}, item.label)])))));
    this.helpDialog.element.classList.add("keys");
    this.helpDialog.element.addEventListener("keydown", (event) => { event.stopPropagation(); if (event.key === "?") this.helpDialog.close(); });
    const other = h("textarea", { rows: 2, "aria-label": "Another reason", placeholder: "Another reason, or none; Enter skips" });
    const skipWith = (reason) => { this.skipDialog.close(); other.value = ""; this.skip(reason); };
    this.skipDialog = dialog("Skip this pair", h("p", { class: "quiet" }, "It goes to others, and is not shown to you again unless you ask."),
      ...SKIPS.map((reason, i) => button(reason, `${i + 1}`, () => skipWith(reason))), other,
      button("Skip", "Enter", () => skipWith(other.value.trim())));
    this.skipDialog.element.addEventListener("keydown", (event) => {
      event.stopPropagation();
      const typing = event.target === other;
      const number = /^(?:Digit|Numpad)([1-4])$/.exec(event.code)?.[1];
      if (event.key === "Enter" && !event.shiftKey && (typing || event.target === this.skipDialog.element)) { event.preventDefault(); skipWith(other.value.trim()); }
      else if (!typing && number && !event.repeat && !event.shiftKey) { event.preventDefault(); skipWith(SKIPS[number - 1]); }
      else if (!typing && event.key.length === 1 && !event.ctrlKey && !event.metaKey && event.key !== " ") { other.focus(); }
    });
    this.dialogs = [this.helpDialog, this.skipDialog];
    this.draft = {};
    this.rows = [];
    this.root.replaceChildren(part.progress, part.status, part.message, part.wait, part.empty, part.desk, ...this.dialogs.map((item) => item.element));
  }

  // A row for each criterion; two, one a response, where it is rated from 1 to 5.
  buildCriteria() {
    this.rows = [];
    for (const { name, scale } of this.setup.criteria) {
      if (scale === "1-5") for (const [side, letter] of [["left", "A"], ["right", "B"]]) this.rows.push({ name, side, label: `${name} · ${letter}`, values: [1, 2, 3, 4, 5], labels: ["1", "2", "3", "4", "5"] });
      else this.rows.push({ name, label: name, values: ["left", "same", "right"], labels: ["A", "Same", "B"] });
    }
    this.rows.forEach((row, place) => {
      row.buttons = row.values.map((value, i) => h("button", { type: "button", class: "small", onclick: (event) => { this.row = place; this.mark(row, value); event.currentTarget.blur(); } }, row.labels[i]));
      row.element = h("div", { class: "criterion", role: "group", "aria-label": row.label }, h("span", { dir: "auto" }, row.label), h("div", { class: "segments" }, ...row.buttons));
    });
    this.part.criteria.replaceChildren(...this.rows.map((row) => row.element));
    this.part.criteria.hidden = !this.rows.length;
    this.part.guidelines.replaceChildren(h("header", {}, h("span", { class: "badge" }, "Guidelines"), h("span", { class: "quiet" }, "G closes them")), html("div", this.setup.guidelines));
    this.part.tools.guidelines.hidden = !this.setup.guidelines;
    this.row = -1;
  }

  show() {
    const pair = this.pair;
    const { desk, empty, wait } = this.part;
    desk.hidden = !pair;
    wait.hidden = Boolean(pair) || !this.stillComing();
    empty.hidden = Boolean(pair) || !wait.hidden;
    if (pair && this.shown?.lease !== pair.lease) {
      this.draft = this.store.read(`draft.${pair.lease}`, {});
      this.row = -1;
      this.open = false;
      this.showExample(pair);
      this.showTexts();
      for (const [name, { area, box }] of Object.entries(this.fields)) { area.value = this.draft[name] ?? ""; box.hidden = !area.value; }
      this.root.getRootNode().activeElement?.blur?.();
      this.shown = { lease: pair.lease, at: performance.now() };
      // The next pair is read from its top.
      if (desk.getBoundingClientRect().top < 0) desk.scrollIntoView({ block: "start" });
    }
    if (!empty.hidden) this.showEmpty();
    this.showGuidelines();
    this.showBar();
    this.showStatus();
  }

  // No pair is here, but one may be on its way.
  stillComing() { return this.setup === null || this.outbox.length > 0 || (this.syncing && !this.offline); }

  showExample(pair) {
    const turns = pair.turns.map((turn) => h("div", { class: `turn ${turn.role === "assistant" ? "assistant" : ""}` }, h("span", { class: "quiet" }, turn.role ? turn.role[0].toUpperCase() + turn.role.slice(1) : ""), html("div", turn.html)));
    this.part.example.replaceChildren(...turns);
  }

  showTexts() {
    if (!this.pair) return;
    const { left, right } = this.pair;
    const long = Math.max(left.words, right.words) > LONG_WORDS;
    this.part.pair.classList.toggle("long", long);
    this.part.pair.classList.toggle("open", this.open);
    for (const [name, response] of [["A", left], ["B", right]]) {
      const { body, words, fold } = this.part[name];
      body.replaceChildren(response.empty ? h("p", { class: "quiet" }, "This response is empty.") : html("div", response.html));
      body.scrollTop = 0;
      words.textContent = `${response.words.toLocaleString()} word${response.words === 1 ? "" : "s"}`;
      fold.hidden = !long;
      fold.textContent = this.open ? "Fold (O)" : `Show all ${response.words.toLocaleString()} words (O)`;
    }
    if (this.diff) {
      const [a, b] = markDifferences(this.part.A.body, this.part.B.body);
      this.part.A.words.textContent += ` · ${a.toLocaleString()} only here`;
      this.part.B.words.textContent += ` · ${b.toLocaleString()} only here`;
    }
  }

  // Where the two scroll apart from the page, they scroll together.
  level(name) {
    const from = this.part[name].body, to = this.part[name === "A" ? "B" : "A"].body;
    if (this.leveling === from) { this.leveling = null; return; }
    const room = from.scrollHeight - from.clientHeight;
    const top = room > 0 ? (from.scrollTop / room) * (to.scrollHeight - to.clientHeight) : 0;
    if (Math.abs(to.scrollTop - top) < 1) return;
    this.leveling = to;
    to.scrollTop = top;
  }

  showBar() {
    const { choices, strengths, send, tools } = this.part;
    for (const [choice, item] of Object.entries(choices)) press(item, this.draft.choice === choice);
    for (const [name, item] of Object.entries(strengths)) press(item, this.draft.strength === name);
    this.rows.forEach((row, place) => {
      row.element.classList.toggle("current", place === this.row);
      row.buttons.forEach((item, i) => press(item, this.marked(row) === row.values[i]));
    });
    send.hidden = !this.prefs.confirm && !this.draft.choice;
    press(tools.diff, this.diff);
    press(tools.guidelines, this.guidelines);
    tools.undo.disabled = !this.undoable.length && !this.outbox.some((deed) => deed.kind === "vote");
  }

  showGuidelines() { this.part.guidelines.hidden = !this.guidelines || !this.setup?.guidelines; }

  showStatus() {
    const { progress, status, message } = this.part;
    const now = this.progress;
    if (now) {
      const whole = Math.max(1, now.done + now.left);
      progress.firstChild.style.width = `${(100 * now.done) / whole}%`;
      progress.setAttribute("aria-valuemax", whole);
      progress.setAttribute("aria-valuenow", now.done);
      const text = [`${now.done.toLocaleString()} done by you`, `${now.left.toLocaleString()} left for you`];
      if (now.median_ms && now.left) text.push(`about ${duration((now.left * now.median_ms) / 1000)}`);
      if (this.setup?.goal) text.push(`today ${Math.max(0, now.today)} of ${this.setup.goal}${now.today >= this.setup.goal ? " ✓" : ""}`);
      status.textContent = text.join(" · ");
    }
    const waiting = this.outbox.filter((deed) => deed.kind !== "undo").length;
    const what = `${waiting} ${waiting === 1 ? "vote or skip is" : "votes and skips are"} kept in this browser and will be sent`;
    let said = this.message;
    if (this.offline) said = `Offline. ${waiting ? `${what} when the connection is back.` : "Nothing is lost; the connection is tried again and again."}${!this.pair ? " The next pair comes then, too." : ""} ${said}`;
    else if (waiting && this.tries) said = `${said} ${what}.`;
    message.textContent = said.trim();
    message.hidden = !said.trim();
    message.classList.toggle("offline", this.offline);
    if (this.offline && !this.pair) { this.part.wait.hidden = false; this.part.empty.hidden = true; }
  }

  showEmpty() {
    const now = this.progress ?? { done: 0, skipped: 0, elsewhere: 0, wanted: 1 };
    const link = (href, label) => h("a", { href, target: "_self" }, label);
    const again = (label, run) => h("button", { type: "button", onclick: run }, label);
    const parts = [];
    if (!now.wanted) {
      parts.push(h("h2", {}, "There is nothing to label yet."), h("p", {}, this.data.may_import
        ? "Import comparisons, or generate responses from two prompts: pairs to label come from either."
        : "Come back when the people who run this project added pairs."));
      if (this.data.may_import) parts.push(link(`/data?project=${this.project}`, "Import data"));
    } else {
      const thanks = now.done ? `You have voted on ${now.done.toLocaleString()} pair${now.done === 1 ? "" : "s"}. Thank you!` : "";
      const others = now.elsewhere ? ` ${now.elsewhere.toLocaleString()} more are with somebody else now and may come back.` : "";
      parts.push(h("h2", {}, "Nothing is left for you."), h("p", {}, thanks + others || "Every pair has the votes it needs."));
      const row = [again("Look again", () => { this.progressAt = -Infinity; this.sync(); })];
      if (now.skipped) row.push(again(`Show the ${now.skipped.toLocaleString()} you skipped`, () => this.unskip()));
      row.push(again("Undo (U)", () => this.undo()), link(`/my_work?project=${this.project}`, "My work"));
      parts.push(h("div", { class: "row" }, ...row));
    }
    this.part.empty.replaceChildren(...parts);
  }

  async unskip() {
    try { await this.post("unskip", {}); } catch { /* said by what follows */ }
    this.progressAt = -Infinity;
    this.sync();
  }
}
