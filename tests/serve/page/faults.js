/** Faults that a program can find in a page: names, labels, headings, width. */
() => {
  const faults = [];
  const say = (what, node) => faults.push(`${what}: ${node.outerHTML.slice(0, 120)}`);
  const named = (node) =>
    node.getAttribute("aria-label") || node.innerText?.trim() ||
    [...(node.labels ?? [])].some((label) => label.innerText.trim()) ||
    node.querySelector("img[alt]:not([alt=''])");
  for (const node of document.querySelectorAll("img")) {
    if (!node.hasAttribute("alt")) say("no alt", node);
  }
  const controls = "input, select, textarea, button, a[href], [role=img]";
  for (const node of document.querySelectorAll(controls)) {
    if (!named(node)) say("no name", node);
  }
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(ids)) {
    if (ids.filter((one) => one === id).length > 1) faults.push(`id ${id} twice`);
  }
  const references = "[aria-describedby], [aria-labelledby], label[for]";
  for (const node of document.querySelectorAll(references)) {
    const named = node.getAttribute("aria-describedby") ?? node.getAttribute("aria-labelledby");
    if (!document.getElementById(named ?? node.htmlFor)) say("points nowhere", node);
  }
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  if (!document.documentElement.lang) faults.push("no language");
  let last = 1;
  for (const node of document.querySelectorAll("h1, h2, h3")) {
    const level = Number(node.tagName[1]);
    if (level > last + 1) faults.push(`h${level} after h${last}`);
    last = level;
  }
  const width = document.documentElement.scrollWidth;
  if (width > innerWidth) faults.push(`${width} pixels wide`);
  return faults;
}
