// @ts-check
// The panel in which an expression is tried against what an execution came to.
import { Refused, ask } from "./asking.js";

const panel = /** @type {HTMLElement} */ (document.getElementById("cx-trying"));
const form = /** @type {HTMLFormElement} */ (panel.querySelector("form"));
const result = /** @type {HTMLElement} */ (document.getElementById("try-result"));
const here = /** @type {HTMLButtonElement} */ (document.getElementById("try-here"));
const field = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
const MAX_SHOWN = 20_000;

/** @param {string} tag @param {string} name @param {string} text */
const make = (tag, name, text) => {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
};

/** @param {any} answer */
const show = (answer) => {
  const text = JSON.stringify(answer.value, null, 2);
  const value = make("pre", "cx-tried", text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);
  value.tabIndex = 0;
  value.setAttribute("aria-label", "What it comes to");
  const wanted = field("step").value.trim();
  const seen = wanted && !answer.step ? `It never came to ${wanted}: this is all that there was.` : "";
  result.replaceChildren(value, ...(seen ? [make("p", "cx-small cx-soft", seen)] : []));
};

/** @param {any} error */
const refuse = (error) => {
  const details = error instanceof Refused ? error.answer.details ?? [] : [];
  const place = details[0]?.path?.replace(/^\$\.(expression|template)/, "");
  result.replaceChildren(make("p", "cx-errors", `${place ? `${place}: ` : ""}${error.message}`));
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = field("text").value;
  if (!text.trim()) return void field("text").focus();
  ask(form.dataset.url ?? "", { text, execution: field("execution").value.trim(), step: field("step").value.trim() }).then(show, refuse);
});

// Only where there is a text to take it from.
here.hidden = !document.getElementById("cx-editor");
here.addEventListener("click", () => {
  const taken = { text: "", step: "" };
  document.dispatchEvent(new CustomEvent("cx:expression", { detail: taken }));
  if (!taken.text) return result.replaceChildren(make("p", "cx-small cx-soft", "There is no expression where the cursor stands."));
  field("text").value = taken.text;
  field("step").value = taken.step;
  form.requestSubmit();
});
