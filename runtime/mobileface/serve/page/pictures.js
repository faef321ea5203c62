/** Pictures from the user: choosing, dropping, taking them; scaling those that are too large. */

import { bytes, number, text } from "./texts.js";
import { el, icon } from "./ui.js";

const QUALITY = 0.92;
const FORM_BYTES = 4096; // what a form adds to a picture

/** Limits of the service, set by app.js from its version document. */
export const limits = { bytes: 20e6, pixels: 40e6 };

/**
 * A picture as it is sent: its content and name, what it looks like, and how it was scaled.
 * @param {File} file
 * @param {number} together how many pictures a request sends
 */
export async function prepare(file, together = 1) {
  const bitmap = await decode(file);
  const most = (limits.bytes - FORM_BYTES) / together;
  const picture = { blob: file, name: file.name || "photo.jpg", bitmap, scaled: "" };
  if (!bitmap) return picture;
  const pixels = bitmap.width * bitmap.height;
  if (file.size <= most && pixels <= limits.pixels) return picture;
  let factor = Math.min(1, Math.sqrt(limits.pixels / pixels), Math.sqrt(most / file.size));
  for (let attempt = 0; attempt < 6; attempt += 1, factor *= 0.8) {
    const blob = await smaller(bitmap, factor);
    if (blob.size > most) continue;
    picture.blob = blob;
    picture.name = picture.name.replace(/\.\w+$/, "").concat(".jpg");
    picture.bitmap = await decode(blob);
    picture.scaled = text("picture.scaled", {
      width: picture.bitmap.width, height: picture.bitmap.height,
      before: bytes(file.size), megapixels: number(pixels / 1e6, 1),
    });
    return picture;
  }
  return picture;
}

/** A part of a picture as a canvas, e.g. the crop of a face with some margin. */
export function crop(picture, bbox, { width, side = 120, margin = 0.25 }) {
  const scale = picture.bitmap.width / width;
  const [x1, y1, x2, y2] = bbox.map((value) => value * scale);
  const half = (Math.max(x2 - x1, y2 - y1) / 2) * (1 + 2 * margin);
  const [x, y] = [(x1 + x2) / 2 - half, (y1 + y2) / 2 - half];
  const canvas = el("canvas", { class: "crop", width: side, height: side, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const factor = side / (2 * half);
  context.setTransform(factor, 0, 0, factor, -x * factor, -y * factor);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture.bitmap, 0, 0);
  return canvas;
}

/**
 * A place to choose pictures: by the file dialog, by dropping, or by the camera of a phone.
 * @param {{label: string, several?: boolean, onfiles: (files: File[]) => void, small?: boolean}} options
 */
export function picker({ label, several = false, onfiles, small = false }) {
  const take = (input) => {
    const files = [...input.files];
    input.value = "";
    if (files.length) onfiles(files);
  };
  const types = { type: "file", accept: "image/*", class: "file-input" };
  const input = el("input", { ...types, multiple: several, onchange: () => take(input) });
  const photo = el("input", { ...types, capture: "environment", onchange: () => take(photo) });
  const zone = el(
    "div", { class: small ? "picker small" : "picker" },
    el(
      "label", { class: "drop" }, input, icon("upload"), el("span", { class: "drop-label" }, label),
      el("span", { class: "drop-help" }, several ? text("picture.drop_several") : text("picture.drop")),
    ),
    el("label", { class: "button take" }, photo, icon("camera"), el("span", {}, text("picture.take"))),
  );
  acceptDrops(zone, several, onfiles);
  return zone;
}

function acceptDrops(zone, several, onfiles) {
  const mark = (on) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", on);
  };
  zone.addEventListener("dragover", mark(true));
  zone.addEventListener("dragleave", mark(false));
  zone.addEventListener("drop", (event) => {
    mark(false)(event);
    const files = [...event.dataTransfer.files];
    if (files.length) onfiles(several ? files : files.slice(0, 1));
  });
}

async function decode(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    return null; // the service may know the format, e.g. HEIC
  }
}

function smaller(bitmap, factor) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(bitmap.width * factor));
  canvas.height = Math.max(1, Math.floor(bitmap.height * factor));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => {
    canvas.toBlob(resolve, "image/jpeg", QUALITY);
  });
}
