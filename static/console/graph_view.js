// @ts-check
// One graph on a page: draws what `graph_layout.js` has placed, paints an execution or the marks of
// a comparison over it, and is moved by mouse and keyboard.
import { END, LABEL_CHARS, NODE, START, isTitled, place } from "./graph_layout.js";

/**
 * @typedef {import("./graph_layout.js").Box} Box
 * @typedef {import("./graph_layout.js").Branch} Branch
 * @typedef {import("./graph_layout.js").Drawing} Drawing
 * @typedef {import("./graph_layout.js").Mark} Mark
 * @typedef {import("./graph_layout.js").Painting} Painting
 * @typedef {import("./graph_layout.js").Placed} Placed
 * @typedef {import("./graph_layout.js").Step} Step
 * @typedef {import("./graph_layout.js").Way} Way
 */

const ICONS = /** @type {Record<string, string>} */ ({
  action: "bolt", transform: "data_object", choice: "call_split", wait: "timer",
  succeed: "check_circle", fail: "report", map: "dynamic_feed", group: "select_all",
  parallel: "alt_route", signal: "sensors", approval: "how_to_reg", workflow: "account_tree",
});

/** @param {string} text @param {number} limit */
const short = (text, limit) => (text.length > limit ? `${text.slice(0, limit - 1)}…` : text);

/** @param {string} tag @param {Record<string, string>} [attributes] @param {string} [text] */
const html = (tag, attributes = {}, text = "") => {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  if (text) element.textContent = text;
  return element;
};

/** @param {string} tag @param {Record<string, string|number>} attributes */
const svg = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, String(value)));
  return element;
};

/** One page's graph: drawn once, painted as often as the execution goes on. */
export class GraphView {
  /** @param {HTMLElement} card @param {Drawing} drawing */
  constructor(card, drawing) {
    this.card = card;
    this.drawing = drawing;
    this.view = /** @type {HTMLElement} */ (card.querySelector(".cx-graph-view"));
    this.size = /** @type {HTMLElement} */ (card.querySelector(".cx-graph-size"));
    this.canvas = /** @type {HTMLElement} */ (card.querySelector(".cx-graph-canvas"));
    this.placed = place(drawing, drawing.scopes[0]);
    this.scale = 1;
    this.shown = "";
    /** @type {Map<string, HTMLElement>} */
    this.nodes = new Map();
    /** @type {Map<string, HTMLElement>} */
    this.titles = new Map();
    /** @type {{way: Way, element: Element}[]} */
    this.ways = [];
    this.draw();
    this.listen();
    this.fit();
  }

  /** Draw another workflow in the place of this one; what is seen of it stays. @param {Drawing} drawing */
  redraw(drawing) {
    this.drawing = drawing;
    this.placed = place(drawing, drawing.scopes[0]);
    [this.nodes, this.titles].forEach((known) => known.clear());
    this.ways = [];
    this.canvas.replaceChildren();
    this.draw();
    this.zoom(this.scale);
  }

  /** Other names and sentences for the same steps: nothing moves. @param {Drawing} drawing */
  relabel(drawing) {
    this.drawing = drawing;
    drawing.nodes.forEach(({ id, name, sentence }) => {
      const node = this.nodes.get(id);
      if (!node) return;
      node.title = sentence;
      /** @type {HTMLElement} */ (node.querySelector(".cx-node-name")).textContent = name;
    });
  }

  draw() {
    const { width, height } = this.placed;
    const lines = svg("svg", { width, height, "aria-hidden": "true", class: "cx-ways" });
    this.drawScope(this.placed, 0, 0, lines);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.canvas.append(lines);
    const order = new Map(this.drawing.nodes.map((node, index) => [node.id, index]));
    [...this.nodes].sort((a, b) => (order.get(a[0]) ?? 0) - (order.get(b[0]) ?? 0)).forEach(([, node]) => this.canvas.append(node));
    const kinds = new Set(this.drawing.edges.map((edge) => edge.kind));
    const legend = /** @type {HTMLElement} */ (this.card.querySelector(".cx-legend"));
    legend.replaceChildren();
    legend.hidden = true;
    [["catch", "when it fails"], ["loop", "goes back"], ["gone", "is gone"]].forEach(([kind, words]) => {
      if (!kinds.has(kind)) return;
      const sample = svg("svg", { width: 34, height: 10, "aria-hidden": "true" });
      sample.append(svg("path", { d: "M1 5H33", class: `cx-way cx-way-${kind}` }));
      const entry = html("span");
      entry.append(sample, ` ${words}`);
      legend.append(entry);
      legend.hidden = false;
    });
  }

