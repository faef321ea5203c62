/** People: who is enrolled; adding somebody. */

import { address, get } from "./api.js";
import { enrolPhotos } from "./enrolment.js";
import { picker } from "./pictures.js";
import { inOrder, text } from "./texts.js";
import { busyWith, button, el, emptyState, field, heading, noGallery, note, portrait } from "./ui.js";

const MOST_FILES = 200;

export async function show({ root, service, signal }) {
  if (!service.version.gallery) {
    root.append(heading(text("people.title"), text("people.lead")), noGallery());
    return;
  }
  const panel = el("div", { hidden: true });
  const listing = el("div", { class: "result" });
  const refresh = async () => {
    const { people } = await get("people", {}, signal);
    const none = () => emptyState("people", text("people.none"), text("people.none_hint"));
    listing.replaceChildren(...(people.length ? peopleGrid(people) : [none()]));
  };
  const add = button(text("people.add"), () => {
    panel.hidden = false;
    listing.hidden = !listing.querySelector(".people-grid");
    panel.replaceChildren(addPanel(refresh, close));
    panel.querySelector("input").focus();
  }, { symbol: "plus", kind: "primary" });
  const close = () => {
    panel.hidden = true;
    listing.hidden = false;
    add.focus();
  };
  root.append(heading(text("people.title"), text("people.lead"), add), panel, listing);
  await refresh();
}

function peopleGrid(found) {
  const people = [...found].sort((a, b) => inOrder(a.name, b.name));
  const cards = people.map((person) =>
    el(
      "li", {},
      el(
        "a", { class: "card person-card", href: `#people/${person.person_id}` },
        portrait(address(`people/${person.person_id}/thumbnail`, { v: person.faces }), text("people.portrait", { name: person.name })),
        el("strong", { title: person.name }, person.name), el("span", { class: "help" }, text("people.faces", { count: person.faces })),
      ),
    ));
  const count = el("p", { class: "summary", role: "status" }, text("people.count", { count: people.length }));
  const filter = el("input", { type: "search", autocomplete: "off" });
  filter.addEventListener("input", () => {
    const part = filter.value.trim().toLowerCase();
    const seen = people.filter((person, index) => {
      cards[index].hidden = !person.name.toLowerCase().includes(part);
      return !cards[index].hidden;
    });
    count.textContent = text("people.count", { count: seen.length });
  });
  const bar = people.length > 8 ? [field(text("people.filter"), filter)] : [];
  return [...bar, count, el("ul", { class: "people-grid" }, cards)];
}

/** The form that adds a person: a name, then photos. */
function addPanel(refresh, close) {
  const name = el("input", { name: "name", required: true, maxlength: 200, autocomplete: "off" });
  const list = el("ol", { class: "enrol-list", "aria-live": "polite" });
  const chosen = el("ul", { class: "chosen" });
  const problems = el("div", { "aria-live": "assertive" });
  const send = el("button", { class: "button primary" }, text("people.enrol"));
  send.type = "submit";
  let files = [];
  const take = (added) => {
    files = [...files, ...added].slice(0, MOST_FILES);
    chosen.replaceChildren(...files.map((file) => el("li", {}, file.name)));
    problems.replaceChildren();
  };
  const form = el(
    "form", { class: "card add-panel" }, el("h2", {}, text("people.add")),
    field(text("who.name"), name),
    picker({ label: text("people.photos"), several: true, onfiles: take, small: true }),
    chosen, el("p", { class: "help" }, text("people.advice")), problems,
    el("div", { class: "row" }, send, button(text("action.close"), close)),
    list,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!files.length) {
      problems.replaceChildren(note("warning", text("people.no_photos")));
      return;
    }
    busyWith(send, problems, async () => {
      list.replaceChildren();
      const sent = files;
      take([]);
      files = [];
      chosen.replaceChildren();
      const { people } = await get("people");
      const known = people.find((person) => person.name === name.value.trim());
      const id = await enrolPhotos({ files: sent, name: name.value.trim(), personId: known?.person_id, list });
      if (id === undefined) return;
      const link = el("a", { href: `#people/${id}` }, text("people.show", { name: name.value.trim() }));
      problems.replaceChildren(note("ok", link));
      await refresh();
    });
  });
  return form;
}
