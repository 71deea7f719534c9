// @ts-check
// The graph of a workflow, or of one execution with the path it took. Steps are links in HTML, the
// ways between them are SVG beneath; dagre lays out each scope, a group or map is a box around its
// own. The server draws nothing: it gives a `cx-drawing` (workflows/console/drawing.py) and, for an
// execution, a `cx-painting` (executions/console/drawing.py), for a comparison `cx-marks`
// (workflows/console/differences.py), all as JSON.
import { GraphView } from "./graph_view.js";

/** @typedef {import("./graph_layout.js").Drawing} Drawing */

/** @param {string} id @returns {any} the JSON of a script element, or null */
const json = (id) => {
  const element = document.getElementById(id);
  return element?.textContent ? JSON.parse(element.textContent) : null;
};

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
  const marks = json("cx-marks");
  if (marks) graph.mark(marks);
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
