/** The service's API: requests, their errors, sign-in and one repetition when it is busy. */

import { text } from "./texts.js";

const BASE = new URL("../api/v1/", import.meta.url);
const MOST_WAIT_SECONDS = 10;

/** An error of the service, in the three parts that all its errors have. */
export class ApiError extends Error {
  constructor(status, { code = "", what = "", where = "", hint = "" }) {
    super(what);
    Object.assign(this, { status, code, what, where, hint });
  }
}

/** What the page does when a key is needed, and when the service is busy; set by app.js. */
export const handlers = { signIn: async () => false, busy: () => {} };

/** The address of a part of the API, for images and streams. */
export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) {
      if (one !== undefined && one !== null && one !== "") url.searchParams.append(name, one);
    }
  }
  return url.href;
}

/**
 * Sends a request; returns the JSON of its answer, or the answer itself with `raw`.
 * @param {string} method
 * @param {string} path below api/v1/
 * @param {{query?: object, json?: unknown, form?: object, signal?: AbortSignal, raw?: boolean}} options
 * @throws {ApiError}
 */
export async function call(method, path, options = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await send(method, path, options);
    if (answer.ok) return options.raw ? answer : answer.json();
    if (answer.status === 401 && path !== "session" && (await handlers.signIn())) continue;
    const wait = Number(answer.headers.get("Retry-After"));
    if (answer.status === 503 && attempt === 1 && wait > 0 && wait <= MOST_WAIT_SECONDS) {
      handlers.busy(wait);
      await pause(wait * 1000, options.signal);
      continue;
    }
    throw await failure(answer);
  }
}

/** GET. */
export const get = (path, query, signal) => call("GET", path, { query, signal });

/** POST of a form; lists become repeated fields, and undefined ones are left out. */
export const post = (path, form, options = {}) => call("POST", path, { ...options, form });

async function send(method, path, { query, json, form, signal }) {
  const headers = { "X-Mobileface": "1" };
  let body;
  if (json !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(json);
  } else if (form !== undefined) {
    body = formData(form);
  }
  try {
    return await fetch(address(path, query), {
      method, headers, body, signal, credentials: "same-origin",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, {
      code: "offline", what: text("error.offline"), hint: text("error.offline_hint"),
    });
  }
}

function formData(form) {
  const data = new FormData();
  for (const [name, value] of Object.entries(form)) {
    for (const one of [value].flat()) {
      if (one === undefined || one === null || one === "") continue;
      if (one.blob instanceof Blob) data.append(name, one.blob, one.name);
      else data.append(name, one);
    }
  }
  return data;
}

async function failure(answer) {
  let error = {};
  try {
    ({ error } = await answer.json());
  } catch {
    error = { what: text("error.status", { status: answer.status }) };
  }
  return new ApiError(answer.status, error ?? {});
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
