// What can be pointed at on the page that is shown, and how each is told from the others.
//
// Evaluated in the reading script's own world, after it has numbered the elements; `IDS` is the list
// of numbers. Gives one string of JSON: for each number [box, whole, text, part, kind of
// part, texts in the part, whether another link leads to the same place].
(() => {
  "use strict";
  const { element } = globalThis.__agentgym;
  const squeeze = (text) => (text || "").replace(/\s+/g, " ").trim();
  const ids = IDS;
  const targets = new Map(ids.map((id) => [element(id), id]));

  const above = (x, y) => {
    let found = document.elementFromPoint(x, y);
    while (found?.shadowRoot) {
      const inner = found.shadowRoot.elementFromPoint(x, y);
      if (!inner || inner === found) break;
      found = inner;
    }
    return found;
  };

  // Whether a click there is this element's, and not that of one inside of it or around it.
  const meets = (target, x, y) => {
    const found = above(x, y);
    const label = found?.closest?.("label");
    if (label && label.control === target && !label.contains(target)) return true;
    for (let node = found; node; node = node.parentNode || node.host) {
      if (node === target) return true;
      if (targets.has(node)) return false;
    }
    return false;
  };

  const whole = (target, box) => {
    if (box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight) {
      return false;
    }
    if (target.getClientRects().length !== 1) return false;  // broken over two lines
    return [[0.5, 0.5], [0.2, 0.5], [0.8, 0.5], [0.5, 0.2], [0.5, 0.8]].every(([u, v]) =>
      meets(target, box.left + u * box.width, box.top + v * box.height));
  };

  const shown = (target) => {
    if (target.tagName === "INPUT") {
      return ["button", "submit", "reset"].includes(target.type) ? squeeze(target.value) : "";
    }
    return ["SELECT", "TEXTAREA"].includes(target.tagName) ? "" : squeeze(target.innerText);
  };

  const parts = new Map();
  const partOf = (target) => {
    const part = target.closest("tr, li, article, [role=row], [role=listitem], [role=article]");
    if (!part || part === target) return [0, "", []];
    if (!parts.has(part)) {
      const box = part.getBoundingClientRect();
      const inside = box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight &&
        box.right <= innerWidth;
      const pieces = inside ? part.innerText.split(/[\n\t]+/).map(squeeze).filter(Boolean) : [];
      const kind = part.matches("tr, [role=row]") ? "row" : "item";
      parts.set(part, [parts.size + 1, kind, pieces.slice(0, 12)]);
    }
    return parts.get(part);
  };

  const visible = [...document.links].filter((link) => link.checkVisibility());
  const leads = new Map();
  for (const link of visible) leads.set(link.href, (leads.get(link.href) || 0) + 1);

  return JSON.stringify(ids.map((id) => {
    const target = element(id);
    const box = target.getBoundingClientRect();
    const [part, kind, pieces] = partOf(target);
    return [[box.left, box.top, box.right, box.bottom], whole(target, box), shown(target), part,
      kind, pieces, (leads.get(target.href) || 0) > 1];
  }));
})()
