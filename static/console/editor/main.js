// @ts-check
// The editor's page. What a form does without a script goes on here without leaving the page: the
// text is checked while it is written, the graph follows the cursor, a draft is saved in its place.
import { GraphView } from "../graph_view.js";
import { Refused, ask, get, post } from "./asking.js";
import { Checker } from "./checking.js";
import { completionSource } from "./completion.js";
import { Guide } from "./schema.js";
import { SidePanel } from "./side.js";
import { TextEditor } from "./text.js";

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);
const settings = JSON.parse(element("cx-editor-settings").textContent);
const form = /** @type {HTMLFormElement} */ (element("cx-editor-form"));
const plain = /** @type {HTMLTextAreaElement} */ (element("id_definition"));
const field = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));

/** @type {Guide|null} */
let guide = null;
/** @type {import("../graph_layout.js").Drawing} */
let drawing = { scopes: [], nodes: [], edges: [] };
let names = { input: {}, vars: [], items: [] };
let saved = "";

/** @param {string} words @param {string} [look] */
const say = (words, look = "") => {
  const state = element("cx-state");
  state.textContent = words;
  state.className = `cx-sub cx-editor-state${look ? ` cx-s-${look}` : ""}`;
};

const side = new SidePanel();
const editor = new TextEditor({
  parent: element("cx-editor"),
  text: plain.value,
  language: field("language").value,
  complete: completionSource({ language: () => editor.language, guide: () => guide, steps: () => drawing.nodes, names: () => names }),
  onChange: () => {
    checker.changed();
    side.changed();
    tellChanged();
  },
  onMove: () => follow(),
  onSave: () => void save(),
});

/** Everything that would be lost. */
const content = () => JSON.stringify([editor.text, field("changelog").value]);
const isChanged = () => content() !== saved;
const tellChanged = () => say(isChanged() ? "Not saved yet." : "");

const checker = new Checker((body) => ask(settings.check_url, body), {
  text: () => editor.text,
  about: () => ({ workflow: settings.workflow, number: settings.number }),
  say: (words, look) => side.checked(words, look),
  onAnswer: (answer) => {
    side.problems(answer.problems, (problem) => editor.goToPlace(problem));
    editor.show(answer.problems);
    if (answer.is_read) {
      editor.place(answer.steps);
      names = answer.names;
      drawing = answer.drawing;
      draw();
    } else if (graph) side.behind("The text can't be read now: this is how it was before.");
    const compare = settings.diff_url && settings.number ? `${settings.diff_url}?from=${answer.guard?.against}&to=${settings.number}` : "";
    side.guard(answer.guard, compare, answer.number ? (number) => editor.setNumber(number, answer.number) : null);
    followed = "";
    follow();
  },
});

/** @type {GraphView|null} */
let graph = null;
let drawn = "";
const MANY = 200;
/** Everything that decides where something stands. */
const shape = () => JSON.stringify([drawing.scopes, drawing.edges, drawing.nodes.map(({ id, type, scope }) => [id, type, scope])]);
const draw = () => {
  const wanted = shape();
  side.behind(drawing.nodes.length > MANY ? `With more than ${MANY} steps the graph would slow down the writing: it is on the version's page.` : "");
  const card = element("cx-graph");
  card.hidden = !drawing.nodes.length || drawing.nodes.length > MANY;
  if (card.hidden) return;
  if (wanted === drawn) return graph?.relabel(drawing);
  drawn = wanted;
  if (graph) graph.redraw(drawing);
  else {
    graph = new GraphView(card, drawing);
    graph.view.addEventListener("click", (event) => {
      const node = event.target instanceof Element ? event.target.closest(".cx-node") : null;
      if (!(node instanceof HTMLElement)) return;
      event.preventDefault();
      editor.goToStep(node.dataset.step ?? "");
    });
  }
  card.dataset.drawn = "";
};

let followed = "";
/** The step around the cursor stands out in the graph. */
const follow = () => {
  const step = editor.step;
  if (step === followed) return;
  followed = step;
  graph?.select(step);
};

// Whoever wants to know which expression the cursor is in asks with this event.
document.addEventListener("cx:expression", (event) => {
  Object.assign(/** @type {CustomEvent} */ (event).detail, { text: editor.expression, step: editor.step });
});

