/** Effects: what can be done to faces in a picture; before and after. */

import { call, get } from "./api.js";
import { picker, prepare } from "./pictures.js";
import { text } from "./texts.js";
import { busyWith, button, card, el, field, heading, icon, note, waiting } from "./ui.js";

const NAMES = {
  enhance: ["effects.enhance", "effects.enhance_lead"],
  makeup: ["effects.makeup", "effects.makeup_lead"],
  anonymize: ["effects.anonymize", "effects.anonymize_lead"],
  background: ["effects.background", "effects.background_lead"],
  portrait: ["effects.portrait", "effects.portrait_lead"],
  swap: ["effects.swap", "effects.swap_lead"],
};
const SECONDS = {
  makeup: "effects.second_makeup", background: "effects.second_background", swap: "effects.second_swap",
};

export async function show({ root, signal, cleanup }) {
  root.append(heading(text("effects.title"), text("effects.lead")));
  const { effects } = await get("effects", {}, signal);
  const known = effects.filter(({ name }) => name in NAMES);
  const state = { effect: known[0], picture: null, second: null, urls: [] };
  cleanup(() => state.urls.forEach((url) => URL.revokeObjectURL(url)));
  const result = el("div", { "aria-live": "polite" });
  const form = el("form", { class: "effect-form" });
  const run = el("button", { class: "button primary" }, text("effects.run"));
  run.type = "submit";
  const draw = () => form.replaceChildren(...formParts(state, draw), run);
  const source = el("div", {});
  const choose = () => source.replaceChildren(photoSlot(state, "picture", text("picture.choose"), choose));
  choose();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    result.replaceChildren();
    if (!state.picture) {
      result.replaceChildren(note("warning", text("effects.no_photo")));
      return;
    }
    const values = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
    busyWith(run, result, async () => {
      result.replaceChildren(waiting(text("effects.working")));
      const path = `effects/${state.effect.name}`;
      const sent = { file: state.picture, second: state.second, ...values };
      const answer = await call("POST", path, { form: sent, raw: true, signal });
      result.replaceChildren(await present(state, await answer.blob()));
    });
  });
  draw();
  root.append(
    chooser(known, state, () => {
      state.second = null;
      result.replaceChildren();
      draw();
    }),
    el("div", { class: "effect-layout" }, card(text("effects.photo"), source, form), result),
  );
}

function chooser(effects, state, onchange) {
  const cards = effects.map((effect) => {
    const [name, lead] = NAMES[effect.name];
    const input = el("input", { type: "radio", name: "effect", value: effect.name, checked: effect === state.effect });
    input.addEventListener("change", () => {
      state.effect = effect;
      onchange();
    });
    return el("label", { class: "effect-card" }, input, el("strong", {}, text(name)), el("span", { class: "help" }, text(lead)));
  });
  return el("fieldset", { class: "effect-list" }, el("legend", { class: "hidden" }, text("effects.choose")), cards);
}

/** The options of an effect, as the service lists them. */
function formParts(state, redraw) {
  const { name, options = [], second } = state.effect;
  const parts = [];
  if (second !== "none") {
    const label = text(SECONDS[name] ?? "effects.second");
    const help = second === "optional" ? text("effects.second_optional") : null;
    parts.push(el("h3", {}, label), help ? el("p", { class: "help" }, help) : "", photoSlot(state, "second", label, redraw));
  }
  return [...parts, ...options.map(optionField).filter(Boolean)];
}

const OPTION_LABELS = {
  strength: "option.strength", method: "option.method", shape: "option.shape", margin: "option.margin",
  gamma: "option.gamma", color: "option.color", blur: "option.blur", face: "option.face",
  line_width: "option.line_width", darkness: "option.darkness", keep_background: "option.keep_background",
  skin: "option.skin", lips: "option.lips", eyes: "option.eyes", whiten: "option.whiten",
  to: "option.to", source_face: "option.source_face",
};

function optionField(option) {
  if (!(option.name in OPTION_LABELS)) return null; // a newer service's
  const label = text(OPTION_LABELS[option.name]);
  const { name, choices, minimum, maximum } = option;
  const value = option.default ?? undefined;
  if (choices) {
    const items = choices.map((choice) => el("option", { value: choice, selected: choice === value }, choice));
    if (value === undefined) items.unshift(el("option", { value: "" }, text("option.default")));
    return field(label, el("select", { name }, items));
  }
  if (typeof value === "boolean" || option.type === "boolean") {
    return el("label", { class: "check" }, el("input", { type: "checkbox", name, value: "true", checked: value }), label);
  }
  if (typeof value === "number" && minimum !== undefined && maximum !== undefined) {
    return slider(label, option);
  }
  return field(label, el("input", { name, value, placeholder: value === undefined ? text("option.default") : undefined }));
}

function slider(label, { name, default: value, minimum, maximum }) {
  const output = el("output", {}, String(value));
  const input = el("input", { type: "range", name, min: minimum, max: maximum, step: (maximum - minimum) / 40, value });
  input.addEventListener("input", () => { output.textContent = input.value; });
  return el("div", { class: "slider" }, field(label, input), output);
}

/** A place for a photo: a picker, or the photo with a button to take another one. */
function photoSlot(state, name, label, redraw) {
  const picture = state[name];
  if (!picture) {
    return picker({
      label, small: true,
      onfiles: async ([file]) => {
        try {
          state[name] = await prepare(file);
          redraw();
        } catch (error) {
          redraw();
          throw error;
        }
      },
    });
  }
  const url = keep(state, picture.blob);
  const change = button(text("picture.other"), () => {
    state[name] = null;
    redraw();
  }, { kind: "small" });
  return el(
    "div", { class: "slot" }, el("img", { src: url, alt: picture.name }),
    el("div", {}, el("p", {}, picture.name), picture.scaled ? el("p", { class: "help" }, picture.scaled) : "", change),
  );
}

function keep(state, blob) {
  const url = URL.createObjectURL(blob);
  state.urls.push(url);
  return url;
}

/** Before and after, above each other, parted by a slider; and the download. */
async function present(state, blob) {
  const [before, after] = [keep(state, state.picture.blob), keep(state, blob)];
  const suffix = blob.type === "image/png" ? ".png" : ".jpg";
  const file = `${state.picture.name.replace(/\.\w+$/, "")}-${state.effect.name}${suffix}`;
  const top = el("img", { src: before, alt: text("effects.before"), class: "before" });
  const stage = el("div", { class: "before-after" }, el("img", { src: after, alt: text("effects.after") }), top, el("span", { class: "divider" }));
  const range = el("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": text("effects.slider"), class: "wipe" });
  const move = () => stage.style.setProperty("--split", `${range.value}%`);
  range.addEventListener("input", move);
  move();
  stage.append(range);
  const download = el("a", { class: "button primary", href: after, download: file }, icon("download"), el("span", {}, text("effects.download")));
  return card(
    text("effects.result"), stage,
    el("div", { class: "wipe-ends" }, el("span", {}, text("effects.before")), el("span", {}, text("effects.after"))),
    download,
  );
}

