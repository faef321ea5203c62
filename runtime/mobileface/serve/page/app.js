/** The frame of the page: navigation by the address's hash, sign-in, and one view at a time. */

import { call, get, handlers } from "./api.js";
import * as compare from "./compare.js";
import { ask } from "./dialogs.js";
import * as effects from "./effects.js";
import * as live from "./live.js";
import * as people from "./people.js";
import * as person from "./person.js";
import * as photos from "./photos.js";
import { limits } from "./pictures.js";
import * as search from "./search.js";
import * as system from "./system.js";
import { fill, text } from "./texts.js";
import { el, errorNote, field, icon, toast } from "./ui.js";

const VIEWS = {
  live: { module: live, label: text("nav.live") },
  people: { module: people, label: text("nav.people") },
  compare: { module: compare, label: text("nav.compare") },
  search: { module: search, label: text("nav.search") },
  photos: { module: photos, label: text("nav.photos") },
  effects: { module: effects, label: text("nav.effects") },
  system: { module: system, label: text("nav.system") },
};

const main = document.getElementById("main");
let current = null; // { name, controller, cleanup }
let signingIn = null;

/** The service's version document; views read it. */
const service = { version: null };

function buildNavigation() {
  const nav = document.getElementById("nav");
  for (const [name, { label }] of Object.entries(VIEWS)) {
    nav.append(el("a", { href: `#${name}`, dataset: { view: name } }, icon(name), el("span", {}, label)));
  }
}

/** The view and its argument of the address: "#people/12". */
function route() {
  const [name, argument = ""] = decodeURIComponent(location.hash.slice(1)).split("/");
  return { name: name in VIEWS ? name : "live", argument };
}

async function show(focus = true) {
  const { name, argument } = route();
  current?.controller.abort();
  for (const cleanup of current?.cleanups ?? []) cleanup();
  const controller = new AbortController();
  const mine = { name, controller, cleanups: [] };
  current = mine;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = text("nav.title", { view: VIEWS[name].label });
  const root = el("div", { class: "view" });
  main.replaceChildren(root);
  const context = {
    root, argument, service, signal: controller.signal, reload: () => show(false),
    cleanup: (work) => mine.cleanups.push(work),
    title: (words) => {
      document.title = text("nav.title", { view: words });
    },
  };
  try {
    service.version ??= await start(context.signal);
    const view = name === "people" && argument ? person : VIEWS[name].module;
    const waited = view.show(context);
    if (focus) focusHeading(root);
    await waited;
    if (focus && current === mine && document.activeElement === document.body) focusHeading(root);
  } catch (error) {
    if (error.name === "AbortError" || controller.signal.aborted) return;
    root.append(errorNote(error));
  }
}

function focusHeading(root) {
  root.querySelector("h1")?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

async function start(signal) {
  const session = await get("session", {}, signal);
  if (session.required && !session.signed_in) await signIn();
  service.session = await get("session", {}, signal);
  const version = await get("version", {}, signal);
  if (version.body_bytes) limits.bytes = version.body_bytes;
  if (version.pixels) limits.pixels = version.pixels;
  document.getElementById("side-note").textContent = text("nav.version", { version: version.version });
  return version;
}

/** Asks for a key until one is accepted; several requests wait for the same dialog. */
function signIn() {
  signingIn ??= askForKey().finally(() => {
    signingIn = null;
  });
  return signingIn;
}

async function askForKey() {
  const key = el("input", {
    type: "password", name: "key", required: true, autocomplete: "current-password", autofocus: true,
  });
  await ask({
    title: text("sign_in.title"), closable: false, action: text("sign_in.action"),
    body: [el("p", {}, text("sign_in.lead")), field(text("sign_in.key"), key, text("sign_in.help"))],
    submit: (form) => tryKey(form.get("key")),
  });
  return true;
}

/** Signs in. What the service says about a wrong key is for programs. */
async function tryKey(key) {
  try {
    return await call("POST", "session", { json: { key } });
  } catch (error) {
    if (error.status !== 401) throw error;
    throw Object.assign(error, { what: text("sign_in.wrong"), where: "", hint: text("sign_in.wrong_hint") });
  }
}

handlers.signIn = signIn;
handlers.busy = (seconds) => toast(text("error.busy", { count: seconds }), "warning");

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash belongs to the views
  main.focus();
});
fill(document);
buildNavigation();
addEventListener("hashchange", () => show());
await show(false);
