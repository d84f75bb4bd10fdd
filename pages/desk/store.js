// The browser's storage, under a prefix; without it this window goes on all the same.

class Store {
  constructor(prefix) { this.prefix = prefix; }
  read(name, otherwise) {
    try { return JSON.parse(localStorage.getItem(`${this.prefix}.${name}`)) ?? otherwise; } catch { return otherwise; }
  }
  write(name, value) {
    try { localStorage.setItem(`${this.prefix}.${name}`, JSON.stringify(value)); } catch { /* a full or forbidden storage: this window still has it */ }
  }
  // Every value whose name starts so, the oldest (by its `at`) first.
  all(start) {
    try {
      return Object.keys(localStorage).filter((key) => key.startsWith(`${this.prefix}.${start}`))
        .map((key) => this.read(key.slice(this.prefix.length + 1), null)).filter(Boolean).sort((a, b) => a.at - b.at);
    } catch { return []; }
  }
  remove(name) { try { localStorage.removeItem(`${this.prefix}.${name}`); } catch { /* as above */ } }
}
