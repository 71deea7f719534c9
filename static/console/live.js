// @ts-check
// Pages that go on by themselves. The server's events only say that something has changed; what is
// shown then is the same part of the page, asked for anew (htmx swaps it). When the stream breaks the
// page says so and asks at intervals, and goes back to the stream as soon as there is one.
//
// <div id="cx-lost" data-stream="ADDRESS" data-every="SECONDS" data-poll="SECONDS"> stands outside of
// #cx-live, the part that is replaced. every: no more often than that while much happens; poll: how
// often without a stream.

/** @typedef {{id: string, name: string, type: string, value: string, checked: boolean, order: number}} Kept */

// Not everything that is shown is an event: what is late, what was asked of an execution and not done.
const QUIET_SECONDS = 15;
// A stream that comes back within this needs no word.
const PATIENCE_SECONDS = 3;
const TIMEOUT_SECONDS = 20;
const REOPEN_SECONDS = [2, 5, 10, 20, 30];
// The server says at least every 15 seconds that it is there; a connection can die without a word.
const SILENCE_SECONDS = 40;
// A server that takes long to answer is asked less.
const LOAD = 5;

const notice = document.getElementById("cx-lost");
const part = () => document.getElementById("cx-live");
const seconds = (/** @type {number} */ count) => (count === 1 ? "every second" : `every ${count} seconds`);

/** What the page says while something is wrong: the worst of it. */
const words = {
  signedOut: "", request: "", stream: "",
  /** @param {"signedOut"|"request"|"stream"} what @param {string} sentence */
  say(what, sentence) {
    this[what] = sentence;
    if (!notice) return;
    const text = this.signedOut || this.request || this.stream;
    notice.hidden = !text;
    if (notice.textContent !== text) notice.textContent = text;
  },
};

/** Asks for the part anew: at once, but never while it is asked for, and not too often. */
class Refresher {
  /** @param {number} every */
  constructor(every) {
    this.every = every;
    this.isUnderWay = false;
    this.isWanted = false;
    this.began = 0;
    this.took = 0;
    this.timer = 0;
  }

  ask() {
    this.isWanted = true;
    if (this.isUnderWay || this.timer) return;
    const pause = Math.max(this.every * 1000, this.took * LOAD);
    const wait = Math.max(0, this.began + pause - performance.now());
    this.timer = window.setTimeout(() => this.go(), wait);
  }

  go() {
    this.timer = 0;
    const target = part();
    if (!this.isWanted || document.hidden || !target?.hasAttribute("hx-get")) return;
    if (isInUse(target)) {
      this.timer = window.setTimeout(() => this.go(), 1000);
      return;
    }
    this.isWanted = false;
    this.began = performance.now();
    target.dispatchEvent(new CustomEvent("cx:news"));
  }

  begins() {
    this.isUnderWay = true;
  }

  ends() {
    this.isUnderWay = false;
    this.took = performance.now() - this.began;
    if (this.isWanted) this.ask();
  }
}

/** Whether somebody types into it, or marks a text of it: that is not taken out of their hands. @param {Element} target */
const isInUse = (target) => {
  const active = document.activeElement;
  if (active instanceof HTMLInputElement && active.type !== "checkbox" && target.contains(active)) return true;
  const selection = window.getSelection();
  return Boolean(selection && !selection.isCollapsed && target.contains(selection.anchorNode));
};

/** The stream of this page, as long as somebody looks at it. */
class Stream {
  /** @param {string} address @param {Refresher} refresher @param {number} poll */
  constructor(address, refresher, poll) {
    this.address = address;
    this.refresher = refresher;
    this.poll = poll;
    /** @type {EventSource|null} */
    this.source = null;
    this.isOpen = false;
    this.isNew = false;
    this.failures = 0;
    this.lostAt = performance.now();
    this.askedAt = performance.now();
    this.heardAt = performance.now();
    this.reopen = 0;
    window.setInterval(() => this.look(), 500);
  }

