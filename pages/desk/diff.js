// The word diff: what only one of two texts says.

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
