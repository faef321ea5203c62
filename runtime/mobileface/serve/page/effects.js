/** Effects: what can be done to a picture; before and after. */

import { call, get, post } from "./api.js";
import { optionFields } from "./effect_options.js";
import { faceCanvas, middle } from "./face_canvas.js";
import { picker, prepare } from "./pictures.js";
import { text } from "./texts.js";
import { busyWith, button, card, el, errorNote, heading, icon, note, waiting } from "./ui.js";

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
  const state = { effect: known[0], first: null, second: null, urls: [], signal };
  cleanup(() => state.urls.forEach((url) => URL.revokeObjectURL(url)));
  const result = el("div", { "aria-live": "polite" });
  const photos = el("div", { class: "option-group" });
  const options = el("div", { class: "option-group" });
  const run = el("button", { class: "button primary" }, text("effects.run"));
  run.type = "submit";
  let shown = "";
  const draw = () => {
    photos.replaceChildren(photoSlot(state, "first", "face", text("picture.choose"), draw), ...secondPhoto(state, draw));
    const wanted = `${state.effect.name}/${Boolean(state.second)}`;
    if (wanted === shown) return; // what was entered stays
    shown = wanted;
    options.replaceChildren(...optionFields(state.effect, Boolean(state.second)));
  };
  const form = el("form", { class: "effect-form" }, photos, options, run);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const missing = !state.first || (state.effect.second === "required" && !state.second);
    if (missing) result.replaceChildren(note("warning", text("effects.no_photo")));
    else busyWith(run, result, () => apply(state, new FormData(form), result));
  });
  draw();
  root.append(
    chooser(known, state, () => {
      state.second = null;
      result.replaceChildren();
      draw();
    }),
    el("div", { class: "effect-layout" }, card(text("effects.photo"), form), result),
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

function secondPhoto(state, draw) {
  const { name, second } = state.effect;
  if (second === "none") return [];
  const label = text(SECONDS[name] ?? "effects.second");
  const words = second === "optional" ? text("effects.optional", { label }) : label;
  return [el("h3", {}, words), photoSlot(state, "second", "second_face", text("picture.choose"), draw)];
}

/** A place for a photo: a picker, or the photo; with several faces and an effect on one, a choice. */
function photoSlot(state, slot, option, label, draw) {
  const taken = state[slot];
  if (!taken) {
    const place = el("div", {});
    const onfiles = async ([file]) => {
      try {
        const picture = await prepare(file, 2);
        state[slot] = { picture, url: keep(state, picture.blob), found: null, chosen: null };
        draw();
      } catch (error) {
        place.prepend(errorNote(error));
      }
    };
    place.append(picker({ label, small: true, onfiles }));
    return place;
  }
  const { picture, url } = taken;
  const change = button(text("picture.other"), () => {
    state[slot] = null;
    draw();
  }, { kind: "small" });
  const node = el("div", { class: "option-group" }, el(
    "div", { class: "slot" }, el("img", { src: url, alt: picture.name }),
    el("div", {}, el("p", {}, picture.name), picture.scaled ? el("p", { class: "help" }, picture.scaled) : "", change),
  ));
  if (state.effect.options.some(({ name }) => name === option)) addChoice(state, taken, option, node);
  return node;
}

/** Shows the faces of a photo to choose from, if there are several. */
async function addChoice(state, taken, option, node) {
  try {
    taken.found ??= await post("detect", { file: taken.picture }, { signal: state.signal });
  } catch (error) {
    if (error.name !== "AbortError") node.append(errorNote(error));
    return;
  }
  if (taken.found.faces.length < 2) return;
  const all = option === "face";
  const onchoose = (index) => { taken.chosen = index; };
  if (!all) taken.chosen ??= 0;
  const { figure } = faceCanvas(taken.picture, taken.found, { chosen: taken.chosen, onchoose });
  node.append(el("p", { class: "help" }, all ? text("effects.face_all") : text("effects.face_one")), figure);
}

function choiceOf(effect, taken, option) {
  if (!taken?.found || taken.found.faces.length < 2) return {};
  if (!effect.options.some(({ name }) => name === option)) return {};
  const face = taken.found.faces[taken.chosen];
  return { [option]: face ? middle(face) : "all" };
}

async function apply(state, form, place) {
  const { effect, first, second, signal } = state;
  place.replaceChildren(waiting(text("effects.working")));
  const sent = {
    ...Object.fromEntries(form), file: first.picture, second: second?.picture,
    ...choiceOf(effect, first, "face"), ...choiceOf(effect, second, "second_face"),
  };
  const answer = await call("POST", `effects/${effect.name}`, { form: sent, raw: true, signal });
  place.replaceChildren(present(state, await answer.blob()));
}

function keep(state, blob) {
  const url = URL.createObjectURL(blob);
  state.urls.push(url);
  return url;
}

/** Before and after, above each other, parted by a slider; and the download. */
function present(state, blob) {
  const after = keep(state, blob);
  const { picture, url: before } = state.first;
  const suffix = blob.type === "image/png" ? ".png" : ".jpg";
  const file = `${picture.name.replace(/\.\w+$/, "")}-${state.effect.name}${suffix}`;
  const range = el("input", {
    type: "range", min: 0, max: 100, value: 50, "aria-label": text("effects.slider"), class: "wipe",
  });
  const stage = el(
    "div", { class: "before-after" }, el("img", { src: after, alt: text("effects.after") }),
    el("img", { src: before, alt: text("effects.before"), class: "before" }), el("span", { class: "divider" }), range,
  );
  const move = () => stage.style.setProperty("--split", `${range.value}%`);
  range.addEventListener("input", move);
  move();
  return card(
    text("effects.result"), stage,
    el("div", { class: "wipe-ends" }, el("span", {}, text("effects.before")), el("span", {}, text("effects.after"))),
    el("a", { class: "button primary", href: after, download: file }, icon("download"), el("span", {}, text("effects.download"))),
  );
}