/** @param {string} to */
const convert = async (to) => {
  if (to === editor.language) return;
  try {
    const answer = await ask(settings.convert_url, { text: editor.text, to });
    const wasChanged = isChanged();
    editor.replace(answer.text, to);
    showLanguage(to);
    if (!wasChanged) saved = content();
    tellChanged();
    const address = new URL(window.location.href);
    address.searchParams.set("language", to);
    window.history.replaceState(null, "", address);
    void checker.run();
  } catch (error) {
    const answer = error instanceof Refused ? error.answer : {};
    side.told("failed", "It stays as it is.", error instanceof Error ? error.message : String(error));
    if (answer.problems?.length) editor.goToPlace(answer.problems[0]);
  }
};

/** @param {string} language */
const showLanguage = (language) => {
  field("language").value = language;
  form.querySelectorAll("[name=convert]").forEach((button) => button.setAttribute("aria-pressed", String(button.getAttribute("value") === language)));
};

/** @type {Promise<boolean>|null} */
let saving = null;

/**
 * Save the draft and stay, one after the other: before the first answer a second one would make
 * another workflow, or find its own draft changed. @returns {Promise<boolean>}
 */
const save = async (over = "") => {
  const hasWaited = Boolean(saving);
  while (saving) await saving;
  if (hasWaited && !isChanged()) return true;
  saving = send(over);
  try {
    return await saving;
  } finally {
    saving = null;
  }
};

/** @param {string} over @returns {Promise<boolean>} */
const send = async (over) => {
  plain.value = editor.text;
  const now = content();
  const data = new FormData(form);
  if (over) data.set("over", over);
  say("Saving…");
  try {
    const answer = await post(form.getAttribute("action") || window.location.href, data);
    saved = now;
    field("stamp").value = answer.stamp;
    Object.assign(settings, { workflow: answer.workflow, number: answer.number, publish_url: settings.may_publish ? answer.publish_url : "", diff_url: answer.diff_url });
    moveTo(answer);
    side.told("", "", "");
    say(isChanged() ? "Not saved yet." : answer.message, isChanged() ? "" : "completed");
    void checker.run();
    return true;
  } catch (error) {
    refuse(error);
    return false;
  }
};

/** The draft has an address now, or another one. @param {any} answer */
const moveTo = (answer) => {
  form.action = answer.edit_url;
  window.history.replaceState(null, "", `${answer.edit_url}${window.location.search}`);
  element("cx-back").href = answer.version_url;
  const publish = element("cx-publish");
  if (publish) Object.assign(publish, { href: answer.publish_url, hidden: false });
};

/** @param {any} error */
const refuse = (error) => {
  say("Not saved.", "failed");
  const answer = error instanceof Refused ? error.answer : {};
  if (answer.theirs) return side.stale(error.message, element("cx-back").href, () => void save(answer.theirs));
  if (!answer.problems?.length) return side.told("failed", "Nothing is saved.", `${error.message} Your text is still here.`);
  side.told("failed", "Nothing is saved.", answer.problems.length === 1 ? answer.problems[0].message : `${answer.problems.length} things are wrong.`);
  side.problems(answer.problems, (problem) => editor.goToPlace(problem));
  editor.show(answer.problems);
  editor.goToPlace(answer.problems[0]);
};

const begin = () => {
  document.querySelectorAll("[data-with-script]").forEach((each) => each.removeAttribute("hidden"));
  document.querySelectorAll("[data-without-script]").forEach((each) => each.remove());
  form.querySelector('label[for="id_definition"]')?.removeAttribute("for");
  plain.hidden = true;
  ["cx-editor", "cx-side", "cx-problems"].forEach((id) => { element(id).hidden = false; });
  element("cx-graph").hidden = true;
  saved = document.querySelector("#cx-told > *") ? "" : content();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter;
    if (button?.getAttribute("name") === "convert") void convert(button.getAttribute("value") ?? "");
    else void save(button?.getAttribute("name") === "over" ? button.getAttribute("value") ?? "" : "");
  });
  field("changelog").addEventListener("input", tellChanged);
  element("cx-publish")?.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    if (!isChanged()) return;
    event.preventDefault();
    void save().then((done) => done && window.location.assign(settings.publish_url));
  });
  window.addEventListener("keydown", (event) => {
    if (event.key === "s" && (event.ctrlKey || event.metaKey) && !event.defaultPrevented) {
      event.preventDefault();
      void save();
    }
  });
  window.addEventListener("beforeunload", (event) => {
    if (isChanged()) event.preventDefault();
  });
  void checker.run();
  Promise.all([get(settings.schema_url), get(settings.actions_url)])
    .then(([schema, actions]) => { guide = new Guide(schema, actions); })
    .catch(() => say("There is no completion: the schema could not be read.", "failed"));
  element("cx-desk").dataset.ready = "";
};

begin();
