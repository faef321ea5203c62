/** The cameras: live pictures and what is known about them. */

import { address, get } from "./api.js";
import { number, text } from "./texts.js";
import { el } from "./ui.js";

const STREAMS = 3; // browsers open six connections to a host; the others serve the events and the API
const STREAM_FPS = 10;
const POLL_MILLISECONDS = 2000;
const AGAIN_MILLISECONDS = 3000;
const STATES = {
  starting: "live.state_starting", running: "live.state_running",
  waiting: "live.state_waiting", ended: "live.state_ended",
};

/** Cards of all cameras, kept up to date until `signal` aborts; `onnames` gets their names. */
export async function cameraGrid(signal, onnames) {
  const grid = el("div", { class: "camera-grid" });
  const cards = new Map();
  const update = async () => {
    const { cameras } = await get("cameras", {}, signal);
    cameras.forEach((camera, index) => {
      if (!cards.has(camera.name)) {
        const made = cameraCard(camera.name, index < STREAMS, signal);
        cards.set(camera.name, made);
        grid.append(made.node);
      }
      cards.get(camera.name).update(camera);
    });
    return cameras;
  };
  onnames((await update()).map((camera) => camera.name));
  const timer = setInterval(() => {
    if (document.hidden) return;
    update().catch(() => {
      if (!signal.aborted) for (const card of cards.values()) card.lose();
    });
  }, POLL_MILLISECONDS);
  signal.addEventListener("abort", () => clearInterval(timer));
  return grid;
}

function cameraCard(name, streams, signal) {
  const view = picture(name, streams, signal);
  const state = el("span", { class: "badge" });
  const numbers = el("span", { class: "help" });
  const people = el("p", { class: "camera-people" });
  const node = el(
    "section", { class: "card camera", "aria-label": name }, el("div", { class: "camera-view" }, view.image),
    el("div", { class: "camera-head" }, el("h2", {}, name), state), people, numbers,
  );
  let lost = false;
  const update = (camera) => {
    view.check(lost);
    lost = false;
    state.textContent = text(STATES[camera.state] ?? "live.state_waiting");
    state.className = `badge ${camera.state}`;
    state.title = camera.why;
    people.textContent = camera.state === "running"
      ? whoIsThere(camera.people) || text("live.nobody")
      : camera.why || text("live.no_picture");
    const size = { width: camera.width, height: camera.height, fps: number(camera.fps ?? 0, 1) };
    numbers.textContent = camera.width ? text("live.numbers", size) : "";
  };
  const lose = () => {
    lost = true;
    view.image.classList.remove("ready");
    state.textContent = text("live.state_lost");
    state.className = "badge waiting";
    people.textContent = text("error.offline");
    numbers.textContent = "";
  };
  return { node, update, lose };
}

/** The names, each once, then how many others there are. */
function whoIsThere(people) {
  const names = new Set(people.map((person) => person.name).filter((name) => name !== null));
  const count = people.filter((person) => person.name === null).length;
  return [...names, ...(count ? [text("live.unknown_people", { count })] : [])].join(", ");
}

/**
 * An MJPEG stream, or a picture each two seconds; tries again when it breaks off. Chromium does not
 * report the end of a stream whose first picture it has shown, so `check` looks at it: call it when
 * the service has answered, with whether it was away before.
 */
function picture(name, streams, signal) {
  const path = `cameras/${encodeURIComponent(name)}`;
  const image = el("img", { alt: text("live.camera_alt", { name }), class: "camera-image" });
  let timer;
  const load = () => {
    const query = streams ? { annotated: true, fps: STREAM_FPS } : { annotated: true };
    image.src = address(`${path}/${streams ? "stream" : "snapshot"}`, { ...query, t: Date.now() });
  };
  const again = (wait) => {
    clearTimeout(timer);
    if (!signal.aborted) timer = setTimeout(() => (document.hidden ? again(wait) : load()), wait);
  };
  image.addEventListener("load", () => {
    image.classList.add("ready");
    if (!streams) again(POLL_MILLISECONDS);
  });
  image.addEventListener("error", () => {
    image.classList.remove("ready");
    again(AGAIN_MILLISECONDS);
  });
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    image.removeAttribute("src"); // closes the connection
  });
  const check = (wasLost) => {
    const broken = image.classList.contains("ready") && image.naturalWidth === 0;
    if (streams && (wasLost || broken)) load();
  };
  load();
  return { image, check };
}
