// Elements of the page, dialogs, and words for a duration.

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
