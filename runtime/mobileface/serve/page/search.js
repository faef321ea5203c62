/** Search: who is in a photo? */

import { post } from "./api.js";
import { askWho } from "./enrolment.js";
import { faceCanvas } from "./face_canvas.js";
import { crop, picker, prepare } from "./pictures.js";
import { bar, barStart, ruleText } from "./similarity.js";
import { number, text } from "./texts.js";
import { button, el, emptyState, errorNote, heading, noGallery, note, waiting } from "./ui.js";

export function show({ root, service, signal }) {
  root.append(heading(text("search.title"), text("search.lead")));
  if (!service.version.gallery) {
    root.append(noGallery());
    return;
  }
  const result = el("div", { class: "result", "aria-live": "polite" });
  root.append(picker({ label: text("picture.choose"), onfiles: ([file]) => load(file), small: true }), result);

  async function load(file) {
    result.replaceChildren(waiting(text("search.working")));
    try {
      const picture = await prepare(file);
      await look(picture);
    } catch (error) {
      if (error.name !== "AbortError") result.replaceChildren(errorNote(error));
    }
  }
  async function look(picture) {
    const found = await post("search", { file: picture, top: 3 }, { signal });
    result.replaceChildren(...present(picture, found, () => look(picture)));
  }
}

function present(picture, found, again) {
  if (!found.faces.length) {
    return [emptyState("photos", text("picture.no_face", { name: picture.name }), text("picture.no_face_hint"))];
  }
  const names = found.faces.map((face) => face.identity?.name ?? text("search.unknown_short"));
  const { figure, mark } = faceCanvas(picture, found, { captions: names });
  const all = found.faces.flatMap(({ identity }) => [identity?.threshold, ...(identity?.matches ?? []).map((match) => match.similarity)]);
  const low = barStart(all);
  const cards = found.faces.map((face) => faceCard(picture, found, face, low, again));
  cards.forEach((node, index) => {
    node.addEventListener("mouseenter", () => mark(index));
    node.addEventListener("mouseleave", () => mark(null));
  });
  const known = found.faces.filter((face) => face.identity?.name).length;
  const rule = found.faces.find((face) => face.identity)?.identity.rule;
  const summary = text("search.summary", { count: found.faces.length, known });
  return [
    el("p", {}, el("strong", {}, summary), el("br"), el("span", { class: "help" }, ruleText(rule))),
    picture.scaled ? note("info", picture.scaled) : null,
    el("div", { class: "split" }, figure, el("ul", { class: "face-list" }, cards)),
  ].filter(Boolean);
}

function faceCard(picture, { width }, face, low, again) {
  const identity = face.identity;
  const name = identity?.name;
  const nearest = identity?.matches ?? [];
  const marks = [{ at: identity?.threshold, label: text("search.mark") }];
  return el(
    "li", { class: "card face-card" },
    picture.bitmap ? crop(picture, face.bbox, { width }) : null,
    el(
      "div", { class: "face-text" },
      el("h2", { class: name ? "" : "muted" }, name ?? text("search.unknown")),
      nearest.length
        ? el("ol", { class: "matches", "aria-label": text("search.nearest") }, nearest.map((match) => matchRow(match, marks, low)))
        : el("p", { class: "help" }, identity ? text("search.nobody") : text("search.no_crop")),
      name || !identity ? null : button(text("search.enrol"), async () => {
        if (await askWho({ picture, face })) await again();
      }, { symbol: "plus", kind: "small" }),
    ),
  );
}

function matchRow({ name, person_id: id, similarity }, marks, low) {
  return el(
    "li", {}, el("a", { href: `#people/${id}` }, name),
    el("span", { class: "match-value" }, number(similarity, 3)), bar(similarity, marks, low),
  );
}
