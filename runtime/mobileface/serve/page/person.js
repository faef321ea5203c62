/** One person: all faces; adding and removing them, renaming, merging, erasing. */

import { address, call, get } from "./api.js";
import { ask } from "./dialogs.js";
import { askName, enrolPhotos } from "./enrolment.js";
import { picker } from "./pictures.js";
import { day, inOrder, number, text } from "./texts.js";
import { button, card, el, field, heading, icon, iconButton, portrait, toast } from "./ui.js";

export async function show({ root, argument, signal, reload, title }) {
  const id = Number(argument);
  const person = await get(`people/${id}`, {}, signal);
  title(person.name);
  const back = el("a", { class: "back", href: "#people" }, icon("back"), el("span", {}, text("people.title")));
  const lead = text("person.lead", { count: person.faces.length, day: day(person.created) });
  root.append(
    back,
    heading(
      person.name, lead,
      button(text("person.rename"), () => rename(person, reload), { symbol: "edit" }),
      button(text("person.merge"), () => merge(person), { symbol: "merge" }),
      button(text("person.erase"), () => erase(person), { symbol: "trash", kind: "danger" }),
    ),
    el("ul", { class: "face-grid" }, person.faces.map((face) => faceCard(person, face, reload))),
    morePhotos(person, reload),
  );
}

function faceCard(person, face, reload) {
  const source = face.crop && address(`people/${person.person_id}/faces/${face.face_id}/thumbnail`);
  const pixels = face.quality.face_size;
  const size = pixels === undefined ? undefined : text("person.pixels", { size: number(pixels) });
  const name = text("person.face_alt", { name: person.name, number: face.face_id });
  return el(
    "li", { class: "card face-tile" }, portrait(source, name),
    el("p", { class: "face-source" }, (face.source ?? "").split("/").pop()),
    el("p", { class: "help" }, day(face.created), size === undefined ? "" : ` · ${size}`),
    iconButton(text("person.remove_face", { number: face.face_id }), "trash", () => removeFace(person, face, reload)),
  );
}

function morePhotos(person, reload) {
  const list = el("ol", { class: "enrol-list", "aria-live": "polite" });
  const onfiles = async (files) => {
    list.replaceChildren();
    await enrolPhotos({ files, personId: person.person_id, list });
    list.append(el("li", { class: "row" }, button(text("person.refresh"), reload, { kind: "primary" })));
  };
  return card(text("person.more"), picker({ label: text("people.photos"), several: true, onfiles, small: true }), list);
}

async function rename(person, reload) {
  const save = (name) => call("PATCH", `people/${person.person_id}`, { json: { name } });
  const done = await askName({ title: text("person.rename_title", { name: person.name }), action: text("action.save"), value: person.name, save });
  if (done) {
    toast(text("person.renamed", { name: done.name }));
    reload();
  }
}

async function merge(person) {
  const { people } = await get("people");
  const others = people.filter((other) => other.person_id !== person.person_id)
    .sort((one, other) => inOrder(one.name, other.name));
  if (!others.length) {
    toast(text("person.nobody_else"), "info");
    return;
  }
  const options = others.map((other) => el("option", { value: other.person_id }, other.name));
  const done = await ask({
    title: text("person.merge_title", { name: person.name }), action: text("person.merge_action"),
    body: [
      el("p", {}, text("person.merge_lead", { name: person.name, count: person.faces.length })),
      field(text("person.merge_into"), el("select", { name: "into" }, options)),
    ],
    submit: (form) => call("POST", `people/${person.person_id}/merge`, { json: { into: Number(form.get("into")) } }),
  });
  if (done) {
    toast(text("person.merged", { name: done.name }));
    location.hash = `#people/${done.person_id}`;
  }
}

async function erase(person) {
  const done = await ask({
    title: text("person.erase_title", { name: person.name }), action: text("person.erase_action"), kind: "danger-full",
    body: [
      el("p", {}, text("person.erase_lead")),
      el("ul", {}, [
        el("li", {}, text("person.erase_name", { name: person.name })),
        el("li", {}, text("person.erase_faces", { count: person.faces.length })),
        el("li", {}, text("person.erase_crops")),
      ]),
      el("p", { class: "help" }, text("person.erase_copies")),
    ],
    submit: () => call("DELETE", `people/${person.person_id}`),
  });
  if (done) {
    if (done.erased) toast(text("person.erased", { name: done.name }));
    else toast(text("person.not_erased"), "warning");
    location.hash = "#people";
  }
}

async function removeFace(person, face, reload) {
  const last = person.faces.length === 1;
  const done = await ask({
    title: text("person.remove_title"), action: text("person.remove_action"), kind: "danger-full",
    body: [el("p", {}, last ? text("person.remove_last", { name: person.name }) : text("person.remove_lead"))],
    submit: () => call("DELETE", `people/${person.person_id}/faces/${face.face_id}`),
  });
  if (!done) return;
  if (done.erased) toast(text("person.removed"));
  else toast(text("person.not_erased"), "warning");
  if (last) location.hash = "#people";
  else reload();
}
