// @ts-check
// The graph of a workflow, or of one execution with the path it took. Steps are links in HTML, the
// ways between them are SVG beneath; dagre lays out each scope, a group or map is a box around its
// own. The server draws nothing: it gives a `cx-drawing` (workflows/console/drawing.py) and, for an
// execution, a `cx-painting` (executions/console/drawing.py), both as JSON.
import { Graph, layout } from "../vendor/dagre/dagre.esm.js";
import { roundedLoop, smooth } from "./graph_lines.js";

/**
 * @typedef {{id: string, kind: string, parent: string, name?: string}} Scope
 * @typedef {{state: string, url: string}} Branch
 * @typedef {{id: string, name: string, type: string, scope: string, sentence: string}} Step
 * @typedef {{source: string, target: string|null, scope: string, kind: string, label: string}} Way
 * @typedef {{scopes: Scope[], nodes: Step[], edges: Way[]}} Drawing
 * @typedef {{state: string, word?: string, runs: number, attempts: number, lasted: string, ended: boolean}} Done
 * @typedef {{words: string, parts: [string, number][], total: number}} Items
 * @typedef {{state: string, current: string, last: string, ways: [string, string, string][],
 *   steps: Record<string, Done>, items: Record<string, Items>, links: Record<string, string>,
 *   branches?: Record<string, Branch>}} Painting
 * @typedef {{x: number, y: number}} Point
 * @typedef {{id: string, x: number, y: number, width: number, height: number, inner: Placed[]}} Box
 * @typedef {{way: Way, path: string, tip: Point, label: Point|null}} Line
 * @typedef {{scope: Scope, x: number, y: number, width: number, height: number, boxes: Box[], lines: Line[]}} Placed
 */

const NODE = { width: 196, height: 56 };
const DOT = 28;
const PAD = 16;
const HEAD = 64;
const LOOP_GAP = 26;
const LABEL_CHARS = 26;
const CHAR_WIDTH = 6.4;
const START = " start";
const END = " end";
const ICONS = /** @type {Record<string, string>} */ ({
  action: "bolt", transform: "data_object", choice: "call_split", wait: "timer",
  succeed: "check_circle", fail: "report", map: "dynamic_feed", group: "select_all",
  parallel: "alt_route", signal: "sensors", approval: "how_to_reg", workflow: "account_tree",
});

/** @param {string} id @returns {any} the JSON of a script element, or null */
const json = (id) => {
  const element = document.getElementById(id);
  return element?.textContent ? JSON.parse(element.textContent) : null;
};

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

/** Where everything of a scope stands, from the inside out. @param {Drawing} drawing @param {Scope} scope @returns {Placed} */
const place = (drawing, scope) => {
  const isOuter = scope === drawing.scopes[0];
  const steps = drawing.nodes.filter((node) => node.scope === scope.id);
  const ways = drawing.edges.filter((way) => way.scope === scope.id);
  const ends = ways.filter((way) => way.target === null);
  const hasEnd = isOuter || ends.some((way) => way.kind !== "flow") || ends.length > 1;
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: "LR", nodesep: 26, ranksep: 36, edgesep: 18, ranker: "network-simplex" });
  /** @type {Map<string, Placed[]>} */
  const inner = new Map();
  steps.forEach((step) => {
    const placed = drawing.scopes.filter((each) => each.parent === step.id && each !== scope).map((each) => place(drawing, each));
    inner.set(step.id, placed);
    graph.setNode(step.id, placed.length ? boxSize(placed) : { ...NODE });
  });
  if (isOuter && steps.length) {
    graph.setNode(START, { width: DOT, height: DOT });
    graph.setEdge(START, steps[0].id, { weight: 4 }, "start");
  }
  if (hasEnd) graph.setNode(END, { width: DOT, height: DOT });
  const forward = ways.filter((way) => way.kind !== "loop" && (way.target !== null || hasEnd));
  forward.forEach((way, index) => {
    const width = way.label ? Math.min(way.label.length, LABEL_CHARS) * CHAR_WIDTH + 14 : 0;
    const weight = way.kind === "flow" ? 4 : way.kind === "choice" ? 2 : 1;
    graph.setEdge(way.source, way.target ?? END, { width, height: way.label ? 20 : 0, labelpos: "c", weight }, `w${index}`);
  });
  layout(graph);
  const boxes = graph.nodes().map((/** @type {string} */ id) => {
    const { x, y, width, height } = graph.node(id);
    return { id, x: x - width / 2, y: y - height / 2, width, height, inner: inner.get(id) ?? [] };
  });
  const size = graph.graph();
  const lines = forward.map((way, index) => {
    const edge = graph.edge(way.source, way.target ?? END, `w${index}`);
    return { way, ...between(boxes, way, edge, way.target ?? END) };
  });
  if (isOuter && steps.length) {
    const way = { source: START, target: steps[0].id, scope: scope.id, kind: "flow", label: "" };
    lines.unshift({ way, ...between(boxes, way, graph.edge(START, steps[0].id, "start"), steps[0].id) });
  }
  const loops = loopLines(boxes, ways.filter((way) => way.kind === "loop"), size.height || 0);
  return {
    scope, x: 0, y: 0, boxes, lines: [...lines, ...loops.lines],
    width: size.width || NODE.width, height: Math.max(size.height || 0, loops.bottom),
  };
};

