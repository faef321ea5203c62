/** The options of an effect as form fields. */

import { number, text } from "./texts.js";
import { el, field } from "./ui.js";

const LABELS = {
  strength: "option.strength", method: "option.method", gamma: "option.gamma",
  color: "option.color", blur: "option.blur", line_width: "option.line_width",
  darkness: "option.darkness", keep_background: "option.keep_background", skin: "option.skin",
  lips: "option.lips", eyes: "option.eyes", whiten: "option.whiten", smooth: "option.smooth",
};
const HELP = {
  "anonymize.strength": "help.cells", "enhance.strength": "help.strength",
  "enhance.gamma": "help.gamma", "makeup.strength": "help.strength", "makeup.whiten": "help.whiten",
  "makeup.smooth": "help.smooth", "makeup.skin": "help.copied", "makeup.lips": "help.copied",
  "makeup.eyes": "help.copied", "background.blur": "help.blur", "background.color": "help.color",
  "portrait.line_width": "help.line_width", "portrait.darkness": "help.darkness",
};
const CHOICES = {
  blur: "option.method_blur", pixelate: "option.method_pixelate",
  fill: "option.method_fill", average: "option.method_average",
};
const WITH_SECOND = new Set(["skin", "lips", "eyes"]);
const WITHOUT_SECOND = new Set(["whiten", "smooth", "blur", "color"]);
const STEPS = 20;

/** The fields; faces are chosen in the pictures, and options that this page does not know are left out. */
export function optionFields({ name: effect, options, second }, hasSecond) {
  return options
    .filter(({ name }) => name in LABELS)
    .filter(({ name }) => second === "none" || !(hasSecond ? WITHOUT_SECOND : WITH_SECOND).has(name))
    .map((option) => MAKERS[option.kind](text(LABELS[option.name]), { ...option, text: helpOf(effect, option) }));
}

/** What an option does, in the page's words; the service's are for programs. */
function helpOf(effect, { name, text: words }) {
  const key = HELP[`${effect}.${name}`];
  return key ? text(key) : words;
}

const MAKERS = {
  number: numberField,
  switch: (label, { name, default: on }) =>
    el("label", { class: "check" }, el("input", { type: "checkbox", name, value: "true", checked: on }), label),
  choice: (label, { name, choices, default: value }) =>
    field(label, el("select", { name }, choices.map((choice) => {
      const words = choice in CHOICES ? text(CHOICES[choice]) : choice;
      return el("option", { value: choice, selected: choice === value }, words);
    }))),
  text: (label, { name, text: help }) => field(label, el("input", { name, autocomplete: "off" }), help),
};

/** A slider where default and range are known; otherwise a field that may stay empty. */
function numberField(label, { name, default: value, low, high, text: help }) {
  if (value === null || low === null || high === null) {
    const properties = { type: "number", name, min: low, max: high, step: "any", placeholder: text("option.default") };
    return field(label, el("input", properties), help);
  }
  const output = el("output", {}, number(value, 2, 0));
  const input = el("input", { type: "range", name, min: low, max: high, step: (high - low) / STEPS, value });
  input.addEventListener("input", () => { output.textContent = number(Number(input.value), 2, 0); });
  return el("div", { class: "slider" }, field(label, input, help), output);
}
