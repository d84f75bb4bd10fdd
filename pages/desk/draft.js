// What is said about the pair on the screen and not sent yet: choice, strength, criteria,
// reason, a better response. Kept by lease, so it survives a reload.

class Draft {
  constructor(store) { Object.assign(this, { store, lease: null, values: {} }); }

  open(lease) {
    this.lease = lease;
    this.values = this.store.read(`draft.${lease}`, {});
  }

  set(name, value) {
    this.values[name] = value;
    if (this.lease) this.store.write(`draft.${this.lease}`, this.values);
  }

  toggle(name, value) { this.set(name, this.values[name] === value ? null : value); }

  // As a vote takes it.
  vote(choice, duration_ms) {
    const { strength, criteria, reason, better } = this.values;
    const strong = choice === "left" || choice === "right"; // a tie has no "how much better"
    const values = { choice, strength: (strong && strength) || null, criteria: criteria ?? {}, reason: (reason ?? "").trim(), duration_ms };
    if (better?.trim()) values.better = better.trim();
    return values;
  }

  // What a vote that was taken back had said stands there again when its pair is opened.
  restore(lease, values) { this.store.write(`draft.${lease}`, values); }

  remove(lease) {
    this.store.remove(`draft.${lease}`);
    if (this.lease === lease) this.lease = null;
  }
}