/** Scopes that share a box with others and need a title. @param {Scope} scope */
const isTitled = (scope) => scope.kind === "finally" || scope.kind === "branch";

/** @param {Placed[]} placed @returns {{width: number, height: number}} */
const boxSize = (placed) => {
  let y = HEAD;
  placed.forEach((each) => {
    if (isTitled(each.scope)) y += 22;
    each.x = PAD;
    each.y = y;
    y += each.height + PAD;
  });
  return { width: Math.max(260, ...placed.map((each) => each.width + 2 * PAD)), height: y };
};

/** @param {Box[]} boxes @param {Way} way @param {any} edge @param {string} target */
const between = (boxes, way, edge, target) => {
  const from = /** @type {Box} */ (boxes.find((box) => box.id === way.source));
  const to = /** @type {Box} */ (boxes.find((box) => box.id === target));
  const points = [
    { x: from.x + from.width, y: from.y + from.height / 2 },
    ...edge.points.slice(1, -1).filter((/** @type {Point} */ point) => point.x > from.x + from.width && point.x < to.x),
    { x: to.x, y: to.y + to.height / 2 },
  ];
  return { path: smooth(points), tip: points[points.length - 1], label: way.label ? { x: edge.x, y: edge.y } : null };
};

/** Ways back run beneath what lies between, the shortest nearest. @param {Box[]} boxes @param {Way[]} ways @param {number} height */
const loopLines = (boxes, ways, height) => {
  const find = (/** @type {string|null} */ id) => /** @type {Box} */ (boxes.find((box) => box.id === id));
  const length = (/** @type {Way} */ way) => find(way.source).x - find(way.target).x;
  const sorted = [...ways].sort((a, b) => length(a) - length(b));
  let bottom = height;
  /** @type {{left: number, right: number, y: number}[]} */
  const used = boxes.map((box) => ({ left: box.x, right: box.x + box.width, y: box.y + box.height }));
  const lines = sorted.map((way) => {
    const from = find(way.source), to = find(way.target);
    const start = { x: from.x + from.width / 2 + 18, y: from.y + from.height };
    const end = { x: to.x + to.width / 2 - 18, y: to.y + to.height };
    const left = Math.min(start.x, end.x), right = Math.max(start.x, end.x);
    const y = LOOP_GAP + Math.max(...used.filter((each) => each.left < right && each.right > left).map((each) => each.y));
    used.push({ left, right, y });
    bottom = Math.max(bottom, y + 12);
    return { way, path: roundedLoop(start, end, y), tip: end, label: { x: (start.x + end.x) / 2, y } };
  });
  return { lines, bottom };
};

/** One page's graph: drawn once, painted as often as the execution goes on. */
class GraphView {
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
    [["catch", "when it fails"], ["loop", "goes back"]].forEach(([kind, words]) => {
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

/** Show a step's page as a drawer over this one. @param {HTMLAnchorElement} link */
const openDrawer = async (link) => {
  const drawer = /** @type {HTMLDialogElement} */ (document.getElementById("cx-drawer"));
  try {
    const answer = await fetch(link.href, { headers: { "X-Part": "step" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    drawer.innerHTML = await answer.text();
    drawer.dataset.step = link.dataset.step ?? "";
    document.dispatchEvent(new CustomEvent("cx:times", { detail: drawer }));
    if (!drawer.open) drawer.showModal();
  } catch {
    window.location.assign(link.href);
  }
};

const begin = () => {
  const card = document.getElementById("cx-graph");
  /** @type {Drawing|null} */
  const drawing = json("cx-drawing");
  if (!card || !drawing?.nodes.length) return;
  const graph = new GraphView(card, drawing);
  const paint = () => {
    const painting = json("cx-painting");
    if (painting) graph.paint(painting);
  };
  paint();
  card.dataset.drawn = "";
  document.addEventListener("htmx:afterSettle", paint);
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[data-drawer]") : null;
    const plain = event instanceof MouseEvent && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (!(link instanceof HTMLAnchorElement) || !plain) return;
    event.preventDefault();
    void openDrawer(link);
  });
  // A click beside the drawer closes it, as Escape does.
  document.getElementById("cx-drawer")?.addEventListener("click", (event) => {
    if (event.target === event.currentTarget) /** @type {HTMLDialogElement} */ (event.target).close();
  });
};

begin();
