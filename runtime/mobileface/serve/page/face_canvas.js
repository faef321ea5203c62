/** A picture with its faces drawn on it; faces can be pointed at, focused and chosen. */

import { text } from "./texts.js";
import { el } from "./ui.js";

const MOST_SIDE = 1600;
const AXES = ["#ff5a5f", "#3ddc84", "#4da3ff"];

/**
 * @param {{bitmap: ImageBitmap | null, name: string}} picture
 * @param {{width: number, height: number, faces: object[]}} found the service's document
 * @param {{captions?: string[], points?: boolean, axes?: boolean, chosen?: number,
 *   onchoose?: (index: number) => void, onpoint?: (index: number | null, clicked?: boolean) => void}} options
 */
export function faceCanvas(picture, found, options = {}) {
  const { captions = [], onchoose, onpoint } = options;
  const figure = el("figure", { class: "photo" });
  if (!picture.bitmap) {
    figure.append(el("p", { class: "help" }, text("picture.no_preview", { name: picture.name })));
    return { figure, mark: () => {} };
  }
  const scale = Math.min(1, MOST_SIDE / Math.max(picture.bitmap.width, picture.bitmap.height));
  const label = text("picture.alt", { name: picture.name, count: found.faces.length });
  const canvas = el("canvas", {
    role: "img", "aria-label": label,
    width: Math.round(picture.bitmap.width * scale), height: Math.round(picture.bitmap.height * scale),
  });
  let [chosen, marked] = [options.chosen ?? null, null];
  const draw = () => paint(canvas, picture, found, { ...options, chosen, marked, captions });
  const boxes = found.faces.map((face, index) => {
    const point = (value) => () => {
      marked = value;
      draw();
      onpoint?.(value);
    };
    const caption = captions[index] || text("picture.face", { number: index + 1 });
    const listeners = { onmouseenter: point(index), onmouseleave: point(null), onfocus: point(index), onblur: point(null) };
    const box = el("button", { type: "button", class: "face-box", "aria-label": caption, ...listeners });
    if (onchoose) box.setAttribute("aria-pressed", String(index === chosen));
    box.addEventListener("click", () => {
      if (!onchoose) {
        onpoint?.(index, true);
        return;
      }
      chosen = index;
      boxes.forEach((other, place) => other.setAttribute("aria-pressed", String(place === index)));
      draw();
      onchoose(index);
    });
    place(box, face.bbox, found);
    return box;
  });
  draw();
  figure.append(el("div", { class: "stage" }, canvas, ...boxes));
  const mark = (index) => {
    marked = index;
    draw();
  };
  return { figure, mark };
}

/** The middle of a face's box, as the service reads a choice of a face. */
export function middle(face) {
  const [x1, y1, x2, y2] = face.bbox;
  return `${((x1 + x2) / 2).toFixed(1)},${((y1 + y2) / 2).toFixed(1)}`;
}

function place(box, [x1, y1, x2, y2], { width, height }) {
  const percent = (value, side) => `${(100 * value) / side}%`;
  Object.assign(box.style, {
    left: percent(x1, width), top: percent(y1, height),
    width: percent(x2 - x1, width), height: percent(y2 - y1, height),
  });
}

function paint(canvas, picture, found, options) {
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.drawImage(picture.bitmap, 0, 0, canvas.width, canvas.height);
  const scale = canvas.width / found.width;
  const line = Math.max(2, Math.max(canvas.width, canvas.height) / 320);
  found.faces.forEach((face, index) => {
    const strong = index === options.chosen || index === options.marked;
    const faint = options.onchoose && options.chosen !== null && !strong;
    context.globalAlpha = faint ? 0.6 : 1;
    frame(context, face.bbox.map((value) => value * scale), line * (strong ? 1.7 : 1), strong);
    if (options.points) dots(context, face, scale, line);
    if (options.axes && face.pose) arrows(context, face, scale, line);
    if (options.captions[index]) caption(context, options.captions[index], face.bbox, scale, line, canvas);
    context.globalAlpha = 1;
  });
}

function frame(context, [x1, y1, x2, y2], line, strong) {
  for (const [width, color] of [[line * 2, "rgb(0 0 0 / 45%)"], [line, strong ? "#ffd166" : "#ffffff"]]) {
    context.lineWidth = width;
    context.strokeStyle = color;
    context.beginPath();
    context.roundRect(x1, y1, x2 - x1, y2 - y1, line * 3);
    context.stroke();
  }
}

function dots(context, face, scale, line) {
  const small = (face.mesh ?? []).map(([x, y]) => [x, y, line / 3]);
  const large = (face.kps ?? []).map(([x, y]) => [x, y, line]);
  for (const [x, y, radius] of [...small, ...large]) {
    context.beginPath();
    context.arc(x * scale, y * scale, radius, 0, 2 * Math.PI);
    context.fillStyle = radius < line ? "rgb(255 255 255 / 70%)" : "#ffd166";
    context.fill();
  }
}

/** The head's axes: right in red, down in green, out of the face in blue. */
function arrows(context, face, scale, line) {
  const [x1, y1, x2, y2] = face.bbox;
  const [x, y] = [((x1 + x2) / 2) * scale, ((y1 + y2) / 2) * scale];
  const length = (Math.max(x2 - x1, y2 - y1) / 2) * scale;
  headAxes(face.pose).forEach(([dx, dy], index) => {
    context.strokeStyle = AXES[index];
    context.lineWidth = line * 1.3;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + dx * length, y + dy * length);
    context.stroke();
  });
}

/** The head's axes in the image, from R_z(roll) · R_y(yaw) · R_x(pitch): right, down, outwards. */
export function headAxes({ pitch, roll, yaw }) {
  const [p, r, w] = [pitch, roll, yaw].map((angle) => (angle * Math.PI) / 180);
  const [cp, sp, cr, sr, cy, sy] = [p, r, w].flatMap((a) => [Math.cos(a), Math.sin(a)]);
  return [
    [cr * cy, sr * cy],
    [cr * sy * sp - sr * cp, sr * sy * sp + cr * cp],
    [-(cr * sy * cp + sr * sp), -(sr * sy * cp - cr * sp)],
  ];
}

function caption(context, words, bbox, scale, line, canvas) {
  const size = Math.max(13, Math.max(canvas.width, canvas.height) / 45);
  context.font = `600 ${size}px system-ui, sans-serif`;
  const width = context.measureText(words).width + size * 0.8;
  const height = size * 1.5;
  const left = Math.max(0, Math.min(bbox[0] * scale, canvas.width - width));
  const above = bbox[1] * scale - height - line * 2;
  const top = above >= 0 ? above : Math.min(bbox[3] * scale + line * 2, canvas.height - height);
  context.fillStyle = "rgb(12 14 20 / 82%)";
  context.beginPath();
  context.roundRect(left, top, width, height, size * 0.35);
  context.fill();
  context.fillStyle = "#ffffff";
  context.textBaseline = "middle";
  context.fillText(words, left + size * 0.4, top + height / 2);
}
