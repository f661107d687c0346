// What is on a page, read in one pass without changing it: roles, names, values, states, boxes.
//
// Evaluated in a world of its own, where a page's scripts can neither see nor replace what is used
// here. Every function gives one string of JSON: objects cost twenty times as much on the way out.
(() => {
  "use strict";
  const own = globalThis.__agentgym;
  if (own) return;

  // Forms and documents show what is in them by its name, in place of their own properties: these
  // are looked up where they are defined.
  const RAW = Symbol();
  const shield = (thing) => new Proxy(thing, {
    get: (_, name) => {
      if (name === RAW) return thing;
      for (let at = Object.getPrototypeOf(thing); at; at = Object.getPrototypeOf(at)) {
        const found = Object.getOwnPropertyDescriptor(at, name);
        if (!found) continue;
        const value = found.get ? found.get.call(thing) : found.value;
        return typeof value === "function" ? value.bind(thing) : value;
      }
      return undefined;
    },
  });
  const isForm = (node) => {
    const name = node.localName; // of a form, it may be what is in it; of a text there is none
    return name === "form" || typeof name !== "string" && name !== undefined;
  };
  const safe = (node) => node && isForm(node) && !node[RAW] ? shield(node) : node;
  const raw = (node) => node && isForm(node) ? node[RAW] || node : node;
  const dom = shield(document);
  const elementAt = Document.prototype.elementFromPoint.bind(document);
  const getParent = Object.getOwnPropertyDescriptor(Node.prototype, "parentNode").get;
  const parentOf = (node) =>
    getParent.call(raw(node)) || (node instanceof ShadowRoot ? node.host : null);
  const firstOf = (node) => safe(node).firstChild;
  const nextOf = (node) => safe(node).nextSibling;

  // The clipboard is one for all pages of a browser: what is copied is told, to be kept apart, and
  // what is to be pasted is put there just before.
  let putting = null;
  const tellCopied = (text) => globalThis.__agentgymCopied?.(text.slice(0, 100000));
  const selected = () => {
    const at = dom.activeElement;
    const field = at instanceof HTMLTextAreaElement ||
      at instanceof HTMLInputElement && at.type !== "password";
    if (field && at.selectionStart !== null) {
      return at.value.slice(at.selectionStart, at.selectionEnd);
    }
    return String(getSelection());
  };
  for (const kind of ["beforecopy", "copy", "cut"]) {
    addEventListener(kind, (event) => {
      if (putting !== null) {
        // an empty text would leave there what is there
        event.clipboardData?.setData(putting ? "text/plain" : "application/x-none", putting || "-");
        event.preventDefault();
        event.stopImmediatePropagation();
      } else if (kind !== "beforecopy") tellCopied(selected());
    }, true);
    addEventListener(kind, (event) => {
      const own = event.clipboardData?.getData("text/plain");
      if (own) tellCopied(own);
    });
  }
  // Nor does the middle button paste what was selected elsewhere.
  let middle = false;
  addEventListener("mouseup", (event) => { middle = event.button === 1; }, true);
  addEventListener("keydown", () => { middle = false; }, true);
  addEventListener("paste", (event) => {
    if (!middle) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  const clip = (text) => {
    putting = text;
    try {
      return JSON.stringify({ done: dom.execCommand("copy") });
    } finally {
      putting = null;
    }
  };

  const known = new WeakMap();
  const nodes = new Map();
  let last = 0;
  const identify = (element) => {
    let id = known.get(element);
    if (id === undefined) {
      id = ++last;
      known.set(element, id);
      nodes.set(id, new WeakRef(element));
    }
    return id;
  };

  const lookup = (id) => safe(nodes.get(id)?.deref());

  const ROLES = {
    A: "link", BUTTON: "button", SELECT: "combobox", TEXTAREA: "textbox",
    OPTION: "option", OPTGROUP: "group", SUMMARY: "button", DETAILS: "group", DIALOG: "dialog",
    IMG: "img", SVG: "img", CANVAS: "canvas", VIDEO: "video", AUDIO: "audio", IFRAME: "iframe", FRAME: "frame",
    H1: "heading", H2: "heading", H3: "heading", H4: "heading", H5: "heading", H6: "heading",
    UL: "list", OL: "list", LI: "listitem", DL: "list", DT: "term", DD: "definition",
    TABLE: "table", TR: "row", TD: "cell", TH: "columnheader", CAPTION: "caption",
    NAV: "navigation", MAIN: "main", HEADER: "banner", FOOTER: "contentinfo",
    ASIDE: "complementary", FORM: "form", FIELDSET: "group", LEGEND: "legend",
    P: "paragraph", PRE: "code", BLOCKQUOTE: "blockquote", LABEL: "label",
    PROGRESS: "progressbar", METER: "meter", OUTPUT: "status", HR: "separator",
    ARTICLE: "article", SECTION: "region", SEARCH: "search", TIME: "time",
  };
  const INPUTS = {
    button: "button", submit: "button", reset: "button", image: "button", checkbox: "checkbox",
    radio: "radio", range: "slider", number: "spinbutton", search: "searchbox", color: "color",
    date: "date", time: "time", "datetime-local": "datetime", month: "month", week: "week",
    file: "file", password: "password",
  };
  const INTERACTIVE = new Set([
    "link", "button", "combobox", "textbox", "option", "checkbox", "radio", "slider", "spinbutton",
    "searchbox", "listbox", "color", "date", "time", "datetime", "month", "week", "file", "password", "tab",
    "menuitem", "menuitemcheckbox", "menuitemradio", "switch", "treeitem", "gridcell",
  ]);
  // Attributes that say so of elements whose role does not. Listeners are told by the page's own
  // world.
  const ACTED_ON = ["click", "dblclick", "contextmenu", "mousedown", "mouseup", "pointerdown",
    "pointerup", "touchstart", "drop"].map((kind) => `[on${kind}]`).join() +
    `,[draggable=true],[tabindex]:not([tabindex^="-"])`;
  const isActedOn = (element) => element.hasAttributes() && element.matches(ACTED_ON);
  const SHAPES = { CIRCLE: "circle", RECT: "rect", POLYGON: "polygon", ELLIPSE: "ellipse",
    PATH: "path", LINE: "line", POLYLINE: "polyline", TEXT: "svgtext" };
  const IDENTIFIED = new Set(["iframe", "frame", "canvas"]);
  const DULL = new Set(["group", "region", "paragraph", "label", "legend", "list", "img", "article",
    "definition", "term", "listitem", "time", "caption", "status", "alert", "menu", "tablist"]);
  const STRUCTURE = new Set(["list", "menu", "tablist", "tabpanel", "dialog", "table",
    "rowgroup", "form", "main", "navigation", "banner", "contentinfo", "region", "toolbar",
    "menubar", "tree", "grid", "radiogroup", "group"]);
  const CLOSED = new Set(["TEXTAREA", "IFRAME", "FRAME", "CANVAS", "VIDEO", "AUDIO",
    "METER", "PROGRESS"]);
  const FLAT = new Set(["inline", "table-cell", "table-row"]); // what neither scrolls nor cuts off
  const WHOLE = new Set(["TR", "LI", "P", "ARTICLE", "DT", "DD", "TBODY"]);
  const NAMED_BY_CONTENT = new Set([
    "link", "button", "option", "heading", "cell", "columnheader", "rowheader", "tab", "menuitem",
    "menuitemcheckbox", "menuitemradio", "switch", "treeitem", "gridcell", "tooltip", "legend",
    "caption", "label", "term", "checkbox", "radio", "svgtext", "listitem", "paragraph",
    "definition", "time", "status", "alert",
  ]);
  const SILENT = new Set([
    "SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "HEAD", "META", "LINK", "TITLE", "BR", "WBR",
  ]);

  const OF_HTML = new Set(["SELECT", "OPTION", "OPTGROUP", "INPUT", "TEXTAREA", "SLOT", "IFRAME",
    "FRAME", "DETAILS", "LABEL", "PROGRESS", "METER"]);
  const tagOf = (element) => {
    const tag = element.tagName.toUpperCase();
    return OF_HTML.has(tag) && !(element instanceof HTMLElement) ? "" : tag;
  };

  // Colours as #rrggbb; "" for those that everything has.
  const DULL_COLOURS = new Set(["#efefef", "#ffffff"]);
  const colour = (value) => {
    const found = /^rgba?\((\d+), (\d+), (\d+)(?:, ([\d.]+))?\)$/.exec(value);
    if (!found) return value;
    if (found[4] === "0") return "";
    const hex = "#" + [1, 2, 3].map((i) => Number(found[i]).toString(16).padStart(2, "0")).join("");
    return DULL_COLOURS.has(hex) ? "" : hex;
  };

  const squeeze = (text) => text.replace(/\s+/g, " ").trim();

  const roleOf = (element, tag = tagOf(element)) => {
    const told = element.getAttribute("role");
    const first = told ? told.trim().split(/\s+/)[0].toLowerCase().slice(0, 40) : "";
    if (first === "none" || first === "presentation" || first === "generic") return "";
    if (first) return first;
    if (tag === "INPUT") return INPUTS[element.type] || "textbox";
    if (tag === "A" && !element.hasAttribute("href")) return "";
    if (tag === "SELECT" && (element.multiple || element.size > 1)) return "listbox";
    if (element.isContentEditable && !element.parentElement?.isContentEditable) return "textbox";
    return ROLES[tag] || "";
  };

  // What an element says in place of what is in it: of a drawing, its title.
  const altOf = (element, tag) => {
    const told = element.getAttribute("aria-label") || element.getAttribute("alt");
    if (told) return told;
    if (tag === "IMG") return element.getAttribute("title");
    return tag === "SVG" ? element.querySelector(":scope > title")?.textContent : null;
  };

  const textOf = (element, most) => {
    if (!element.firstElementChild) return squeeze(element.textContent).slice(0, most);
    let text = "";
    const take = (each) => {
      const child = safe(each);
      if (child.nodeType === 3) text += child.data;
      else if (child.nodeType === 1) {
        const tag = tagOf(child);
        if (SILENT.has(tag)) return;
        const alt = altOf(child, tag);
        const assigned = tag === "SLOT" ? child.assignedNodes() : [];
        text += " ";
        if (alt) text += alt;
        else if (assigned.length) assigned.forEach(take);
        else if (tag === "SLOT" || child.checkVisibility()) gather(child.shadowRoot || child);
        text += " ";
      }
    };
    const gather = (node) => {
      for (let each = firstOf(node); each && text.length <= most; each = nextOf(each)) take(each);
    };
    gather(element);
    return squeeze(text).slice(0, most);
  };

  const nameOf = (element, role, most) => {
    const by = element.getAttribute("aria-labelledby");
    if (by) {
      const parts = by.split(/\s+/).map((id) => element.getRootNode().getElementById?.(id));
      const text = squeeze(parts.filter(Boolean).map((part) => textOf(part, most)).join(" "));
      if (text) return text.slice(0, most);
    }
    const told = element.getAttribute("aria-label");
    if (told && told.trim()) return squeeze(told).slice(0, most);
    if (role === "button" && element.tagName === "INPUT") {
      return squeeze(element.value || element.alt || element.type).slice(0, most);
    }
    const labels = element.labels;
    if (labels && labels.length) {
      const text = squeeze([...labels].map((label) => textOf(label, most)).join(" "));
      if (text) return text.slice(0, most);
    }
    const alt = element.tagName === "OPTGROUP" ? element.getAttribute("label")
      : altOf(element, element.localName === "svg" ? "SVG" : "");
    if (alt && alt.trim()) return squeeze(alt).slice(0, most);
    if (INTERACTIVE.has(role) && NAMED_BY_CONTENT.has(role) ||
        NAMED_BY_CONTENT.has(role) && !element.firstElementChild) {
      const text = textOf(element, most);
      if (text) return text;
    }
    const rest = element.getAttribute("title") || element.getAttribute("placeholder") || "";
    return squeeze(rest).slice(0, most);
  };

  const valueOf = (element, role, most) => {
    if (role === "password") return "•".repeat(Math.min(String(element.value ?? "").length, 64));
    if (element.tagName === "SELECT") {
      return [...element.selectedOptions].map((o) => squeeze(o.label)).join(", ").slice(0, most);
    }
    if (element.tagName === "INPUT" || element.tagName === "TEXTAREA") {
      if (role === "checkbox" || role === "radio" || role === "button") return null;
      return String(element.value).slice(0, most);
    }
    if (element.tagName === "PROGRESS" || element.tagName === "METER") return String(element.value);
    if (role === "textbox") return squeeze(element.innerText || "").slice(0, most);
    const now = element.getAttribute("aria-valuetext") ?? element.getAttribute("aria-valuenow");
    return now === null ? null : now.slice(0, most);
  };

  const isShown = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0 &&
      element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  };

  // The box to tick, or the field for a file, that a label is shown in place of.
  const stoodFor = (label) => {
    const field = label.control;
    const kind = field && INPUTS[field.type];
    return ["checkbox", "radio", "file"].includes(kind) && !isShown(field) ? field : null;
  };

  // What to point at to act on an element.
  const targetOf = (element) => isShown(element) ? element
    : [...element.labels || []].find((label) => isShown(label) && stoodFor(label)) || element;

  const statesOf = (element, role, focused) => {
    const states = [];
    const aria = (name) => element.getAttribute("aria-" + name);
    if (element === focused) states.push("focused");
    if (element.disabled || aria("disabled") === "true") states.push("disabled");
    if (element.checked || aria("checked") === "true") states.push("checked");
    if (element.indeterminate || aria("checked") === "mixed") states.push("mixed");
    if (element.selected || aria("selected") === "true") states.push("selected");
    if (aria("expanded")) states.push(aria("expanded") === "true" ? "expanded" : "collapsed");
    if (aria("pressed") === "true") states.push("pressed");
    if (aria("current") && aria("current") !== "false") states.push("current");
    if (element.required || aria("required") === "true") states.push("required");
    if (element.readOnly === true && role === "textbox") states.push("readonly");
    if (aria("invalid") === "true") states.push("invalid");
    return states;
  };

  const deepElementFromPoint = (x, y) => {
    let found = elementAt(x, y);
    for (let root; found && (root = safe(found).shadowRoot);) {
      const inner = root.elementFromPoint(x, y);
      if (!inner || inner === found) break;
      found = inner;
    }
    return found;
  };

  const overlaps = (box, clip) => box.right > clip.left && box.left < clip.right &&
    box.bottom > clip.top && box.top < clip.bottom;
  const intersect = (clip, box) => ({
    left: Math.max(clip.left, box.left), top: Math.max(clip.top, box.top),
    right: Math.min(clip.right, box.right), bottom: Math.min(clip.bottom, box.bottom),
  });

  const contains = (outer, inner) => {
    for (let node = inner; node; node = parentOf(node)) if (node === outer) return true;
    return false;
  };

  // Where to point at an element: the middle of the first of its boxes that can be seen.
  const pointOf = (element, seen = { left: 0, top: 0, right: innerWidth, bottom: innerHeight }) => {
    for (const box of element.getClientRects()) {
      const part = intersect(seen, box);
      if (part.right - part.left > 0 && part.bottom - part.top > 0) {
        return [(part.left + part.right) / 2, (part.top + part.bottom) / 2];
      }
    }
    return null;
  };

  // The box of an element; of a link that is broken over lines, the first part that is in view.
  const boxOf = (element, box) => {
    if (box.height < 24) return box;
    const parts = element.getClientRects();
    if (parts.length < 2) return box;
    for (const part of parts) {
      if (part.width > 0 && part.height > 0 && part.bottom > 0 && part.right > 0 &&
          part.top < innerHeight && part.left < innerWidth) return part;
    }
    return box;
  };

  // Whether a point of an element is cut off by what it is in, or nothing of it is shown or lives.
  const isCutOff = (element, found, x, y) => {
    if (!safe(element).checkVisibility() || safe(element).closest("[inert]")) return true;
    if (getComputedStyle(element).pointerEvents === "none") return true;
    for (let node = parentOf(element); node && node !== found; node = parentOf(node)) {
      if (node.nodeType !== 1 && !isForm(node)) continue;
      const style = getComputedStyle(node);
      if (style.overflowX === "visible" && style.overflowY === "visible") continue;
      const box = safe(node).getBoundingClientRect();
      if (x < box.left || x >= box.right || y < box.top || y >= box.bottom) return true;
    }
    return false;
  };

  const isHit = (given, x, y) => {
    const element = raw(given);
    const found = deepElementFromPoint(x, y);
    if (!found) return false;
    if (contains(element, found)) {
      return element.localName !== "label" || !safe(found).closest("a[href], button, select, textarea");
    }
    if (contains(found, element)) return !isCutOff(element, found, x, y);
    const label = safe(found).closest("label");
    return !!label && label.control === element;
  };

  const heard = new WeakSet();
  let asking = false;
  addEventListener("agentgym:heard", (event) => {
    event.stopImmediatePropagation();
    const found = asking ? event.composedPath()[0] : null;
    if (found instanceof Element) heard.add(found);
  }, true);

  const activeElement = () => {
    let active = dom.activeElement;
    while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
    return active === dom.body ? null : active;
  };

  // One row an element, given as columns, which are read several times as fast as arrays of rows.
  // Roles are places in a list of roles; names, which have no line breaks, lines of one text; boxes
  // left, top, right, bottom. Flags: 1 in view, 2 may be acted on, 4 nothing lies over it,
  // 8 scrolls. Ids, values, states and attributes, which few rows have, are said with the places of
  // their rows.
  const NONE = [];
  const snapshot = (options) => {
    const { most = 20000, chars = 300, viewport = false, attrs = [], first = 0, shapes = false,
      silent = "" } = options;
    last = Math.max(last, first);
    asking = true;
    dispatchEvent(new Event("agentgym:ask"));
    asking = false;
    if (nodes.size > 10000) {
      for (const [id, kept] of nodes) if (!kept.deref()?.isConnected) nodes.delete(id);
    }
    const focused = activeElement();
    const body = dom.body;
    const wide = innerWidth, high = innerHeight;
    const vastest = 0.6 * wide * high, whole = { left: 0, top: 0, right: wide, bottom: high };
    const depths = [], roles = [], names = [], boxes = [], allFlags = [];
    const ids = [[], []], values = [[], []], states = [[], []], attributes = [[], []];
    const places = new Map();
    const note = ([rows, all], told) => { rows.push(names.length); all.push(told); };
    const stood = new Set();
    let left = most, cut = 0, outside = 0;

    const say = (depth, role, name, box, flags) => {
      depths.push(depth);
      let place = places.get(role);
      if (place === undefined) places.set(role, place = places.size);
      roles.push(place);
      names.push(name);
      allFlags.push(flags);
      boxes.push(Math.round(box.left), Math.round(box.top), Math.round(box.right),
        Math.round(box.bottom));
      left--;
    };

    const tell = (text, depth, box, sized, inside) => {
      const said = squeeze(text);
      if (said && viewport && !inside && sized) outside++;
      else if (said) say(depth, "text", said.slice(0, 10 * chars), box, inside ? 1 : 0);
    };

    const attributesOf = (element, tag, style, named) => {
      const kept = {};
      for (const attr of attrs) {
        if (named && attr !== "fill") continue;
        const found = attr.startsWith("style:") ? colour(style.getPropertyValue(attr.slice(6)))
          : element.getAttribute(attr);
        if (found) kept[attr] = found.slice(0, 80);
      }
      const href = tag === "A" && element.getAttribute("href");
      if (href) kept.href = href.slice(0, 200);
      return kept;
    };

    // Whether a child is but a part of the text around it.
    const isRun = (child, tag, style, display, points) =>
      display.startsWith("inline") && !child.firstElementChild && !child.shadowRoot &&
      !roleOf(child, tag) && !isActedOn(child) && !heard.has(child) &&
      tag !== "SLOT" && !(style.cursor === "pointer" && !points) &&
      !(shapes && SHAPES[tag]) &&
      !(silent && child.matches(silent));

    // `clip` is what ancestors that hide their overflow leave to be seen (null: all), and `above`
    // what they leave to those that are positioned absolutely.
    const visit = (node, tag, style, display, depth, pointer, covered, delegated, clip, above) => {
      if (left <= 0) { cut++; return; }
      if (display === "none") return;
      const element = isForm(node) ? shield(node) : node;
      if (element.ariaHidden === "true" && !element.contains(focused)) return;
      if (silent && element.matches(silent)) return;
      if (style.opacity === "0") return;
      const hidden = style.visibility !== "visible";
      const box = element.getBoundingClientRect();
      const width = box.width, height = box.height;
      const sized = width > 0 && height > 0;
      const position = clip || above ? style.position : "static";
      const own = position === "fixed" ? null : position === "absolute" ? above : clip;
      const inside = sized && overlaps(box, whole) && (own === null || overlaps(box, own));
      if (viewport && sized && !inside && WHOLE.has(tag)) { outside++; return; }
      const hears = heard.has(node);
      const field = tag === "LABEL" && !stood.has(element.control) ? stoodFor(element) : null;
      const told = field ? roleOf(field) : roleOf(element, tag);
      const role = told || (shapes || hears ? SHAPES[tag] || "" : "");
      const points = style.cursor === "pointer";
      const interactive = INTERACTIVE.has(role);
      const alone = element.childElementCount === 0;
      const small = alone || (element.childElementCount <= 3 &&
        !element.querySelector("a,button,input,select,textarea,[role],[onclick],[tabindex]"));
      const vast = !small && width * height > vastest;
      const option = tag === "OPTION" || tag === "OPTGROUP";
      const clickable = !hidden && !option && (interactive || ((hears ||
        isActedOn(element) || (points && !pointer) || (delegated && small)) && !vast && !covered &&
        (alone || !STRUCTURE.has(role))));
      const delegates = hears && !clickable && !vast;
      const overflow = node === body || FLAT.has(display) ? "visible" : style.overflowY;
      const scrolls = sized && (overflow === "auto" || overflow === "scroll") &&
        element.scrollHeight > element.clientHeight + 1;
      let mine = depth;
      let absorbs = false;
      if (!hidden && (sized || option) &&
          (role || clickable || (scrolls && !vast))) {
        if (viewport && !inside && !option) outside++;
        else {
          const leaf = clickable && !interactive ? small : alone;
          const speaks = NAMED_BY_CONTENT.has(role) || (!role && clickable);
          let name = nameOf(field || element, role, chars);
          if (!name && speaks && (interactive || leaf)) name = textOf(element, chars);
          absorbs = (speaks || field !== null) && name !== "" && (interactive || leaf);
          const dull = !clickable && !name && (DULL.has(role) || !role) && !scrolls;
          const control = role === "label" && !clickable ? element.control : null;
          if (control) absorbs = !hidden && isShown(control);
          else if (!dull) {
            const point = clickable && inside
              ? pointOf(element, own === null ? whole : intersect(own, whole)) : null;
            const hit = point !== null &&
              (isHit(node, point[0], point[1]) || field !== null && canBeHit(element) !== null);
            const shown = told === "paragraph" && leaf ? "text" : role || (clickable ? "clickable" : "region");
            const at = clickable && inside ? boxOf(element, box) : box;
            const id = clickable || scrolls || IDENTIFIED.has(role) ? identify(field || node) : 0;
            if (field) stood.add(field);
            if (id || interactive || attrs.length || element.hasAttributes()) {
              if (id) note(ids, id);
              const value = valueOf(field || element, role, chars);
              if (value !== null) note(values, value);
              const said = statesOf(field || element, role, focused);
              if (said.length) note(states, said);
              const kept = attributesOf(element, tag, style, !!name);
              if (Object.keys(kept).length) note(attributes, kept);
            }
            say(depth, shown, name, at,
              (inside ? 1 : 0) | (clickable ? 2 : 0) | (hit ? 4 : 0) | (scrolls ? 8 : 0));
            mine = depth + 1;
          }
        }
      }
      if (CLOSED.has(tag) || role === "textbox") return;
      if (element.hasAttributes() && style.contentVisibility === "hidden") return;
      if (tag === "SELECT" && role === "combobox" && node !== focused && element.options.length > 60) {
        const told = element.options.length + " options: read(" + identify(node) + ") lists them";
        say(mine, "text", told, box, inside ? 1 : 0);
        return;
      }
      const shut = tag === "DETAILS" && !element.open;
      const mute = absorbs || covered || hidden || shut;
      if (alone && !element.shadowRoot && tag !== "SLOT") {
        if (!mute) tell(element.textContent, mine, box, sized, inside);
        return;
      }
      const cuts = overflow !== "visible";
      const inner = cuts ? intersect(own || whole, box) : own;
      const moved = inner && style.position !== "static" ? inner : above;
      const assigned = tag === "SLOT" ? element.assignedNodes() : NONE;
      const slotted = assigned.length > 0;
      let at = 0;
      let child = slotted ? assigned[0] : firstOf(element.shadowRoot || node);
      let text = "";
      for (; child; child = slotted ? assigned[++at] : nextOf(child)) {
        const form = isForm(child);
        const kind = form ? 1 : child.nodeType;
        if (kind === 3) text += child.data;
        if (kind !== 1) continue;
        const itsTag = form ? "FORM" : tagOf(child);
        if (itsTag === "BR") text += " ";
        if (SILENT.has(itsTag) || shut && itsTag !== "SUMMARY") continue;
        const its = getComputedStyle(child);
        const itsDisplay = its.display;
        if (!form && !delegates && isRun(child, itsTag, its, itsDisplay, points)) {
          if (its.visibility === "visible") text += child.textContent;
          continue;
        }
        if (text && !mute) tell(text, mine, box, sized, inside);
        text = "";
        try {
          visit(child, itsTag, its, itsDisplay, mine, points || pointer, covered || absorbs, delegates,
            inner, moved);
        } catch {
          say(mine, "text", "(an element that cannot be read)", box, 0);
        }
      }
      if (text && !mute) tell(text, mine, box, sized, inside);
    };

    const root = body || dom.documentElement;
    if (root) {
      const style = getComputedStyle(root);
      visit(root, tagOf(safe(root)), style, style.display, 0, false, false, false, null, null);
    }
    const page = dom.scrollingElement || dom.documentElement;
    return JSON.stringify({
      url: location.href, title: dom.title.slice(0, chars), depths, roles, boxes, flags: allFlags,
      names: names.join("\n"), roleNames: [...places.keys()], ids, values, states, attributes,
      cut, outside, last, focused: focused ? known.get(focused) || 0 : 0,
      scroll: [Math.round(scrollX), Math.round(scrollY), page ? page.scrollWidth : 0,
        page ? page.scrollHeight : 0],
      size: [wide, high],
    });
  };

  // Where the inside of a frame begins on the page around it.
  const inner = (id) => {
    const element = lookup(id);
    if (!element || !element.isConnected) return JSON.stringify({ error: "stale" });
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    return JSON.stringify({ x: box.left + element.clientLeft + parseFloat(style.paddingLeft),
      y: box.top + element.clientTop + parseFloat(style.paddingTop) });
  };

  const canBeHit = (element) => {
    const point = pointOf(element);
    if (!point) return null;
    if (isHit(element, point[0], point[1])) return point;
    const boxes = [...element.getClientRects()].slice(0, 4);
    for (const box of boxes) {
      for (const [u, v] of [[0.5, 0.5], [0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.5, 0.75]]) {
        const x = box.left + u * box.width, y = box.top + v * box.height;
        if (x >= 0 && y >= 0 && x < innerWidth && y < innerHeight && isHit(element, x, y)) {
          return [x, y];
        }
      }
    }
    return null;
  };

  // Bring an element into view and say where to point at it, or why that cannot be done. `block`:
  // also on the pages around this one, as `scrollIntoView` takes it.
  const aim = (id, disabled = false, block = "") => {
    const element = lookup(id);
    if (!element || !element.isConnected) return JSON.stringify({ error: "stale" });
    if (!disabled && (element.disabled || element.ariaDisabled === "true")) {
      return JSON.stringify({ error: "disabled" });
    }
    const target = targetOf(element);
    const whole = () => {
      const box = target.getBoundingClientRect();
      return box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth;
    };
    let point = canBeHit(target);
    const bring = (where) => {
      target.scrollIntoView({ block: where, inline: "nearest", behavior: "instant" });
      point = canBeHit(target);
    };
    if (block) bring(block);
    if (!point || !whole()) bring(whole() ? "nearest" : "center");
    if (!point) bring("center"); // from under a bar that stays where it is
    if (!point) {
      point = pointOf(target);
      if (!point) return JSON.stringify({ error: "offscreen" });
      const over = safe(deepElementFromPoint(point[0], point[1]));
      const by = over ? (roleOf(over) || over.tagName.toLowerCase()) + " " + textOf(over, 60) : "";
      return JSON.stringify({ error: "covered", by: squeeze(by) });
    }
    return JSON.stringify({ x: point[0], y: point[1], tag: element.tagName, role: roleOf(element) });
  };

  const focus = (id) => {
    const element = lookup(id);
    if (!element || !element.isConnected) return JSON.stringify({ error: "stale" });
    if (element.disabled) return JSON.stringify({ error: "disabled" });
    const editable = element.isContentEditable || element.tagName === "TEXTAREA" ||
      (element.tagName === "INPUT" && !["checkbox", "radio", "button", "submit", "reset", "file",
        "image", "range", "color"].includes(element.type));
    if (element.tagName === "INPUT" && ["range", "color", "date", "time", "month", "week",
      "datetime-local"].includes(element.type)) return JSON.stringify({ kind: "set" });
    if (!editable) return JSON.stringify({ error: "not_editable" });
    if (element.readOnly) return JSON.stringify({ error: "readonly" });
    element.focus();
    if (element.isContentEditable) {
      const range = dom.createRange();
      range.selectNodeContents(element);
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
    } else element.select?.();
    return JSON.stringify({ kind: "type" });
  };

  const announce = (element) => {
    for (const kind of ["input", "change"]) element.dispatchEvent(new Event(kind, { bubbles: true }));
  };

  const put = (id, value) => {
    const element = lookup(id);
    if (!element || !element.isConnected) return JSON.stringify({ error: "stale" });
    element.focus();
    const setter = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
    setter.call(element, value);
    if (element.value !== value && element.type !== "range") {
      return JSON.stringify({ error: "bad_value", shown: element.value });
    }
    announce(element);
    return JSON.stringify({ value: element.value });
  };

  const choose = (id, values) => {
    const element = lookup(id);
    if (!element || !element.isConnected) return JSON.stringify({ error: "stale" });
    if (element.disabled) return JSON.stringify({ error: "disabled" });
    if (element.tagName !== "SELECT") return JSON.stringify({ error: "not_select" });
    const options = [...element.options];
    const wanted = values.map((value) => options.find((option) =>
      option.value === value || squeeze(option.label) === squeeze(value)));
    const missing = values.filter((value, i) => !wanted[i] || wanted[i].disabled);
    if (missing.length || (!element.multiple && wanted.length !== 1)) {
      return JSON.stringify({ error: "no_option", missing,
        options: options.slice(0, 40).map((option) => squeeze(option.label)) });
    }
    element.focus();
    for (const option of options) option.selected = wanted.includes(option);
    announce(element);
    return JSON.stringify({ value: values });
  };

  const describe = (id) => {
    const element = lookup(id);
    if (!element || !element.isConnected) return JSON.stringify({ error: "stale" });
    return JSON.stringify({ text: element.innerText || element.value || "", checked: !!element.checked,
      tag: element.tagName, type: element.type || "" });
  };

  const scroll = (id, dx, dy) => {
    let element = id ? lookup(id) : null;
    if (id && (!element || !element.isConnected)) return JSON.stringify({ error: "stale" });
    while (element && !(element.scrollHeight > element.clientHeight + 1 ||
        element.scrollWidth > element.clientWidth + 1)) element = safe(element.parentElement);
    (element || dom.scrollingElement || dom.documentElement)
      .scrollBy({ left: dx, top: dy, behavior: "instant" });
    return JSON.stringify({});
  };

  const scrollAt = (x, y, dx, dy) => {
    let element = safe(deepElementFromPoint(x, y));
    const before = () => [element.scrollLeft, element.scrollTop].join();
    for (; element; element = safe(parentOf(element))) {
      if (!element.scrollBy) continue;
      const was = before();
      element.scrollBy({ left: dx, top: dy, behavior: "instant" });
      if (before() !== was) return JSON.stringify({ moved: true });
    }
    return JSON.stringify({ moved: false });
  };

  const areOn = (id, points) => {
    const element = lookup(id);
    return JSON.stringify({ on: points.map(([x, y]) => !!element && isHit(element, x, y)) });
  };

  // A new episode on the same page: numbers begin anew.
  const forget = () => {
    for (const kept of nodes.values()) {
      const element = kept.deref();
      if (element) known.delete(element);
    }
    nodes.clear();
    last = 0;
    return "{}";
  };

  const api = { snapshot, aim, focus, put, choose, describe, scroll, scrollAt, inner, areOn, forget, clip,
    identify, element: (id) => nodes.get(id)?.deref() };
  Object.defineProperty(globalThis, "__agentgym", { value: Object.freeze(api) });
})();
