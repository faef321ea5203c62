/** The texts of the page, from texts/en.json. No other file contains any. */

const answer = await fetch(new URL("texts/en.json", import.meta.url));
const TEXTS = await answer.json();
const plural = new Intl.PluralRules("en");

/**
 * A text, with {names} replaced by values.
 * @param {string} key as "people.title"
 * @param {Object<string, unknown>} values
 */
export function text(key, values = {}) {
  const [section, name] = key.split(".");
  let found = TEXTS[section]?.[name];
  if (found === undefined) throw new Error(key);
  if (typeof found === "object") found = found[plural.select(values.count)] ?? found.other;
  return found.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** A date and time of ISO 8601 as people read it: the time today, else with the date. */
export function when(iso) {
  const time = new Date(iso);
  if (Number.isNaN(time.valueOf())) return iso;
  const today = time.toDateString() === new Date().toDateString();
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const day = { year: "numeric", month: "short", day: "numeric" };
  return new Intl.DateTimeFormat("en-GB", today ? clock : { ...day, ...clock }).format(time);
}

/** A day of ISO 8601 as people read it. */
export function day(iso) {
  const time = new Date(iso);
  if (Number.isNaN(time.valueOf())) return iso;
  return new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" }).format(time);
}

/** A number with this many decimals, or without those that are 0 down to `least`. */
export function number(value, decimals = 0, least = decimals) {
  const digits = { minimumFractionDigits: least, maximumFractionDigits: decimals };
  return new Intl.NumberFormat("en", { ...digits, signDisplay: "negative" }).format(value);
}

/** Compares names for sorting as people expect it: Ann, bob, Person 2, Person 10. */
export const inOrder = new Intl.Collator("en", { numeric: true }).compare;

/** A size in bytes. */
export function bytes(value) {
  return value >= 1e6
    ? text("unit.megabytes", { value: number(value / 1e6, 1) })
    : text("unit.kilobytes", { value: number(Math.max(1, value / 1e3)) });
}

/** Fills elements of the HTML file that name a text by data-text or data-label. */
export function fill(root) {
  for (const node of root.querySelectorAll("[data-text]")) {
    node.textContent = text(node.dataset.text);
  }
  for (const node of root.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", text(node.dataset.label));
  }
}
