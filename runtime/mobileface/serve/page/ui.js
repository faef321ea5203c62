/** Building blocks: elements, icons, cards, errors, short notices. */

import { text } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";
const TOAST_MILLISECONDS = 6000;

/**
 * An element with properties and children. Names beginning with "on" are listeners, "class",
 * "dataset" and "style" (an object) do what they say; true and false set and leave out
 * attributes; all others are attributes. Texts become text nodes, never HTML.
 */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return node;
}

/** An icon of symbols.svg; decoration, hidden from screen readers. */
export function icon(name, kind = "icon") {
  const node = document.createElementNS(SVG, "svg");
  node.setAttribute("class", kind);
  node.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${new URL("symbols.svg", import.meta.url).pathname}#${name}`);
  node.append(use);
  return node;
}

/** A button with a text and perhaps an icon. */
export function button(label, onclick, { symbol, kind = "", ...more } = {}) {
  return el(
    "button", { type: "button", class: `button ${kind}`.trim(), onclick, ...more },
    symbol ? icon(symbol) : null, el("span", {}, label),
  );
}

/** A button that shows only an icon; the label is for screen readers and the mouse. */
export function iconButton(label, symbol, onclick, kind = "") {
  const properties = { type: "button", class: `icon-button ${kind}`.trim(), onclick };
  return el("button", { ...properties, "aria-label": label, title: label }, icon(symbol));
}

/** A card with an optional heading. */
export function card(heading, ...children) {
  return el("section", { class: "card" }, heading ? el("h2", {}, heading) : null, ...children);
}

/** The heading of a view, with what it is for and its buttons. */
export function heading(title, lead, ...actions) {
  return el(
    "div", { class: "heading" },
    el("div", {}, el("h1", { tabindex: "-1" }, title), lead ? el("p", { class: "lead" }, lead) : null),
    actions.length ? el("div", { class: "actions" }, ...actions) : null,
  );
}

let last = 0;

/** An identifier that no other element has. */
export function freshId(prefix) {
  last += 1;
  return `${prefix}-${last}`;
}

/** A labelled control; help is a line below it. */
export function field(label, control, help) {
  control.id ||= freshId("field");
  const described = help ? el("p", { class: "help", id: `${control.id}-help` }, help) : null;
  if (described) control.setAttribute("aria-describedby", described.id);
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control, described);
}

/** A message with an icon: kind is "ok", "info", "warning" or "bad". */
export function note(kind, ...children) {
  return el("div", { class: `note ${kind}` }, icon(kind), el("div", {}, ...children));
}

/** An error: what is wrong, where, and what to do. */
export function errorNote(error) {
  if (!("what" in error)) throw error;
  const box = note(
    "bad",
    el("p", {}, error.where ? el("strong", {}, `${error.where}: `) : null, error.what),
    error.hint ? el("p", { class: "hint" }, error.hint) : null,
  );
  box.setAttribute("role", "alert");
  return box;
}

/** A view or a card without content: says why, and what to do. */
export function emptyState(symbol, title, lead, ...actions) {
  return el(
    "div", { class: "empty" }, el("span", { class: "empty-icon" }, icon(symbol)),
    el("h2", {}, title), el("p", {}, lead), ...actions,
  );
}

/** A line that says that something is worked on. */
export function waiting(label) {
  return el("p", { class: "waiting", role: "status" }, el("span", { class: "spinner" }), label);
}

/** Says something for a few seconds, also to screen readers. */
export function toast(message, kind = "ok") {
  const node = el("div", { class: `toast ${kind}` }, icon(kind), el("span", {}, message));
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), TOAST_MILLISECONDS);
}

/** Runs a function of a button or form: the control is disabled meanwhile, errors are shown. */
export async function busyWith(control, place, work) {
  control.disabled = true;
  control.setAttribute("aria-busy", "true");
  try {
    place?.replaceChildren();
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    if (place) place.replaceChildren(errorNote(error));
    else if ("what" in error) toast(error.what, "bad");
    else throw error;
    return undefined;
  } finally {
    control.disabled = false;
    control.removeAttribute("aria-busy");
  }
}

/** An image that is replaced by an icon if there is none. */
export function portrait(source, alt, symbol = "person") {
  const frame = el("span", { class: "portrait" }, icon(symbol));
  if (!source) return frame;
  const image = el("img", { src: source, alt, loading: "lazy", decoding: "async" });
  image.addEventListener("load", () => frame.replaceChildren(image));
  image.addEventListener("error", () => image.remove());
  image.loading = "eager";
  frame.append(image);
  return frame;
}

/** A list of terms and values. */
export function facts(pairs) {
  const rows = pairs.filter(([, value]) => value !== undefined && value !== null);
  return el("dl", { class: "facts" }, rows.map(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]));
}

/** A table in a frame that scrolls by itself on small screens. */
export function table(caption, heads, rows) {
  return el(
    "div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table", {}, el("caption", { class: "hidden" }, caption),
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell) => el("td", {}, cell))))),
    ),
  );
}

/** What is shown where a gallery is needed and there is none. */
export function noGallery() {
  return emptyState(
    "people", text("gallery.none"), text("gallery.how"),
    el("pre", { class: "command" }, el("code", {}, "mobileface serve --gallery people.gallery")),
  );
}
