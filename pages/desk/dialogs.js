// The two dialogs: the keys, and why a pair is skipped.

const SKIPS = ["I do not know the subject", "I do not read the language well", "A response is broken or empty", "I would rather not read this"];

function keysDialog(groups) {
  const made = dialog("Keys", ...groups.map(([title, items]) => h("section", {}, h("h3", {}, title),
    h("dl", {}, ...items.flatMap((item) => [h("dt", {}, h("kbd", {}, item.show)), h("dd", {}, item.label)])))));
  made.element.classList.add("keys");
  made.element.addEventListener("keydown", (event) => { event.stopPropagation(); if (event.key === "?") made.close(); });
  return made;
}

// `skip` is called with the reason, which may be empty.
function skipDialog(skip) {
  const other = h("textarea", { rows: 2, maxlength: LONGEST.reason, "aria-label": "Another reason", placeholder: "Another reason, or none; Enter skips" });
  const skipWith = (reason) => { made.close(); other.value = ""; skip(reason); };
  const button = (label, key, run) => h("button", { type: "button", "aria-keyshortcuts": key, onclick: run }, h("span", {}, label), h("kbd", { "aria-hidden": "true" }, key));
  const made = dialog("Skip this pair", h("p", { class: "quiet" }, "It goes to others, and is not shown to you again unless you ask, or take the skip back (U)."),
    ...SKIPS.map((reason, i) => button(reason, `${i + 1}`, () => skipWith(reason))), other,
    button("Skip", "Enter", () => skipWith(other.value.trim())));
  made.element.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const typing = event.target === other;
    const number = /^(?:Digit|Numpad)([1-4])$/.exec(event.code)?.[1];
    if (event.key === "Enter" && !event.shiftKey && (typing || event.target === made.element)) { event.preventDefault(); skipWith(other.value.trim()); }
    else if (!typing && number && !event.repeat && !event.shiftKey) { event.preventDefault(); skipWith(SKIPS[number - 1]); }
    else if (!typing && event.key.length === 1 && !event.ctrlKey && !event.metaKey && event.key !== " ") { other.focus(); }
  });
  return made;
}
