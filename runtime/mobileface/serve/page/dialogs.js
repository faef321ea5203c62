/** Dialogs: <dialog> keeps the focus inside, closes by Escape and gives the focus back. */

import { text } from "./texts.js";
import { busyWith, button, el, freshId, iconButton } from "./ui.js";

/**
 * Opens a dialog with a form; resolves to what `submit` returned, or to undefined if it was closed.
 * @param {{title: string, body: Node[], action: string, kind?: string, submit: Function,
 *   closable?: boolean}} options
 */
export function ask({ title, body, action, kind = "primary", submit, closable = true }) {
  return new Promise((resolve) => {
    const errors = el("div", { "aria-live": "assertive" });
    const send = el("button", { class: `button ${kind}` }, action);
    send.type = "submit";
    const id = freshId("dialog");
    const form = el(
      "form", { method: "dialog" },
      el(
        "div", { class: "dialog-head" }, el("h2", { id }, title),
        closable ? iconButton(text("action.close"), "close", () => dialog.close()) : null,
      ),
      el("div", { class: "dialog-body" }, ...body, errors),
      el(
        "div", { class: "dialog-foot" },
        closable ? button(text("action.cancel"), () => dialog.close()) : null, send,
      ),
    );
    const dialog = el("dialog", { "aria-labelledby": id }, form);
    let result;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const done = await busyWith(send, errors, async () => {
        result = await submit(new FormData(form));
        return true;
      });
      if (done) dialog.close();
    });
    dialog.addEventListener("cancel", (event) => {
      if (!closable) event.preventDefault();
    });
    dialog.addEventListener("click", (event) => {
      if (closable && event.target === dialog) dialog.close();
    });
    const leave = () => dialog.close();
    if (closable) addEventListener("hashchange", leave); // as by the back button of a phone
    dialog.addEventListener("close", () => {
      removeEventListener("hashchange", leave);
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? dialog.querySelector("input, select") ?? send).focus();
  });
}