  /** @param {Placed} placed @param {number} left @param {number} top @param {Element} lines */
  drawScope(placed, left, top, lines) {
    const group = svg("g", { transform: `translate(${left} ${top})` });
    placed.lines.forEach(({ way, path, tip, label }) => {
      const element = svg("g", { class: `cx-edge cx-edge-${way.kind}` });
      element.append(svg("path", { d: path, class: `cx-way cx-way-${way.kind}` }));
      const arrow = way.kind === "loop" ? "-4.5 7 L0 0 L4.5 7" : "-7 -4.5 L0 0 L-7 4.5";
      element.append(svg("path", { d: `M${arrow}`, transform: `translate(${tip.x} ${tip.y})`, class: "cx-tip" }));
      group.append(element);
      this.ways.push({ way, element });
      if (label && way.label) this.drawLabel(way, left + label.x, top + label.y, element);
    });
    lines.append(group);
    placed.boxes.forEach((box) => this.drawBox(box, placed, left, top, lines));
  }

  /** @param {Way} way @param {number} x @param {number} y @param {Element} element */
  drawLabel(way, x, y, element) {
    const label = html("span", { class: `cx-way-label cx-way-label-${way.kind}`, title: way.label }, short(way.label, LABEL_CHARS));
    label.style.left = `${x}px`;
    label.style.top = `${y}px`;
    this.canvas.append(label);
  }

  /** @param {Box} box @param {Placed} placed @param {number} left @param {number} top @param {Element} lines */
  drawBox(box, placed, left, top, lines) {
    const x = left + box.x, y = top + box.y;
    if (box.id === START || box.id === END) {
      const dot = html("span", { class: `cx-terminal${box.id === END && placed.scope === this.drawing.scopes[0] ? " cx-terminal-last" : ""}`, title: box.id.trim() });
      dot.append(html("span", { class: "material-symbols-outlined", "aria-hidden": "true" }, box.id === START ? "play_arrow" : "flag"));
      this.set(dot, x, y, box.width, box.height);
      this.canvas.append(dot);
      return;
    }
    const step = /** @type {Step} */ (this.drawing.nodes.find((node) => node.id === box.id));
    if (box.inner.length) {
      const frame = html("span", { class: `cx-box cx-box-${step.type}`, "aria-hidden": "true" });
      this.set(frame, x, y, box.width, box.height);
      this.canvas.append(frame);
      box.inner.forEach((inner) => {
        if (isTitled(inner.scope)) this.drawTitle(inner, x + inner.x, y + inner.y - 24);
        this.drawScope(inner, x + inner.x, y + inner.y, lines);
      });
    }
    const node = html("a", { class: `cx-node${box.inner.length ? " cx-node-head" : ""}`, href: `#of-${step.id}`, "data-step": step.id, title: step.sentence });
    const head = html("span", { class: "cx-node-text" });
    head.append(html("span", { class: "cx-node-name" }, step.name), html("span", { class: "cx-node-sub" }));
    head.lastElementChild?.append(html("span", {}, step.type));
    node.append(html("span", { class: "material-symbols-outlined cx-node-icon", "aria-hidden": "true" }, ICONS[step.type] ?? "circle"), head);
    this.set(node, x, y, box.width, box.inner.length ? NODE.height : box.height);
    this.nodes.set(step.id, node);
  }

  /** @param {Placed} inner @param {number} x @param {number} y */
  drawTitle({ scope, width }, x, y) {
    const isBranch = scope.kind === "branch";
    const title = html(isBranch ? "a" : "span", { class: "cx-box-part" });
    title.append(html("span", {}, isBranch ? scope.name ?? "" : "finally"));
    this.set(title, x, y, isBranch ? Math.max(width, 120) : 80, 20);
    if (isBranch) this.titles.set(scope.id, title);
    this.canvas.append(title);
  }