  open() {
    if (this.source || document.hidden || !part()?.hasAttribute("hx-get")) return;
    window.clearTimeout(this.reopen);
    const source = this.source = new EventSource(this.address);
    // The first one goes on from the moment of the page, a later one from now.
    const address = new URL(this.address, window.location.href);
    address.searchParams.delete("last_event_id");
    this.address = address.href;
    source.addEventListener("ready", () => {
      this.isOpen = true;
      this.failures = 0;
      words.say("stream", "");
      if (this.isNew) this.ask();
      this.isNew = false;
    });
    source.addEventListener("changed", () => this.ask());
    ["ready", "changed", "beat"].forEach((name) => source.addEventListener(name, () => { this.heardAt = performance.now(); }));
    source.addEventListener("error", () => this.broke());
  }

  ask() {
    this.askedAt = performance.now();
    this.refresher.ask();
  }

  broke() {
    if (this.isOpen || !this.failures) this.lostAt = performance.now();
    this.isOpen = false;
    // Otherwise the browser tries again by itself.
    if (this.source?.readyState !== EventSource.CLOSED) {
      this.failures ||= 1;
      return;
    }
    this.close();
    const pause = REOPEN_SECONDS[Math.min(this.failures, REOPEN_SECONDS.length - 1)];
    this.failures += 1;
    this.reopen = window.setTimeout(() => this.open(), pause * 1000);
  }

  close() {
    window.clearTimeout(this.reopen);
    this.source?.close();
    this.source = null;
    this.isOpen = false;
    this.isNew = true;
  }

  /** The connection is gone, and nothing will say so. */
  lose() {
    this.close();
    this.lostAt = performance.now();
    this.failures ||= 1;
  }

  /** Now and then: what to do without news. */
  look() {
    if (document.hidden) return;
    if (!part()?.hasAttribute("hx-get")) {
      this.close();
      words.say("stream", "");
      return;
    }
    const now = performance.now();
    if (this.isOpen && now - this.heardAt > SILENCE_SECONDS * 1000) {
      this.lose();
      this.open();
    }
    const isLost = !this.isOpen && now - this.lostAt > PATIENCE_SECONDS * 1000;
    if (isLost && this.failures) {
      words.say("stream", `Live updates are lost: this page looks for changes ${seconds(this.poll)} until they are back.`);
    }
    const pause = isLost ? this.poll : QUIET_SECONDS;
    if (now - this.askedAt >= pause * 1000) this.ask();
  }

  listen() {
    // A browser opens few connections to one host: pages that nobody sees give theirs back.
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    window.addEventListener("offline", () => this.lose());
    window.addEventListener("online", () => this.open());
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", () => this.open());
    this.open();
  }
}

/** What people did to a part of the page, to be done again to the part that replaces it. */
class Hands {
  /** @param {Element} target */
  constructor(target) {
    this.opened = [...target.querySelectorAll("details[id]")].map((each) => /** @type {[string, boolean]} */ ([each.id, /** @type {HTMLDetailsElement} */ (each).open]));
    this.scrolled = [...target.querySelectorAll("pre, [role=region]")].map((each) => ({ left: each.scrollLeft, top: each.scrollTop, key: keyOf(each, target) })).filter((each) => each.left || each.top);
    this.filled = [...target.querySelectorAll("input, select, textarea")].filter((each) => !(each instanceof HTMLInputElement && each.type === "hidden"))
      .map((each) => ({ key: keyOf(each, target), value: /** @type {HTMLInputElement} */ (each).value, checked: Boolean(/** @type {HTMLInputElement} */ (each).checked) }));
    const active = document.activeElement;
    this.focused = active && target.contains(active) && active !== target ? keyOf(active, target) : "";
    this.height = window.scrollY;
  }

