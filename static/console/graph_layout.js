// @ts-check
// Where the steps of a graph stand and how the ways between them run: dagre lays out each scope, a
// group, map or parallel is a box around its own. Knows nothing of a page.
import { Graph, layout } from "../vendor/dagre/dagre.esm.js";
import { roundedLoop, smooth } from "./graph_lines.js";

/**
 * @typedef {{id: string, kind: string, parent: string, name?: string}} Scope
 * @typedef {{state: string, url: string}} Branch
 * @typedef {{id: string, name: string, type: string, scope: string, sentence: string}} Step
 * @typedef {{words: string, look: string}} Mark what a comparison says of a step
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

export const NODE = { width: 196, height: 56 };
const DOT = 28;
const PAD = 16;
const HEAD = 64;
const LOOP_GAP = 26;
export const LABEL_CHARS = 26;
const CHAR_WIDTH = 6.4;
// Steps in one scope from which on the best ranking takes too long.
const MANY = 150;
export const START = " start";
export const END = " end";

/** Where everything of a scope stands, from the inside out. @param {Drawing} drawing @param {Scope} scope @returns {Placed} */
export const place = (drawing, scope) => {
  const isOuter = scope === drawing.scopes[0];
  const steps = drawing.nodes.filter((node) => node.scope === scope.id);
  const ways = drawing.edges.filter((way) => way.scope === scope.id);
  const ends = ways.filter((way) => way.target === null);
  // Where every way ends in a step of its own, such as `succeed`, a flag would stand alone.
  const hasEnd = ends.length > 1 || ends.some((way) => isOuter || way.kind !== "flow");
  const graph = new Graph({ multigraph: true });
  const ranker = steps.length > MANY ? "tight-tree" : "network-simplex";
  graph.setGraph({ rankdir: "LR", nodesep: 26, ranksep: 36, edgesep: 18, ranker });
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
export const isTitled = (scope) => scope.kind === "finally" || scope.kind === "branch";

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