  /** @param {HTMLElement} element @param {number} x @param {number} y @param {number} width @param {number} height */
  set(element, x, y, width, height) {
    Object.assign(element.style, { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
  }

  /** Show how far the execution has come. @param {Painting} painting */
  paint(painting) {
    this.card.classList.add("cx-painted");
    this.nodes.forEach((node, id) => this.paintNode(node, id, painting));
    this.titles.forEach((title, id) => this.paintTitle(title, painting.branches?.[id]));
    const ended = painting.state === "completed" ? painting.last : "";
    this.ways.forEach(({ way, element }) => {
      const taken = way.source === START
        ? Object.keys(painting.steps).length > 0
        : way.target === null
          ? way.source === ended && way.scope === ""
          : painting.ways.some(([from, to, state]) => from === way.source && to === way.target && (way.kind === "catch") === (state === "failed"));
      element.classList.toggle("is-taken", taken);
      if (taken) element.parentElement?.append(element);
    });
    this.canvas.querySelector(".cx-terminal-last")?.classList.toggle("is-taken", Boolean(ended));
    const focus = painting.current || (painting.state === "failed" ? painting.last : "");
    if (focus && focus !== this.shown) this.reveal(focus);
    this.shown = focus;
  }

  /** A branch that runs, or has run, leads to its page. @param {HTMLElement} title @param {Branch|undefined} branch */
  paintTitle(title, branch) {
    title.className = `cx-box-part${branch ? ` cx-s-${branch.state}` : ""}`;
    title.querySelector(".cx-dot")?.remove();
    title.querySelector(".cx-box-state")?.remove();
    if (!branch) return;
    title.prepend(html("span", { class: "cx-dot", "aria-hidden": "true" }));
    title.append(html("span", { class: "cx-box-state" }, branch.state));
    title.setAttribute("href", branch.url);
  }

  /** @param {HTMLElement} node @param {string} id @param {Painting} painting */
  paintNode(node, id, painting) {
    const done = painting.steps[id];
    const items = painting.items[id];
    const type = this.drawing.nodes.find((each) => each.id === id)?.type ?? "";
    const words = [done ? done.word ?? done.state : type];
    if (items) words.push(items.words);
    else if (done?.attempts > 1) words.push(done.ended ? `${done.attempts} attempts` : `attempt ${done.attempts}`);
    else if (done?.lasted && done.runs === 1) words.push(done.lasted);
    if (done?.runs > 1) words.push(`${done.runs}×`);
    const text = words.join(" · ");
    node.className = node.className.replace(/ (cx-s-\S+|is-\S+)/g, "");
    if (done) node.className += ` cx-s-${done.state} is-taken`;
    if (id === painting.current) node.className += " is-current";
    const sub = /** @type {HTMLElement} */ (node.querySelector(".cx-node-sub"));
    if (sub.textContent !== text) {
      sub.replaceChildren(html("span", {}, text));
      if (done) sub.prepend(html("span", { class: "cx-dot", "aria-hidden": "true" }));
    }
    node.querySelector(".cx-share")?.remove();
    if (items) {
      const bar = html("span", { class: "cx-share", "aria-hidden": "true" });
      items.parts.forEach(([state, count]) => {
        const part = html("span", { class: `cx-s-${state}` });
        part.style.setProperty("--part", String(count));
        bar.append(part);
      });
      node.querySelector(".cx-node-text")?.append(bar);
    }
    if (painting.links[id]) {
      node.setAttribute("href", painting.links[id]);
      node.setAttribute("data-drawer", "");
    }
  }

  /** Say of each step what a comparison found. @param {Record<string, Mark>} marks */
  mark(marks) {
    this.nodes.forEach((node, id) => {
      const mark = marks[id];
      if (!mark) return;
      node.classList.add("is-marked", `cx-d-${mark.look}`);
      const sub = /** @type {HTMLElement} */ (node.querySelector(".cx-node-sub"));
      sub.replaceChildren(html("strong", { class: "cx-mark" }, mark.words), html("span", {}, sub.textContent ?? ""));
      node.setAttribute("href", `#change-${id}`);
    });
  }

  /** Let one step stand out, and no other. @param {string} id */
  select(id) {
    this.nodes.forEach((node, each) => {
      node.classList.toggle("is-selected", each === id);
      if (each === id) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
    });
    this.reveal(id);
  }

  /** Bring a step into view, without moving the page. @param {string} id */
  reveal(id) {
    const node = this.nodes.get(id);
    if (!node) return;
    const left = node.offsetLeft * this.scale, width = node.offsetWidth * this.scale;
    const top = node.offsetTop * this.scale, height = node.offsetHeight * this.scale;
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.view;
    if (left < scrollLeft || left + width > scrollLeft + clientWidth) this.view.scrollLeft = left - (clientWidth - width) / 2;
    if (top < scrollTop || top + height > scrollTop + clientHeight) this.view.scrollTop = top - (clientHeight - height) / 2;
  }

  /** @param {number} scale */
  zoom(scale) {
    const view = this.view;
    const x = (view.scrollLeft + view.clientWidth / 2) / this.scale;
    const y = (view.scrollTop + view.clientHeight / 2) / this.scale;
    this.scale = Math.min(2, Math.max(0.3, scale));
    this.canvas.style.transform = `scale(${this.scale})`;
    this.size.style.width = `${this.placed.width * this.scale}px`;
    this.size.style.height = `${this.placed.height * this.scale}px`;
    view.scrollLeft = x * this.scale - view.clientWidth / 2;
    view.scrollTop = y * this.scale - view.clientHeight / 2;
  }

  /** All of it, as far as it can still be read. */
  fit() {
    const style = getComputedStyle(this.view);
    const room = this.view.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    this.zoom(Math.min(1, Math.max(room < 700 ? 0.8 : 0.62, room / this.placed.width)));
    this.view.scrollLeft = 0;
    this.view.scrollTop = 0;
  }

  listen() {
    const tools = /** @type {HTMLElement} */ (this.card.querySelector(".cx-graph-tools"));
    tools.hidden = false;
    tools.addEventListener("click", (event) => {
      const button = event.target instanceof Element ? event.target.closest("[data-zoom]") : null;
      if (button) this.act(button.getAttribute("data-zoom") ?? "");
    });
    this.view.addEventListener("keydown", (event) => this.key(event));
    this.view.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(this.scale * Math.exp(-event.deltaY / 300));
    }, { passive: false });
    this.drag();
  }

