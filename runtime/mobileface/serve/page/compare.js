/** Compare: do two photos show the same person? */

import { post } from "./api.js";
import { faceCanvas, middle } from "./face_canvas.js";
import { picker, prepare } from "./pictures.js";
import { bar, barStart, share } from "./similarity.js";
import { number, text } from "./texts.js";
import { card, el, errorNote, heading, iconButton, note, waiting } from "./ui.js";

const ANSWERS = {
  same: { kind: "ok", key: "compare.same" },
  different: { kind: "different", key: "compare.different" },
  "cannot tell": { kind: "info", key: "compare.cannot_tell" },
};

export function show({ root, signal }) {
  const verdict = el("div", { "aria-live": "polite" });
  const sides = [text("compare.first"), text("compare.second")].map((label) => makeSide(label, update, signal));
  root.append(
    heading(text("compare.title"), text("compare.lead")),
    el("div", { class: "pair" }, sides.map((side) => side.node)),
    verdict,
  );
  let round = 0;

  async function update() {
    round += 1;
    const mine = round;
    verdict.replaceChildren();
    if (!sides.every((side) => side.chosen())) return;
    verdict.append(waiting(text("compare.working")));
    const [a, b] = sides.map((side) => side.chosen());
    const form = { a: a.picture, b: b.picture, face_a: middle(a.face), face_b: middle(b.face) };
    try {
      const result = await post("compare", form, { signal });
      if (mine === round) verdict.replaceChildren(verdictCard(result));
    } catch (error) {
      if (error.name !== "AbortError" && mine === round) verdict.replaceChildren(errorNote(error));
    }
  }
}

/** One of the two photos: choose it, see its faces, choose one of them. */
function makeSide(label, onchange, signal) {
  const content = el("div", { class: "side-content", "aria-live": "polite" });
  const node = el("section", { class: "card" }, el("h2", {}, label), content);
  let state = null;
  const reset = () => {
    state = null;
    content.replaceChildren(picker({ label: text("picture.choose"), onfiles: ([file]) => load(file) }));
    onchange();
  };
  async function load(file) {
    content.replaceChildren(waiting(text("picture.detecting")));
    try {
      const picture = await prepare(file, 2);
      const found = await post("detect", { file: picture }, { signal });
      if (!found.faces.length) {
        reset();
        content.prepend(note("warning", text("picture.no_face", { name: picture.name })));
        return;
      }
      state = { picture, found, index: largest(found.faces) };
      present();
    } catch (error) {
      if (error.name === "AbortError") return;
      reset();
      content.prepend(errorNote(error));
    }
    onchange();
  }
  function present() {
    const { picture, found, index } = state;
    const several = found.faces.length > 1;
    const choose = (face) => {
      state.index = face;
      onchange();
    };
    const { figure } = faceCanvas(picture, found, { chosen: index, onchoose: several ? choose : undefined });
    content.replaceChildren(
      figure,
      el(
        "div", { class: "photo-foot" },
        el("p", { class: "help" }, several ? text("picture.several", { count: found.faces.length }) : picture.name),
        iconButton(text("picture.other"), "close", reset),
      ),
    );
    if (picture.scaled) content.append(note("info", picture.scaled));
  }
  queueMicrotask(reset);
  return { node, chosen: () => state && { picture: state.picture, face: state.found.faces[state.index] } };
}

function largest(faces) {
  const areas = faces.map(({ bbox: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1));
  return areas.indexOf(Math.max(...areas));
}

function verdictCard({ similarity, decision, model }) {
  const { kind, key } = ANSWERS[decision.answer];
  const words = [];
  if (decision.as_similar) words.push(text("compare.as_similar", { share: share(decision.as_similar) }));
  if (decision.threshold === null) words.push(text("rate.no_calibration"));
  else words.push(thresholds(decision));
  const low = barStart([similarity, decision.threshold, decision.different_below]);
  const marks = [
    { at: decision.different_below, label: text("compare.mark_different") },
    { at: decision.threshold, label: text("compare.mark_same") },
  ];
  const box = card(
    null,
    el("div", { class: "verdict" }, note(kind, el("h2", {}, text(key)))),
    el(
      "div", { class: "score" },
      el("span", { class: "score-label" }, text("compare.similarity")),
      el("strong", { class: "score-value" }, number(similarity, 3)),
    ),
    bar(similarity, marks, low),
    el("div", { class: "bar-ends", "aria-hidden": "true" }, el("span", {}, number(low, 1)), el("span", {}, number(1, 1))),
    words.map((line) => el("p", {}, line)),
  );
  if (decision.basis) {
    const { data, identities, note: remark } = decision.basis;
    const basis = text("compare.basis", { data, people: number(identities), model });
    box.append(el("p", { class: "help" }, basis, " ", remark ? text("compare.basis_note", { note: remark }) : ""));
  }
  return box;
}

function thresholds({ threshold, different_below: below, false_match_rate: rate }) {
  const words = [
    below < threshold
      ? text("compare.thresholds", { same: number(threshold, 3), different: number(below, 3) })
      : text("compare.threshold", { same: number(threshold, 3) }),
  ];
  if (rate) words.push(text("rate.threshold_error", { rate: share(rate) }));
  return words.join(" ");
}
