// What others said of a disputed pair, for the adjudicator who decides it: their choices and
// reasons in the sides shown here, never who they are. Set as text.

class Reasons {
  constructor() {
    this.element = h("section", { class: "card reasons", "aria-label": "What others said", hidden: true });
  }

  show(pair) {
    const said = pair.reasons;
    this.element.hidden = !said;
    if (!said) return;
    const counts = Object.entries(CHOICES).map(([choice, label]) => [label, said.filter((one) => one.choice === choice).length])
      .filter(([, n]) => n).map(([label, n]) => `${label}: ${n}`);
    const why = said.filter((one) => one.reason);
    this.element.replaceChildren(
      h("header", {}, h("span", { class: "badge" }, "Disputed: your vote decides"), h("span", { class: "quiet" }, counts.join(" · "))),
      why.length ? h("ul", {}, ...why.map((one) => h("li", {},
        h("span", { class: "quiet" }, `${CHOICES[one.choice]}${one.strength ? `, ${one.strength}` : ""}`),
        h("div", { dir: "auto" }, one.reason))))
        : h("p", { class: "quiet" }, "Nobody gave a reason."),
    );
  }
}

// Where the pairs that are left are for others only.
function forGroups(names) {
  if (!names?.length) return "";
  const all = names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0];
  return `The pairs that are left are for the ${names.length > 1 ? "groups" : "group"} ${all}.`;
}
