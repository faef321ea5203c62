/** Enrolling: photos one by one, so that each one's result is seen; the face of an event or search. */

import { address, call, get, post } from "./api.js";
import { ask } from "./dialogs.js";
import { faceCanvas, middle } from "./face_canvas.js";
import { prepare } from "./pictures.js";
import { inOrder, number, text } from "./texts.js";
import { el, field, icon, note, portrait, toast } from "./ui.js";

/**
 * Enrols photos of one person, each by its own request, and lists what became of each.
 * @param {{files: File[], name?: string, personId?: number, list: HTMLElement}} options
 * @returns {Promise<number | undefined>} the person's ID, if any face was enrolled
 */
export async function enrolPhotos({ files, name, personId, list }) {
  let id = personId;
  let enrolled = 0;
  for (const file of files) {
    const row = el("li", { class: "enrol-row" }, el("span", { class: "spinner" }), el("span", { class: "enrol-name" }, file.name));
    list.append(row);
    row.scrollIntoView({ block: "nearest" });
    const picture = await prepare(file);
    const send = async (face) => {
      const form = { files: [picture], face, ...(id === undefined ? { name } : {}) };
      const done = await post(id === undefined ? "people" : `people/${id}/faces`, form);
      if (done.refused.length && !done.faces.length) throw refusal(done.refused[0], picture.name);
      id ??= done.person_id;
      enrolled += done.faces.length;
      report(row, picture, done);
    };
    await attempt(row, picture, send);
  }
  return enrolled || id !== personId ? id : undefined;
}

/** Tries to enrol a photo; a photo that is refused says why, and lets its face be chosen. */
async function attempt(row, picture, send) {
  try {
    await send();
  } catch (error) {
    if (!("what" in error)) throw error;
    const body = el("div", { class: "enrol-text" }, el("strong", {}, picture.name), el("span", {}, error.what));
    if (error.hint && error.code !== "bad_input") body.append(el("span", { class: "help" }, error.hint));
    row.className = "enrol-row bad";
    row.replaceChildren(thumbnail(picture), body, icon("bad"));
    const found = await faces(picture);
    if (found && found.faces.length > 1) {
      body.append(el("span", { class: "help" }, text("enrol.several")));
      const choose = (index) => attempt(row, picture, () => send(middle(found.faces[index])));
      row.append(faceCanvas(picture, found, { onchoose: choose }).figure);
    }
  }
}

async function faces(picture) {
  try {
    return await post("detect", { file: picture });
  } catch {
    return null;
  }
}

function report(row, picture, done) {
  const known = done.known.length > 0;
  row.className = `enrol-row ${known ? "info" : "ok"}`;
  const words = known ? text("enrol.known") : text("enrol.done");
  const body = el("div", { class: "enrol-text" }, el("strong", {}, picture.name), el("span", {}, words));
  for (const { name, similarity } of done.lookalikes) {
    const likeness = { name, similarity: number(similarity, 3) };
    body.append(note("warning", text("enrol.lookalike", likeness)));
  }
  if (picture.scaled) body.append(el("span", { class: "help" }, picture.scaled));
  row.replaceChildren(thumbnail(picture), body, icon(known ? "info" : "ok"));
}

function thumbnail(picture) {
  const side = 96;
  const canvas = el("canvas", { width: side, height: side, class: "thumb", "aria-hidden": "true" });
  if (picture.bitmap) {
    const { width, height } = picture.bitmap;
    const size = Math.min(width, height);
    canvas.getContext("2d").drawImage(
      picture.bitmap, (width - size) / 2, (height - size) / 2, size, size, 0, 0, side, side,
    );
  }
  return canvas;
}

/** An error for a photo that the service refused; it tells why as "file: what (hint)". */
function refusal(why, name) {
  const words = typeof why === "string" ? why : why.what;
  const what = words.startsWith(`${name}: `) ? words.slice(name.length + 2) : words;
  return Object.assign(new Error(what), { what, where: "", hint: why.hint ?? "", code: "bad_input" });
}

/**
 * Asks who a face shows: a new name or one of the people; enrols it.
 * @param {{picture?: object, face?: object, event?: object}} source a face of a photo, or an event
 * @returns {Promise<object | undefined>} the service's document
 */
export async function askWho({ picture, face, event }) {
  const people = (await get("people")).people.sort((a, b) => inOrder(a.name, b.name));
  const input = el("input", { name: "name", required: true, maxlength: 200, autocomplete: "off", autofocus: true });
  const choices = people.map((person) =>
    el(
      "button", { type: "button", class: "choice", onclick: () => { input.value = person.name; } },
      portrait(address(`people/${person.person_id}/thumbnail`), ""), el("span", {}, person.name),
    ));
  const narrow = () => {
    const part = input.value.trim().toLowerCase();
    choices.forEach((node, index) => { node.hidden = !people[index].name.toLowerCase().includes(part); });
  };
  input.addEventListener("input", narrow);
  const body = [
    event ? portrait(address(`events/${encodeURIComponent(event.id)}/face`), text("live.face_of_unknown")) : null,
    field(text("who.name"), input, text("who.help")),
    choices.length ? el("div", { class: "choices", role: "group", "aria-label": text("who.people") }, choices) : null,
  ].filter(Boolean);
  const submit = async (form) => {
    const name = form.get("name").trim();
    if (event) return enrolEvent(event, name);
    const done = await post("people", { name, files: [picture], face: middle(face) });
    if (!done.faces.length && done.refused.length) throw refusal(done.refused[0], picture.name);
    return done;
  };
  const done = await ask({ title: text("who.title"), body, action: text("who.action"), submit });
  if (done) {
    toast(text("who.done", { name: done.name }));
    for (const other of done.lookalikes ?? []) {
      toast(text("enrol.lookalike", { name: other.name, similarity: number(other.similarity, 3) }), "warning");
    }
  }
  return done;
}

/** Enrols the face of an event. Its picture's file says nothing to people, nor does advice for files. */
async function enrolEvent({ id }, name) {
  try {
    return await call("POST", `events/${encodeURIComponent(id)}/enrol`, { json: { name } });
  } catch (error) {
    if (error.code !== "bad_input") throw error;
    throw Object.assign(error, { where: "", hint: text("who.other_event") });
  }
}

/** Asks for a name; `save` sends it. */
export function askName({ title, action, value = "", save }) {
  const input = el("input", { name: "name", required: true, maxlength: 200, value, autocomplete: "off", autofocus: true });
  queueMicrotask(() => input.select());
  return ask({ title, action, body: [field(text("who.name"), input)], submit: (form) => save(form.get("name").trim()) });
}
