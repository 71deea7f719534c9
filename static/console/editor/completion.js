// @ts-check
// Completion from the schema, the actions and the document itself, in both languages.
import { startCompletion } from "../../vendor/codemirror/codemirror.esm.js";
import { expressionBefore, namesFor } from "./names.js";
import { whereInJson } from "./where.js";
import { whereInYaml } from "./where_yaml.js";

/** @typedef {import("./where.js").Where} Where */
/** @typedef {import("./schema.js").Guide} Guide */
/** @typedef {import("./schema.js").Key} Key */
/** @typedef {{language: () => string, guide: () => Guide|null, steps: () => any[], names: () => any}} Known */

const WORD = /^[\w.-]*$/;

/** @param {Known} known @returns {(context: any) => any} a completion source of CodeMirror */
export const completionSource = (known) => (context) => {
  const guide = known.guide();
  const isYaml = known.language() === "yaml";
  const where = guide && (isYaml ? whereInYaml : whereInJson)(context.state, context.pos);
  if (!guide || !where) return null;
  const formula = where.kind === "value" ? expressionBefore(where.text, where.path.at(-1)) : null;
  if (formula !== null) return expressions(formula, context, known);
  if (where.block) return null;
  const options = [
    ...(where.kind === "value" ? [] : keyOptions(guide, where, isYaml, context.state)),
    ...(where.kind === "key" ? [] : valueOptions(guide, where, isYaml, known)),
  ];
  const isAsked = context.explicit || where.text || where.quoted || where.kind === "value";
  return isAsked && options.length ? { from: where.from, to: where.to, options, validFor: WORD } : null;
};

/** @param {string} formula @param {any} context @param {Known} known */
const expressions = (formula, context, known) => {
  const found = namesFor(formula, known.steps(), known.names());
  if (!found || !(context.explicit || found.word || formula.endsWith("."))) return null;
  return { from: context.pos - found.word.length, options: found.options, validFor: /^\w*$/ };
};

/** @param {Guide} guide @param {Where} where @param {boolean} isYaml @param {any} state */
const keyOptions = (guide, where, isYaml, state) =>
  guide.keys(where.path, where.look).filter(({ key }) => !where.taken.includes(key)).map((each, index) => ({
    label: each.key, type: "property", detail: each.required ? `${each.detail}, required` : each.detail, info: each.info || undefined,
    boost: (each.required ? 50 : 0) - Math.min(index, 40),
    apply: isYaml ? applyYamlKey(each, where, state) : applyJsonKey(each, where),
  }));

/** Put a text in, the cursor at the `¦` in it, and offer what can stand there. @param {string} text */
const put = (text) => (/** @type {any} */ view, /** @type {any} */ _completion, /** @type {number} */ from, /** @type {number} */ to) => {
  const at = text.indexOf("¦");
  const plain = text.replace("¦", "");
  view.dispatch({ changes: { from, to, insert: plain }, selection: { anchor: from + (at < 0 ? plain.length : at) }, userEvent: "input.complete", scrollIntoView: true });
  if (at >= 0) setTimeout(() => startCompletion(view), 0);
};

const BEGINNINGS = /** @type {Record<string, string>} */ ({ object: "{¦}", array: "[¦]", string: '"¦"' });

/** @param {Key} key @param {Where} where */
const applyJsonKey = ({ key, opens }, where) => {
  if (where.hasColon) return put(where.quoted ? key : JSON.stringify(key));
  const value = BEGINNINGS[opens] ?? "¦";
  return where.quoted
    // The closing quote stands already: the value goes behind it.
    ? (/** @type {any} */ view, /** @type {any} */ completion, /** @type {number} */ from, /** @type {number} */ to) => {
      const closed = view.state.sliceDoc(to, to + 1) === '"';
      put(`${key}": ${value}`)(view, completion, from, to + (closed ? 1 : 0));
    }
    : put(`${JSON.stringify(key)}: ${value}`);
};

/** @param {Key} key @param {Where} where @param {any} state */
const applyYamlKey = ({ key, opens }, where, state) => {
  if (where.hasColon || where.quoted) return put(key);
  const line = state.doc.lineAt(where.from);
  const indent = " ".repeat(where.from - line.from + 2);
  if (opens === "object") return put(`${key}:\n${indent}¦`);
  if (opens === "array") return put(`${key}:\n${indent}- ¦`);
  return put(`${key}: ¦`);
};

/** @param {Guide} guide @param {Where} where @param {boolean} isYaml @param {Known} known */
const valueOptions = (guide, where, isYaml, known) => {
  const special = specialValues(guide, where, known);
  const options = special ?? guide.values(where.path, where.look).map(({ text, detail, info }) => ({ text, detail, info, type: "enum" }));
  return options.map(({ text, detail, info, type }, index) => {
    const value = JSON.parse(text);
    const plain = typeof value === "string" ? value : text;
    const needsQuotes = typeof value === "string" && !where.quoted && !(isYaml && /^[A-Za-z][\w.-]*$/.test(value) && !/^(true|false|null|yes|no|on|off)$/i.test(value));
    return { label: plain, type, detail: detail || undefined, info: info || undefined, boost: -Math.min(index, 40), apply: needsQuotes ? JSON.stringify(value) : plain };
  });
};

/** Values that no schema knows: names of actions, ids of steps. @param {Guide} guide @param {Where} where @param {Known} known */
const specialValues = (guide, { path, look }, known) => {
  const field = path.at(-1);
  if (field === "action" && (path.at(-2) === "config" || path.at(-2) === "compensate")) {
    return guide.actions.map(({ name, description }) => ({ text: JSON.stringify(name), detail: "action", info: description, type: "function" }));
  }
  const isTarget = field === "next" || (field === "default" && path.at(-2) === "config" && look([...path.slice(0, -2), "type"]) === "choice");
  if (!isTarget) return null;
  const steps = known.steps();
  const around = stepAround(path, look);
  const scope = steps.find((step) => step.id === around)?.scope;
  const beside = steps.filter((step) => step.id !== around && (scope === undefined || step.scope === scope));
  return [...beside.map(({ id, name, type }) => ({ text: JSON.stringify(id), detail: type, info: name, type: "property" })),
    { text: '"end"', detail: "of the scope", info: "", type: "keyword" }];
};

/** The id of the step that a path is in. @param {import("./where.js").Path} path @param {Where["look"]} look */
const stepAround = (path, look) => {
  for (let at = path.length - 1; at > 0; at -= 1) {
    if (typeof path[at] === "number" && (path[at - 1] === "steps" || path[at - 1] === "finally")) return look([...path.slice(0, at + 1), "id"]);
  }
  return undefined;
};
