// What the desk is made of: elements, dialogs, the browser's storage, and the word diff.

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

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// Only for what the server rendered from untrusted text: see core/rendering.
function html(tag, safe) {
  const element = document.createElement(tag);
  element.innerHTML = safe;
  return element;
}

function press(button, on) { button.setAttribute("aria-pressed", on ? "true" : "false"); }

function dialog(title, ...content) {
  const close = h("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => element.close() }, "Close (Esc)");
  const element = h("dialog", { "aria-label": title, tabindex: "-1" }, h("header", {}, h("h2", {}, title), close), ...content);
  return { element, open: () => { if (!element.open) { element.showModal(); element.focus(); } }, close: () => element.close() };
}

function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${Math.round(seconds / 86_400)} days`;
}

// --- word diff -----------------------------------------------------------------------------

const WORD = /[\p{L}\p{N}][\p{L}\p{M}\p{N}'’_]*|[^\s\p{L}\p{N}]/gu;
const MOST_CELLS = 4_000_000; // of the table: some 2,000 words each

// Which tokens of a and of b are not part of a longest common subsequence: two arrays of
// booleans. Texts too long for the table are compared as sets of words between their common
// start and end.
function differing(a, b) {
  const only = [new Array(a.length).fill(false), new Array(b.length).fill(false)];
  let start = 0, end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const n = a.length - start - end, m = b.length - start - end;
  if (n * m > MOST_CELLS) {
    const inA = new Set(a.slice(start, a.length - end)), inB = new Set(b.slice(start, b.length - end));
    for (let i = 0; i < n; i += 1) only[0][start + i] = !inB.has(a[start + i]);
    for (let j = 0; j < m; j += 1) only[1][start + j] = !inA.has(b[start + j]);
    return only;
  }
  const width = m + 1;
  const longest = new Uint16Array((n + 1) * width);
  for (let i = n - 1; i >= 0; i -= 1) {
    for (let j = m - 1; j >= 0; j -= 1) {
      longest[i * width + j] = a[start + i] === b[start + j] ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  let i = 0, j = 0;
  while (i < n && j < m) {
    if (a[start + i] === b[start + j]) { i += 1; j += 1; }
    else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) { only[0][start + i] = true; i += 1; }
    else { only[1][start + j] = true; j += 1; }
  }
  while (i < n) { only[0][start + i] = true; i += 1; }
  while (j < m) { only[1][start + j] = true; j += 1; }
  return only;
}

function tokens(element) {
  const found = [];
  const walk = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    if (node.parentElement.closest("math")) continue; // a mark within a formula would break it
    for (const match of node.data.matchAll(WORD)) found.push({ node, start: match.index, end: match.index + match[0].length, text: match[0] });
  }
  return found;
}

// Mark, in two elements, the words that only one of them has; answers how many in each.
function markDifferences(first, second) {
  const both = [tokens(first), tokens(second)];
  const only = differing(both[0].map((item) => item.text), both[1].map((item) => item.text));
  return both.map((list, side) => {
    const ranges = new Map(); // text node -> [start, end] to mark, neighbours joined
    let words = 0;
    list.forEach((item, place) => {
      if (!only[side][place]) return;
      if (/[\p{L}\p{N}]/u.test(item.text)) words += 1;
      const ofNode = ranges.get(item.node) ?? [];
      const last = ofNode.at(-1);
      if (last && only[side][place - 1] && list[place - 1].node === item.node) last[1] = item.end;
      else ofNode.push([item.start, item.end]);
      ranges.set(item.node, ofNode);
    });
    for (const [node, marks] of ranges) {
      const parts = document.createDocumentFragment();
      let at = 0;
      for (const [start, end] of marks) {
        parts.append(node.data.slice(at, start), h("mark", {}, node.data.slice(start, end)));
        at = end;
      }
      parts.append(node.data.slice(at));
      node.replaceWith(parts);
    }
    return words;
  });
}
