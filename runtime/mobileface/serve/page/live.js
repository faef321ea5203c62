/** Live: the cameras and what they have seen. */

import { cameraGrid } from "./cameras.js";
import { eventList } from "./event_list.js";
import { text } from "./texts.js";
import { el, emptyState, heading } from "./ui.js";

export async function show({ root, service, signal }) {
  root.append(heading(text("live.title"), text("live.lead")));
  if (!service.version.cameras) {
    root.append(emptyState(
      "live", text("live.no_cameras"), text("live.no_cameras_hint"),
      el("pre", { class: "command", tabindex: "0" }, el("code", {}, "[[cameras]]\nname = \"front\"\nsource = \"rtsp://camera/stream\"")),
    ));
    return;
  }
  const events = eventList({ signal, gallery: service.version.gallery });
  const grid = await cameraGrid(signal, events.names);
  root.append(el("div", { class: "live-layout" }, grid, events.node));
  await events.load();
}
