/** Similarities and error rates in words and as a bar. */

import { number, text } from "./texts.js";
import { el } from "./ui.js";

/** A bar from `low` to 1 with a mark at each threshold. */
export function bar(value, marks = [], low = 0) {
  const percent = (x) => `${Math.min(100, Math.max(0, (100 * (x - low)) / (1 - low)))}%`;
  const known = marks.filter(({ at }) => at !== null && at !== undefined);
  return el(
    "div", { class: "bar", "aria-hidden": "true" },
    el("span", { class: "bar-fill", style: { width: percent(value) } }),
    known.map(({ at, label }) => el("span", { class: "bar-mark", style: { left: percent(at) }, title: label })),
  );
}

/** Where a bar begins, so that similarities and thresholds are well apart. */
export function barStart(values) {
  const known = values.filter((value) => typeof value === "number");
  const span = 1 - Math.min(...known, 0.99);
  return Math.max(-1, Math.floor(10 * (1 - 2 * span)) / 10);
}

/** "x of 1,000": a share as people can imagine it; the upper bound where nothing was seen. */
export function share(rate) {
  if (!rate) return "";
  if (rate.value === 0) return text("rate.at_most", { rate: outOf(rate.high) });
  return text("rate.about", { rate: outOf(rate.value) });
}

function outOf(value) {
  const all = [100, 1000, 10000].find((base) => value * base >= 1) ?? 1e6;
  const count = number(value * all, value * all < 10 ? 1 : 0, 0);
  return text("rate.out_of", { count, all: number(all) });
}

/** What a threshold means: the share of different people who pass it. */
export function ruleText(rule) {
  if (!rule) return text("rate.no_calibration");
  const words = [text("rate.threshold", { threshold: number(rule.threshold, 3) })];
  if (rule.false_match_rate) words.push(text("rate.threshold_error", { rate: share(rule.false_match_rate) }));
  return words.join(" ");
}
