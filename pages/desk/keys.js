// The keys: one list, for the keyboard and for the overlay that explains it.

function keyGroups(desk) {
  const { criteria, reader, bar } = desk;
  const digit = (n) => `Digit${n}`;
  return [
    ["Vote", [
      ...Object.entries(CHOICES).map(([choice, label], i) => ({ show: `${i + 1}`, code: digit(i + 1), label, run: () => desk.choose(choice) })),
      { show: "Enter", key: "enter", label: "Send what is chosen, and go on to the next pair", run: () => desk.next() },
      { show: "U", key: "u", label: "Undo: take the last vote or skip back, again and again to the first", run: () => desk.undo() },
      { show: "S", key: "s", label: "Skip, with a reason", run: () => desk.pair && desk.skipDialog.open() },
    ]],
    ["How much better, and why", [
      ...STRENGTHS.map((name, i) => ({ show: `${i + 5}`, code: digit(i + 5), label: capital(name), run: () => desk.setStrength(name) })),
      { show: "N", key: "n", label: "Write a reason (Esc: back to the keys)", run: () => bar.write("reason") },
      { show: "W", key: "w", label: "Write a better response (Esc: back to the keys)", run: () => bar.write("better") },
    ]],
    ["Criteria", [
      { show: "J", key: "j", label: "Next criterion", repeat: true, run: () => criteria.moveTo(criteria.hand + 1) },
      { show: "K", key: "k", label: "Criterion before", repeat: true, run: () => criteria.moveTo(criteria.hand < 0 ? -1 : criteria.hand - 1) },
      { show: "←", key: "arrowleft", label: "One step towards A, or one point less", needsRow: true, run: () => criteria.step(-1) },
      { show: "→", key: "arrowright", label: "One step towards B, or one point more", needsRow: true, run: () => criteria.step(1) },
      { show: "Shift + 1 … 5", shift: true, label: "The first … fifth choice of the criterion, then the next one", run: (n) => criteria.rate(n - 1) },
    ]],
    ["Look", [
      { show: "D", key: "d", label: "Mark the words that differ", run: () => reader.toggle("diff") },
      { show: "O", key: "o", label: "Open or fold long responses", run: () => reader.toggle("unfolded") },
      { show: "G", key: "g", label: "Guidelines", run: () => reader.toggle("guidelines") },
      { show: "M", key: "m", label: "Mode: send at once, or with Enter", run: () => desk.mode() },
      { show: "?", key: "?", label: "This list", run: () => desk.helpDialog.open() },
    ]],
  ];
}

// A key that was pressed somewhere on the page; never one that somebody types.
function onKey(desk, groups, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = event.composedPath()[0];
  if (target instanceof Element && target.closest("input, textarea, select, [contenteditable=''], [contenteditable=true]")) return;
  if (desk.dialogs.some((dialog) => dialog.element.open) || document.querySelector("[role=dialog], dialog[open]")) return;
  if (event.key === "Enter" && target instanceof Element && target.closest("button, a, summary")) return;
  const code = event.code.replace("Numpad", "Digit");
  const number = /^Digit([1-8])$/.exec(code)?.[1];
  const key = event.key.toLowerCase();
  for (const [, group] of groups) {
    for (const item of group) {
      const hit = item.shift ? event.shiftKey && number && number <= 5
        : item.code ? !event.shiftKey && item.code === code : item.key === key && (!event.shiftKey || key === "?");
      if (!hit || (item.needsRow && !desk.criteria.row)) continue;
      event.preventDefault();
      event.stopImmediatePropagation();
      // A key that is held repeats; only moving about may.
      if (!event.repeat || item.repeat) item.run(Number(number));
      return;
    }
  }
  if (event.key === "Escape" && desk.criteria.row) { desk.criteria.letGo(); desk.bar.show(); }
}
