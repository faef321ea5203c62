/** System: what runs here, with which models, and how fast. */

import { address, call, get } from "./api.js";
import { bytes, number, text } from "./texts.js";
import { busyWith, button, card, el, errorNote, facts, heading, icon, table, waiting } from "./ui.js";

const KINDS = { ok: "ok", note: "info", missing: "warning", failed: "bad" };
const TASKS = {
  detection: "task.detection", landmarks: "task.landmarks", attributes: "task.attributes",
  embedding: "task.embedding", pose: "task.pose", segmentation: "task.segmentation",
};
const taskName = (task) => (task in TASKS ? text(TASKS[task]) : task);

export async function show({ root, service, signal }) {
  const { version } = service;
  root.append(heading(text("system.title"), text("system.lead"), ...signOut(service)));
  const doctor = card(text("system.doctor"), waiting(text("system.checking")));
  const models = card(text("system.models"), waiting(text("system.checking")));
  root.append(
    el("div", { class: "columns" }, about(version), speedCard(signal)),
    doctor, models,
  );
  await Promise.all([
    part(doctor, async () => doctorParts(await examined())),
    part(models, async () => [modelTable(await get("system/models", {}, signal))]),
  ]);
}

async function part(place, make) {
  try {
    const made = await make();
    place.replaceChildren(place.firstChild, ...made);
  } catch (error) {
    if (error.name !== "AbortError") place.replaceChildren(place.firstChild, errorNote(error));
  }
}

let examining = null;

/** The service's checks; it makes one at a time, also when this view is left and shown again. */
function examined() {
  examining ??= get("system/doctor").finally(() => {
    examining = null;
  });
  return examining;
}

function signOut({ session }) {
  if (!session.required) return [];
  const leave = async () => {
    await call("DELETE", "session");
    location.reload();
  };
  return [button(text("system.sign_out"), leave, { symbol: "exit" })];
}

function about(version) {
  const yes = (value) => (value ? text("system.yes") : text("system.no"));
  return card(
    text("system.about"),
    facts([
      [text("system.version"), version.version],
      [text("system.gallery"), yes(version.gallery)],
      [text("system.cameras"), number(version.cameras)],
      [text("system.tasks"), Object.keys(version.models).map(taskName).join(", ")],
    ]),
    el("p", {}, el("a", { href: address("openapi.json") }, text("system.api"))),
  );
}

function speedCard(signal) {
  const result = el("div", { "aria-live": "polite" });
  const measure = button(text("system.measure"), () => busyWith(measure, result, async () => {
    result.replaceChildren(waiting(text("system.measuring")));
    const found = await get("system/speed", {}, signal);
    const rows = Object.entries(found.tasks).map(([task, time]) => [taskName(task), text("system.milliseconds", { value: number(time, 1) })]);
    result.replaceChildren(
      el("p", { class: "score" }, el("strong", { class: "score-value" }, number(found.frames_per_second, 1)), el("span", {}, text("system.fps"))),
      facts(rows),
    );
  }), { symbol: "speed" });
  return card(text("system.speed"), el("p", {}, text("system.speed_lead")), measure, result);
}

function doctorParts({ healthy, findings }) {
  const order = { bad: 0, warning: 1, info: 2, ok: 3 };
  const kinds = findings.map((finding) => ({ ...finding, kind: KINDS[finding.state] ?? "info" }));
  kinds.sort((one, other) => order[one.kind] - order[other.kind]);
  const rows = (list) => el("ul", { class: "findings" }, list.map(findingRow));
  const wanting = kinds.filter(({ kind }) => kind !== "ok");
  const fine = kinds.filter(({ kind }) => kind === "ok");
  return [
    el("p", { class: "summary" }, healthy ? text("system.healthy") : text("system.unhealthy")),
    wanting.length ? rows(wanting) : "",
    el("details", {}, el("summary", {}, text("system.fine", { count: fine.length })), rows(fine)),
  ];
}

function findingRow({ kind, area, name, text: what, hint }) {
  return el(
    "li", { class: `finding ${kind}` }, icon(kind),
    el("div", {}, el("strong", {}, `${area}: ${name}`), el("p", {}, what), hint ? el("p", { class: "help" }, hint) : ""),
  );
}

function modelTable({ models }) {
  const licensed = models.some(({ license }) => license);
  const columns = [
    [text("system.model"), (model) => model.name], [text("system.task"), (model) => model.task],
    ...(licensed ? [[text("system.licence"), (model) => model.license ?? ""]] : []),
    [text("system.precision"), (model) => model.precision],
    [text("system.size"), (model) => bytes(model.bytes)],
  ];
  const rows = models.map((model) => columns.map(([, value]) => value(model)));
  return table(text("system.models"), columns.map(([head]) => head), rows);
}