  /** @param {string} what */
  act(what) {
    if (what === "in") this.zoom(this.scale * 1.25);
    if (what === "out") this.zoom(this.scale / 1.25);
    if (what === "fit") this.fit();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const verb = /** @type {Record<string, string>} */ ({ "+": "in", "=": "in", "-": "out", 0: "fit" })[event.key];
    if (verb) {
      event.preventDefault();
      this.act(verb);
      return;
    }
    const step = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] })[event.key];
    const here = document.activeElement;
    if (!step || !(here instanceof HTMLElement) || !here.matches(".cx-node")) return;
    event.preventDefault();
    this.neighbor(here, step)?.focus();
  }

  /** The nearest step in a direction. @param {HTMLElement} from @param {[number, number]} direction */
  neighbor(from, [dx, dy]) {
    const middle = (/** @type {HTMLElement} */ node) => ({ x: node.offsetLeft + node.offsetWidth / 2, y: node.offsetTop + node.offsetHeight / 2 });
    const here = middle(from);
    const ranked = [...this.nodes.values()].filter((node) => node !== from).map((node) => {
      const there = middle(node);
      const along = (there.x - here.x) * dx + (there.y - here.y) * dy;
      const aside = Math.abs((there.x - here.x) * dy) + Math.abs((there.y - here.y) * dx);
      return { node, along, cost: along + 2 * aside };
    });
    return ranked.filter(({ along }) => along > 1).sort((a, b) => a.cost - b.cost)[0]?.node;
  }

  drag() {
    /** @type {{x: number, y: number, left: number, top: number}|null} */
    let from = null;
    this.view.addEventListener("pointerdown", (event) => {
      const onNode = event.target instanceof Element && event.target.closest("a");
      if (event.pointerType !== "mouse" || event.button !== 0 || onNode) return;
      from = { x: event.clientX, y: event.clientY, left: this.view.scrollLeft, top: this.view.scrollTop };
      this.view.setPointerCapture(event.pointerId);
      this.view.classList.add("is-dragged");
    });
    this.view.addEventListener("pointermove", (event) => {
      if (!from) return;
      this.view.scrollLeft = from.left - (event.clientX - from.x);
      this.view.scrollTop = from.top - (event.clientY - from.y);
    });
    ["pointerup", "pointercancel"].forEach((name) => this.view.addEventListener(name, () => {
      from = null;
      this.view.classList.remove("is-dragged");
    }));
  }
}
