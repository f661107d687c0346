// A page's own world: time that stands still until it is let run, seeded chance, no peer connections,
// and a note of what listens to the mouse. Runs before any script of the page, in every frame.
(() => {
  "use strict";
  if (globalThis.__agentgymClock) return;
  const { frozen, epoch, seed, start } = SETTINGS;

  // ------------------------------------------------------------------ what listens to the mouse
  const KINDS = new Set(["click", "mousedown", "mouseup", "dblclick", "pointerdown", "pointerup",
    "mouseenter", "mouseover", "touchstart", "dragstart", "drop", "contextmenu"]);
  let waiting = [];
  const noted = new WeakSet();
  const { has, add: keep } = WeakSet.prototype;
  const add = EventTarget.prototype.addEventListener;
  const send = EventTarget.prototype.dispatchEvent;
  const { apply } = Reflect;
  const Heard = Event;
  const note = (target) => {
    if (target instanceof Element && target !== document.body &&
        target !== document.documentElement && waiting.length < 20000 &&
        !apply(has, noted, [target])) {
      apply(keep, noted, [target]);
      waiting[waiting.length] = target;
    }
  };
  EventTarget.prototype.addEventListener = function addEventListener(type, ...rest) {
    if (KINDS.has(type)) note(this);
    return add.call(this, type, ...rest);
  };
  for (const prototype of [HTMLElement.prototype, SVGElement.prototype]) {
    for (const kind of KINDS) {
      const told = Object.getOwnPropertyDescriptor(prototype, "on" + kind);
      if (!told || !told.set) continue;
      Object.defineProperty(prototype, "on" + kind, {
        ...told,
        set(handler) {
          if (handler) note(this);
          told.set.call(this, handler);
        },
      });
    }
  }
  const connected = Object.getOwnPropertyDescriptor(Node.prototype, "isConnected").get;
  const stop = Event.prototype.stopImmediatePropagation;
  add.call(globalThis, "agentgym:ask", (event) => {
    apply(stop, event, []); // no script of the page is told that it is read
    const later = [];
    for (let i = 0; i < waiting.length; i++) {
      if (!apply(connected, waiting[i], [])) later[later.length] = waiting[i];
      else apply(send, waiting[i], [new Heard("agentgym:heard", { composed: true })]);
    }
    waiting = later;
  }, true);

  for (const name of ["RTCPeerConnection", "webkitRTCPeerConnection", "RTCDataChannel",
    "WebTransport"]) delete globalThis[name];
  globalThis.print = () => {};

  let state = seed >>> 0;
  Math.random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const reseed = (value) => { state = value >>> 0; };

  // ---------------------------------------------------------------------------------- time
  const hide = (name, value) => Object.defineProperty(globalThis, name, { value });
  if (!frozen) {
    hide("__agentgymClock", Object.freeze({ to: () => undefined, set: () => undefined, reseed }));
    return;
  }
  const MOST = 20000;
  const RealDate = Date;
  const channel = new MessageChannel();
  const breaths = [];
  channel.port1.onmessage = () => breaths.shift()?.();
  const breathe = () => new Promise((go) => { breaths.push(go); channel.port2.postMessage(0); });

  let now = start;
  let born = start;
  let last = 0;
  let depth = 0;
  const timers = new Map();
  const put = (callback, delay, args, every, kind) => {
    const id = ++last;
    let wait = Math.max(1, Math.min(Number(delay) || 0, 2 ** 31 - 1));
    if (depth >= 5) wait = Math.max(wait, 4);
    const at = kind === "frame" ? (Math.floor(now / 16) + 1) * 16 : now + wait;
    timers.set(id, { id, at, callback, args, every: every ? wait : 0, kind, depth: depth + 1 });
    return id;
  };
  const drop = (id) => { timers.delete(Number(id)); };
  const earliest = (to) => {
    let found = null;
    for (const timer of timers.values()) {
      if (timer.at <= to && (!found || timer.at < found.at)) found = timer;
    }
    return found;
  };
  const fire = (timer) => {
    now = Math.max(now, timer.at);
    if (timer.every) timer.at = now + timer.every;
    else timers.delete(timer.id);
    depth = timer.depth;
    try {
      if (timer.kind === "frame") timer.callback(now - born);
      else if (timer.kind === "idle") {
        timer.callback({ didTimeout: false, timeRemaining: () => 10 });
      } else if (typeof timer.callback === "function") timer.callback(...timer.args);
      else (0, eval)(String(timer.callback));
    } catch (error) {
      globalThis.reportError?.(error);
    }
    depth = 0;
  };
  const run = async (to) => {
    for (let fired = 0, timer; fired < MOST && (timer = earliest(to)); fired++) {
      fire(timer);
      await breathe();
    }
    now = Math.max(now, to);
  };
  // Let time run to `to`, in milliseconds since the epoch of the session; nothing if it has.
  const to = (time) => {
    if (earliest(time)) return run(time);
    now = Math.max(now, time);
    return undefined;
  };
  const set = (time) => { now = time; born = time; };

  globalThis.setTimeout = (callback, delay, ...args) => put(callback, delay, args, false, "");
  globalThis.setInterval = (callback, delay, ...args) => put(callback, delay, args, true, "");
  globalThis.requestAnimationFrame = (callback) => put(callback, 0, [], false, "frame");
  globalThis.requestIdleCallback = (callback) => put(callback, 1, [], false, "idle");
  for (const name of ["clearTimeout", "clearInterval", "cancelAnimationFrame",
    "cancelIdleCallback"]) globalThis[name] = drop;

  const time = () => epoch + Math.floor(now);
  function FrozenDate(...given) {
    if (!new.target) return new RealDate(time()).toString();
    const made = given.length ? given : [time()];
    return Reflect.construct(RealDate, made, new.target === FrozenDate ? RealDate : new.target);
  }
  FrozenDate.prototype = RealDate.prototype;
  FrozenDate.prototype.constructor = FrozenDate;
  FrozenDate.now = time;
  FrozenDate.parse = RealDate.parse;
  FrozenDate.UTC = RealDate.UTC;
  Object.defineProperty(FrozenDate, "name", { value: "Date" });
  globalThis.Date = FrozenDate;
  performance.now = () => now - born;

  // ------------------------------------------------------------- other ways to ask for the time
  const getter = (prototype, name, make) => {
    const told = Object.getOwnPropertyDescriptor(prototype, name);
    if (told) Object.defineProperty(prototype, name, { ...told, get: make(told.get) });
  };
  const first = (make) => {  // the same for the same thing, whenever it is asked
    const kept = new WeakMap();
    return (thing) => {
      if (!kept.has(thing)) kept.set(thing, make(thing));
      return kept.get(thing);
    };
  };
  const stamp = first(() => now - born);
  getter(Event.prototype, "timeStamp", () => function timeStamp() { return stamp(this); });
  getter(Performance.prototype, "timeOrigin", () => function timeOrigin() { return epoch + born; });
  getter(Document.prototype, "lastModified", () => function lastModified() {
    const parts = new RealDate(epoch + Math.floor(born)).toISOString().split(/[-T:.]/);
    return `${parts[1]}/${parts[2]}/${parts[0]} ${parts.slice(3, 6).join(":")}`;
  });
  const spoken = Intl.DateTimeFormat.prototype;
  getter(spoken, "format", (real) => {
    const bound = first((format) => {
      const say = real.call(format);
      return (when = time()) => say(when);
    });
    return function format() { return bound(this); };
  });
  const parts = spoken.formatToParts;
  spoken.formatToParts = function formatToParts(when = time()) { return parts.call(this, when); };
  const clock = globalThis.Temporal?.Now;
  if (clock) {
    const instant = () => Temporal.Instant.fromEpochMilliseconds(time());
    const zoned = (zone = clock.timeZoneId()) => instant().toZonedDateTimeISO(zone);
    Object.assign(clock, { instant, zonedDateTimeISO: zoned,
      plainDateTimeISO: (zone) => zoned(zone).toPlainDateTime(),
      plainDateISO: (zone) => zoned(zone).toPlainDate(),
      plainTimeISO: (zone) => zoned(zone).toPlainTime() });
  }

  hide("__agentgymClock", Object.freeze({ to, set, reseed }));
})();