  /** @param {Element} target */
  restore(target) {
    this.opened.forEach(([id, open]) => {
      const element = document.getElementById(id);
      if (!(element instanceof HTMLDetailsElement) || element.open === open) return;
      element.setAttribute("data-restored", "");
      element.open = open;
    });
    const byKey = new Map([...target.querySelectorAll("input, select, textarea, pre, [role=region], a, button, summary")].map((each) => [keyOf(each, target), each]));
    this.filled.forEach(({ key, value, checked }) => {
      const element = byKey.get(key);
      if (element instanceof HTMLInputElement && element.type === "checkbox") element.checked = checked;
      else if (element instanceof HTMLInputElement || element instanceof HTMLSelectElement || element instanceof HTMLTextAreaElement) element.value = value;
    });
    this.scrolled.forEach(({ key, left, top }) => byKey.get(key)?.scrollTo(left, top));
    const focused = byKey.get(this.focused);
    if (focused instanceof HTMLElement && document.activeElement !== focused) focused.focus({ preventScroll: true });
    if (window.scrollY !== this.height) window.scrollTo({ top: this.height, behavior: "instant" });
  }
}

/** What an element is called in this part and in the one that replaces it. @param {Element} element @param {Element} target */
const keyOf = (element, target) => {
  if (element.id) return `#${element.id}`;
  const own = ["name", "value", "href", "aria-label"].map((name) => element.getAttribute(name) ?? "").join("|");
  const around = element.closest("[id]");
  const twins = [...(around && target.contains(around) ? around : target).querySelectorAll(element.tagName)];
  const same = twins.filter((each) => ["name", "value", "href", "aria-label"].map((name) => each.getAttribute(name) ?? "").join("|") === own);
  return `${around?.id ?? ""} ${element.tagName} ${own} ${same.indexOf(element)}`;
};

const refresher = new Refresher(Number(notice?.dataset.every ?? 1));
/** @type {Hands|null} */
let hands = null;

// Whoever is signed out is answered with the sign-in page, which is no part of this one.
const isLivePart = (/** @type {XMLHttpRequest} */ xhr) => xhr.responseText.includes('id="cx-live"');
const isOurs = (/** @type {any} */ event) => event.detail.elt?.id === "cx-live" || event.detail.target?.id === "cx-live";

document.addEventListener("htmx:configRequest", (/** @type {any} */ event) => {
  // Whoever never answers is asked again.
  if (isOurs(event)) event.detail.timeout = TIMEOUT_SECONDS * 1000;
});
document.addEventListener("htmx:beforeRequest", (event) => {
  if (isOurs(event)) refresher.begins();
});
document.addEventListener("htmx:beforeSwap", (/** @type {any} */ event) => {
  if (!isOurs(event) || event.detail.xhr.status !== 200) return;
  if (!isLivePart(event.detail.xhr)) {
    event.detail.shouldSwap = false;
    words.say("signedOut", "You are not signed in any more: reload the page to go on.");
    return;
  }
  hands ??= new Hands(event.detail.target);
});
document.addEventListener("htmx:afterSwap", () => {
  const target = part();
  if (hands && target) hands.restore(target);
  hands = null;
  document.dispatchEvent(new CustomEvent("cx:times", { detail: document }));
});
const failed = () => words.say("request", "The connection is lost: this page shows what was last known, and keeps trying.");
["htmx:sendError", "htmx:timeout", "htmx:responseError"].forEach((name) => document.addEventListener(name, (event) => {
  if (isOurs(event)) failed();
}));
document.addEventListener("htmx:afterRequest", (/** @type {any} */ event) => {
  if (!isOurs(event)) return;
  refresher.ends();
  const { successful, xhr } = event.detail;
  if (!successful || !(xhr.status === 204 || isLivePart(xhr))) return;
  words.say("request", "");
  words.say("signedOut", "");
});

if (notice?.dataset.stream) new Stream(notice.dataset.stream, refresher, Number(notice.dataset.poll ?? 5)).listen();
