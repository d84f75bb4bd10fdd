// The line to the server: what was done here and is not known to be stored there waits in
// an outbox in the browser's storage, and is sent until the server says that it has it. A
// vote carries its lease, so however often it is sent, it is one vote. Beside that, the
// heartbeat that keeps the leases of the pairs held here, and giving them back.

const BEAT_MS = 25_000;
const IDLE_MS = 30 * 60_000; // a page that nobody looks at gives its pairs back
const PROGRESS_MS = 15_000;
const SENT_AT_ONCE = 200;

class Line {
  constructor(desk) {
    this.desk = desk;
    this.store = desk.store;
    this.outbox = this.store.all("deed."); // each under a key of its own: other windows have theirs
    this.offline = false;
    this.tries = 0;
    this.lastInput = performance.now();
    this.closed = false;
    this.timer = setInterval(() => this.beat(), BEAT_MS);
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    clearTimeout(this.again);
    this.leave();
  }

  async post(path, body, keepalive = false) {
    return fetch(`/desk/${this.desk.project}/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Prefloop-Desk": "1" },
      body: JSON.stringify(body),
      keepalive,
      signal: keepalive ? undefined : AbortSignal.timeout(20_000),
    });
  }

  // --- the outbox ---------------------------------------------------------------------

  keep(deed) {
    deed.at = Date.now();
    this.outbox.push(deed);
    this.store.write(`deed.${deed.kind}.${deed.key}`, deed);
  }

  drop(deed) {
    this.outbox = this.outbox.filter((item) => item.kind !== deed.kind || item.key !== deed.key);
    this.store.remove(`deed.${deed.kind}.${deed.key}`);
  }

  waiting(kind) { return this.outbox.filter((deed) => deed.kind === kind); }

  // The leases of what is done with here; an undo has none.
  get leases() { return this.outbox.filter((deed) => deed.kind !== "undo").map((deed) => deed.key); }

  // --- one exchange -------------------------------------------------------------------

  // Send what waits, ask for pairs. One at a time; what came meanwhile goes with the next.
  async sync(asked = {}) {
    this.opening ||= asked.opening || false;
    if (this.syncing) { this.syncAgain = true; return; }
    if (this.closed) return;
    this.syncing = true;
    clearTimeout(this.again);
    const sent = this.outbox.slice(0, SENT_AT_ONCE);
    const day = new Date(); day.setHours(0, 0, 0, 0);
    const opening = this.opening || !this.desk.setup;
    const progress = opening || performance.now() - (this.progressAt ?? -Infinity) > PROGRESS_MS;
    let answer = null, refused = "", forbidden = false;
    try {
      const response = await this.post("work", {
        deeds: sent, known: this.desk.pairs.map((pair) => pair.lease), opening, progress, day_start: day.toISOString(),
      });
      if (response.ok) answer = await response.json();
      else if (response.status === 401) refused = "You are signed out. Sign in again in another tab; what you did is kept here.";
      else if (response.status < 500) { forbidden = response.status === 403; refused = (await response.json().catch(() => ({}))).detail?.toString() || "This was refused."; }
    } catch { /* the network is away: the outbox keeps everything */ }
    this.syncing = false;
    if (this.closed) return;
    this.offline = answer === null && !refused;
    if (answer === null) {
      this.tries += 1;
      this.again = setTimeout(() => this.sync(), Math.min(8_000, 500 * 2 ** this.tries));
      if (forbidden) this.desk.refuse(refused); else this.desk.say(refused);
      return;
    }
    if (this.tries) this.desk.message = ""; // of the trouble that is over
    this.tries = 0;
    if (opening) { this.opening = false; this.desk.open(answer.opening); }
    for (const deed of sent) this.drop(deed);
    if (answer.progress) this.progressAt = performance.now();
    this.desk.take(answer, sent);
    if (this.syncAgain || this.outbox.length) { this.syncAgain = false; this.sync(); }
  }

  // The figures are asked for again with the next exchange.
  forgetProgress() { this.progressAt = -Infinity; }

  async unskip() {
    try { await this.post("unskip", {}); } catch { /* said by what follows */ }
    this.forgetProgress();
    this.sync();
  }

  // --- leases -------------------------------------------------------------------------

  async beat() {
    if (this.closed || performance.now() - this.lastInput > IDLE_MS) return;
    const leases = [...this.desk.pairs.map((pair) => pair.lease), ...this.leases];
    if (!leases.length) return;
    try {
      const response = await this.post("heartbeat", { leases });
      if (!response.ok) return;
      const kept = new Set([...(await response.json()).held, ...this.leases]);
      const lost = this.desk.pairs.filter((pair) => leases.includes(pair.lease) && !kept.has(pair.lease));
      if (!lost.length || this.syncing) return;
      this.desk.lose(lost);
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
    const leases = this.desk.pairs.map((pair) => pair.lease);
    if (leases.length) this.post("leave", { leases }, true).catch(() => {});
  }
}
