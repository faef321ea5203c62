/** The list of events: the newest first, updated by server-sent events. */

import { address, call, get } from "./api.js";
import { askWho } from "./enrolment.js";
import { number, text, when } from "./texts.js";
import { busyWith, button, el, emptyState, field, iconButton, note, portrait } from "./ui.js";

const PAGE = 30;
const MOST = 300;
const AGAIN_MILLISECONDS = 3000;
const TYPES = {
  person_seen: "live.type_seen", unknown_seen: "live.type_unknown", left: "live.type_left",
};

/** The list with its filters; follows new events until `signal` aborts. */
export function eventList({ signal, gallery }) {
  const list = el("ul", { class: "events" });
  const spoken = el("p", { class: "hidden", role: "status" });
  const link = el("div", { class: "link-state" });
  const more = button(text("live.more"), () => busyWith(more, null, () => load(oldest())), { kind: "quiet" });
  const empty = el("div", {});
  const camera = el("select", {}, el("option", { value: "" }, text("live.all_cameras")));
  const type = el(
    "select", {}, el("option", { value: "" }, text("live.all_types")),
    Object.entries(TYPES).map(([value, key]) => el("option", { value }, text(key))),
  );
  const shown = new Map();
  const oldest = () => [...shown.keys()].sort()[0];
  const fits = (event) => (!camera.value || event.camera === camera.value) && (!type.value || event.type === type.value);

  function add(event, first) {
    if (shown.has(event.id) || !fits(event)) return;
    const row = eventRow(event, gallery, () => forget(event.id));
    const before = [...shown.keys()].filter((id) => id < event.id).sort().at(-1);
    list.insertBefore(row, shown.get(before) ?? null);
    shown.set(event.id, row);
    if (first && shown.size > MOST) forget(oldest());
    refresh();
  }
  function forget(id) {
    shown.get(id)?.remove();
    shown.delete(id);
    refresh();
  }
  function refresh() {
    empty.replaceChildren(...(shown.size ? [] : [emptyState("live", text("live.no_events"), text("live.no_events_hint"))]));
  }
  async function load(before) {
    const query = { camera: camera.value, type: type.value, limit: PAGE, before };
    const { events } = await get("events", query, signal);
    events.forEach((event) => add(event, false));
    more.hidden = events.length < PAGE;
    refresh();
  }
  const begin = () => busyWith(more, link, () => load());
  async function restart() {
    list.replaceChildren();
    shown.clear();
    await begin();
  }
  for (const control of [camera, type]) control.addEventListener("change", restart);
  const missed = async () => {
    const { events } = await get("events", { camera: camera.value, type: type.value, limit: PAGE }, signal);
    events.forEach((event) => add(event, true));
  };
  follow(signal, link, missed, (event) => {
    add(event, true);
    if (fits(event)) spoken.textContent = sentence(event);
  });
  const node = el(
    "section", { class: "event-panel", "aria-label": text("live.events") },
    el("div", { class: "event-head" }, el("h2", {}, text("live.events")), field(text("live.camera"), camera), field(text("live.type"), type)),
    link, spoken, list, empty, more,
  );
  const names = (all) => camera.append(...all.map((name) => el("option", { value: name }, name)));
  return { node, names, load: begin };
}

/**
 * Listens to new events; says when the connection is lost, and calls `onback` when it is back. The
 * browser connects again by itself, except after an answer that is an error.
 */
function follow(signal, place, onback, onevent) {
  let source;
  let timer;
  let lost = false;
  const open = () => {
    source = new EventSource(address("events/stream"));
    for (const name of Object.keys(TYPES)) {
      source.addEventListener(name, (message) => onevent(JSON.parse(message.data)));
    }
    source.addEventListener("open", () => {
      place.replaceChildren();
      if (lost) onback().catch(() => {});
      lost = false;
    });
    source.addEventListener("error", () => {
      lost = true;
      place.replaceChildren(note("warning", text("live.reconnecting")));
      if (source.readyState === EventSource.CLOSED && !signal.aborted) timer = setTimeout(open, AGAIN_MILLISECONDS);
    });
  };
  open();
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    source.close();
  });
}

function sentence({ type, name, camera, seconds }) {
  const values = { name: name ?? text("live.somebody"), camera, seconds: number(seconds ?? 0) };
  if (type === "left") return text("live.left", values);
  return name ? text("live.seen", values) : text("live.unknown_seen", values);
}

function eventRow(event, gallery, onremove) {
  const row = el("li", { class: `card event ${event.type}` });
  const path = `events/${encodeURIComponent(event.id)}`;
  let label = event.name;
  const draw = () => {
    const title = label ?? text("live.unknown");
    const face = event.type === "left" && !event.snapshot ? null : address(`${path}/face`);
    const alt = label ? text("live.face_of", { name: label }) : text("live.face_of_unknown");
    const time = el("time", { datetime: event.time }, when(event.time));
    const detail = event.type === "left"
      ? text("live.left_after", { seconds: number(event.seconds ?? 0) })
      : event.name && event.similarity !== null ? text("live.similarity", { value: number(event.similarity, 3) }) : "";
    row.replaceChildren(
      portrait(face, alt),
      el(
        "div", { class: "event-text" }, el("strong", { class: label ? "" : "muted" }, title),
        el("span", { class: "help" }, event.camera, " · ", time, detail ? ` · ${detail}` : ""),
      ),
      event.type === "unknown_seen" && !label && gallery ? button(text("live.who"), who, { symbol: "question", kind: "small" }) : "",
      iconButton(text("live.delete"), "trash", remove),
    );
  };
  const who = async () => {
    const done = await askWho({ event });
    if (!done) return;
    label = done.name;
    draw();
  };
  const remove = () => busyWith(row.lastChild, null, async () => {
    await call("DELETE", path);
    onremove();
  });
  draw();
  return row;
}
