/** Photos: all that can be told about the faces in a picture. */

import { call } from "./api.js";
import { faceCanvas } from "./face_canvas.js";
import { crop, picker, prepare } from "./pictures.js";
import { number, text } from "./texts.js";
import { el, emptyState, errorNote, facts, heading, note, waiting } from "./ui.js";

const EXPRESSIONS = {
  angry: "expression.angry", disgust: "expression.disgust", fear: "expression.fear",
  happy: "expression.happy", sad: "expression.sad", surprise: "expression.surprise",
  neutral: "expression.neutral",
};
const GENDERS = { female: "photos.female", male: "photos.male" };

export function show({ root, service, signal }) {
  const result = el("div", { class: "result", "aria-live": "polite" });
  const layers = {
    points: toggle(text("photos.points"), () => state && present()),
    axes: toggle(text("photos.axes"), () => state && present()),
  };
  root.append(
    heading(text("photos.title"), text("photos.lead")),
    picker({ label: text("picture.choose"), onfiles: ([file]) => load(file), small: true }),
    result,
  );
  let state = null;

  async function load(file) {
    result.replaceChildren(waiting(text("photos.working")));
    try {
      const picture = await prepare(file);
      const found = await analyse(picture, service.version, signal);
      state = { picture, found };
      present();
    } catch (error) {
      if (error.name !== "AbortError") result.replaceChildren(errorNote(error));
    }
  }
  function present() {
    const { picture, found } = state;
    if (!found.faces.length) {
      const title = text("picture.no_face", { name: picture.name });
      result.replaceChildren(emptyState("photos", title, text("picture.no_face_hint")));
      return;
    }
    const captions = found.faces.map((_, index) => text("picture.face", { number: index + 1 }));
    const cards = [];
    const { figure, mark } = faceCanvas(picture, found, {
      captions, points: layers.points.on(), axes: layers.axes.on(),
      onpoint: (index, clicked) => {
        cards.forEach((node, place) => node.classList.toggle("marked", place === index));
        if (clicked) cards[index].scrollIntoView({ block: "center" });
      },
    });
    figure.append(el("figcaption", { class: "layers" }, layers.points.node, layers.axes.node));
    cards.push(...found.faces.map((face, index) => faceCard(picture, found, face, captions[index])));
    cards.forEach((node, index) => {
      node.addEventListener("mouseenter", () => mark(index));
      node.addEventListener("mouseleave", () => mark(null));
    });
    const size = { count: found.faces.length, width: found.width, height: found.height };
    result.replaceChildren(
      el("p", { class: "summary" }, el("strong", {}, text("photos.summary", size))),
      ...(picture.scaled ? [note("info", picture.scaled)] : []),
      el("div", { class: "split" }, figure, el("ul", { class: "face-list" }, cards)),
    );
  }
}

/** Runs all tasks that describe faces; pose too, which runs only when it is asked for. */
async function analyse(picture, version, signal) {
  const tasks = Object.keys(version.models).filter((task) => !["detection", "embedding"].includes(task));
  const ask = (names) => call("POST", "analyze", { query: { tasks: names }, form: { file: picture }, signal });
  const posed = [...new Set([...tasks, "pose"])];
  try {
    return await ask(posed);
  } catch (error) {
    if (error.code !== "model" || posed.length === tasks.length) throw error;
    return ask(tasks.length ? tasks : ["detection"]);
  }
}

function toggle(label, onchange) {
  const input = el("input", { type: "checkbox", checked: true, onchange });
  return { node: el("label", { class: "check" }, input, label), on: () => input.checked };
}

function faceCard(picture, { width }, face, title) {
  const { attributes = {}, pose, bbox } = face;
  const [x1, y1, x2, y2] = bbox;
  const sure = attributes.gender_probs && Math.max(...attributes.gender_probs);
  const gender = attributes.gender && text(GENDERS[attributes.gender] ?? "photos.other", { value: attributes.gender });
  return el(
    "li", { class: "card face-card" },
    picture.bitmap ? crop(picture, bbox, { width }) : null,
    el(
      "div", { class: "face-text" }, el("h2", {}, title),
      facts([
        [text("photos.age"), attributes.age === undefined || attributes.age === null ? null : text("photos.years", { value: number(attributes.age) })],
        [text("photos.gender"), gender && (sure ? text("photos.sure", { value: gender, percent: number(sure * 100) }) : gender)],
        [text("photos.expression"), attributes.expressions?.map(expression).join(", ")],
        [text("photos.pose"), pose && text("photos.angles", angles(pose))],
        [text("photos.size"), text("photos.pixels", { width: number(x2 - x1), height: number(y2 - y1) })],
        [text("photos.score"), number(face.det_score, 3)],
      ]),
    ),
  );
}

function expression(name) {
  return text(EXPRESSIONS[name] ?? "photos.other", { value: name });
}

function angles({ yaw, pitch, roll }) {
  return { yaw: number(yaw), pitch: number(pitch), roll: number(roll) };
}
