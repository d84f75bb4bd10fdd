// The annotators' desk: two responses side by side, judged from the keyboard.
//
// Streamlit's own way (a press goes to the server, the page comes back) loses a press while
// the network is away, and makes a person wait for every vote. So the pair on the screen and
// the next ones are held here. A press shows the next pair at once, and the vote goes to an
// outbox that the line to the server empties (line.js).
//
// What is shown as HTML was made safe by the server (core/rendering); everything else is
// set as text.

const TOO_SOON_MS = 250; // nobody has read a pair that fast
const PAST_PAIRS = 50;
const SKIPPED = "skip:"; // before the id of its pair, a skip among what can be taken back
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
    this.prefs = new Store("prefloop.desk").read("prefs", { confirm: false });
    this.pairs = []; // the first is on the screen
    this.past = new Map(); // pairs judged in this window, by lease: an unsent vote can be taken back
    this.undoable = []; // votes and skips (SKIPPED and the pair) that the server can take back, the newest first
    this.setup = null;
    this.progress = null;
    this.shown = null; // {lease, at, read}: read where it was judged before
    this.message = "";
    this.refused = ""; // why no pairs are given
    this.closed = false;
    this.line = new Line(this);
    this.draft = new Draft(this.store);
    this.criteria = new Criteria(this);
    this.reader = new Reader(this);
    this.bar = new Bar(this);
    this.training = new Training(this);
    this.status = new Status(this);
    const keys = keyGroups(this);
    this.helpDialog = keysDialog(keys);
    this.skipDialog = skipDialog((reason) => this.skip(reason));
    this.dialogs = [this.helpDialog, this.skipDialog];
    this.work = h("div", { class: "work", hidden: true }, this.training.element, ...this.reader.elements, this.bar.element);
    root.replaceChildren(...this.status.elements, this.work, ...this.dialogs.map((item) => item.element));
    this.listen(keys);
    this.line.sync({ opening: true });
  }

  listen(keys) {
    this.listeners = new AbortController();
    const on = (target, type, work, capture = false) =>
      target.addEventListener(type, work, { signal: this.listeners.signal, capture });
    on(window, "keydown", (event) => { this.line.here(); if (this.root.isConnected) onKey(this, keys, event); }, true);
    on(window, "pointerdown", () => this.line.here(), true);
    on(window, "online", () => this.line.sync());
    on(window, "offline", () => { this.line.offline = true; this.status.show(); });
    on(window, "pagehide", () => this.line.leave());
    on(window, "pageshow", (event) => event.persisted && this.line.sync());
    on(document, "visibilitychange", () => document.visibilityState === "visible" && this.line.beat());
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.listeners.abort();
    this.line.close();
  }

  // --- what the line brings -----------------------------------------------------------

  open(opening) {
    this.setup = opening;
    this.undoable = opening.undoable;
    this.reader.setGuidelines(opening.guidelines);
    if (!opening.undoable.length && opening.guidelines && this.shown === null) this.reader.guidelines = true;
    this.criteria.build(opening.criteria);
  }

  // `sent` is stored now; `answer` says what became of it, and which pairs are ours.
  take(answer, sent) {
    let front = this.pair?.lease;
    const problems = [];
    this.refused = answer.refused ?? "";
    answer.done.forEach((done, place) => {
      const deed = sent[place];
      if (done.problem) problems.push(done.problem);
      if (done.feedback) this.training.tell(done.feedback);
      else if (this.training.held?.lease === deed.key) this.training.release();
      if (deed.kind === "undo") front = this.takenBack(deed, done, answer.pairs) ?? front;
      else if (deed.kind === "vote" && done.vote_id && !done.problem) this.undoable.unshift(done.vote_id);
      else if (deed.kind === "skip" && !done.problem) this.undoable.unshift(SKIPPED + deed.pair_id);
      if (deed.kind === "vote" && done.problem) this.unsaid(deed, answer.pairs);
    });
    if (problems.length) this.message = problems.join(" ");
    const waiting = new Set(this.line.leases);
    const pairs = answer.pairs.map((pair) => pair.pair_id ? pair : this.known(pair.lease))
      .filter((pair) => pair && !waiting.has(pair.lease));
    // The pair somebody reads stays where it is; others stand behind it.
    const place = pairs.findIndex((pair) => pair.lease === front);
    if (place > 0) pairs.unshift(...pairs.splice(place, 1));
    this.pairs = pairs;
    if (answer.progress) {
      this.progress = answer.progress;
      // The server's figures do not know yet what waits here.
      this.count(this.line.waiting("vote").filter((deed) => !deed.training).length);
    }
    this.show();
  }

  // A vote that was refused: what it said stands there again, where its pair is still ours.
  unsaid(deed, pairs) {
    this.line.forgetProgress();
    if (pairs.some((pair) => pair.lease === deed.key)) this.draft.restore(deed.key, deed.values);
  }

  // Answers the lease of the pair that is to be judged anew, if it is here.
  takenBack(deed, done, pairs) {
    this.undoable = this.undoable.filter((id) => id !== deed.key);
    if (done.problem) return undefined;
    if (!deed.key.startsWith(SKIPPED)) this.count(-1);
    const back = pairs.find((pair) => (pair.pair_id ?? this.known(pair.lease)?.pair_id) === done.pair_id);
    if (back && done.said) this.draft.restore(back.lease, done.said);
    return back?.lease;
  }

  refuse(text) {
    this.refused = text;
    this.message = this.pair ? text : "";
    this.status.show();
  }

  lose(pairs) {
    if (pairs.includes(this.pair)) this.message = "This pair went to somebody else while it lay here.";
    this.pairs = this.pairs.filter((pair) => !pairs.includes(pair));
  }

  known(lease) { return this.pairs.find((pair) => pair.lease === lease); }

  count(votes) {
    if (!this.progress) return;
    this.progress.done += votes;
    this.progress.today += votes;
    this.progress.left = Math.max(0, this.progress.left - votes);
  }

  // --- what a person does -------------------------------------------------------------

  get pair() { return this.training.held ?? this.pairs[0]; }
  get busy() { return this.line.waiting("undo").length > 0; }

  ready() {
    return this.pair && !this.busy && !this.training.open && this.shown?.lease === this.pair.lease &&
      (this.shown.read || performance.now() - this.shown.at >= TOO_SOON_MS);
  }

  choose(choice) {
    if (!this.ready()) return;
    if (!this.prefs.confirm) { this.send(choice); return; }
    this.draft.toggle("choice", choice);
    this.bar.show();
  }

  next() {
    if (this.training.told) { this.training.release(); this.show(); return; }
    if (!this.ready()) return;
    const { choice } = this.draft.values;
    if (choice) this.send(choice); else this.say("Choose with 1 to 4 first.");
  }

  send(choice) {
    const values = this.draft.vote(choice, Math.round(performance.now() - this.shown.at));
    this.reader.guidelines = false;
    const { lease, pair_id, training } = this.pair;
    if (training) this.training.hold(this.pair, choice); else this.count(1);
    this.finish({ kind: "vote", key: lease, pair_id, values, ...(training ? { training: true } : {}) });
  }

  skip(reason) {
    if (!this.pair) return;
    if (this.pair.training) { this.say("A training pair cannot be skipped. Choose what seems best to you."); return; }
    this.line.forgetProgress();
    this.finish({ kind: "skip", key: this.pair.lease, pair_id: this.pair.pair_id, values: { reason } });
  }

  finish(deed) {
    this.past.set(deed.key, this.pair);
    if (this.past.size > PAST_PAIRS) this.past.delete(this.past.keys().next().value);
    this.line.keep(deed);
    this.draft.remove(deed.key);
    this.pairs.shift();
    this.shown = null;
    this.message = "";
    this.show();
    // After the frame: the next pair is seen first, then the vote goes out.
    setTimeout(() => this.line.sync());
  }

  undo() {
    if (this.busy) return;
    if (this.training.told) { this.say("The right answer has been shown: this one stands."); return; }
    const last = this.line.outbox.filter((deed) => deed.kind !== "undo").at(-1);
    if (last && this.line.syncing) { this.say(`Your last ${last.kind} is being stored. Press U again in a moment.`); return; }
    if (last && this.past.has(last.key)) { // not sent yet: nobody else needs to know
      this.line.drop(last);
      if (last.kind === "vote") this.draft.restore(last.key, last.values);
      this.pairs.unshift(this.past.get(last.key));
      if (last.training) this.training.release(); else if (last.kind === "vote") this.count(-1);
      this.show();
      this.shown.read = true;
      return;
    }
    if (this.line.offline) { this.say("Offline: this was sent, and can be taken back when the connection is there again."); return; }
    if (!this.undoable.length) { this.say("There is nothing to take back."); return; }
    const key = this.undoable[0];
    if (key.startsWith(SKIPPED)) this.line.forgetProgress();
    this.line.keep({ kind: "undo", key });
    this.message = "";
    this.line.sync();
  }

  setStrength(value) {
    if (!this.pair) return;
    this.draft.toggle("strength", value);
    this.bar.show();
  }

  mode() {
    this.prefs.confirm = !this.prefs.confirm;
    new Store("prefloop.desk").write("prefs", this.prefs);
    this.say(this.prefs.confirm ? "Mode: 1 to 4 choose, Enter sends." : "Mode: 1 to 4 send at once.");
    this.bar.show();
  }

  say(text) { this.message = text; this.status.show(); }

  // --- what stands on the page ----------------------------------------------------------

  show() {
    const { pair } = this;
    this.work.hidden = !pair;
    if (pair && this.shown?.lease !== pair.lease) {
      this.draft.open(pair.lease);
      this.criteria.letGo();
      this.reader.show(pair);
      this.bar.fill();
      this.root.getRootNode().activeElement?.blur?.();
      this.shown = { lease: pair.lease, at: performance.now() };
      // The next pair is read from its top.
      if (this.work.getBoundingClientRect().top < 0) this.work.scrollIntoView({ block: "start" });
    }
    this.bar.element.hidden = this.training.open;
    this.training.show();
    this.reader.showGuidelines();
    this.bar.show();
    this.status.show();
  }
}
