// @ts-check
// What an expression may name where the cursor stands: the input's fields, variables, results of steps.

/** @typedef {{id: string, name: string, type: string, scope: string}} Step */
/** @typedef {{input: any, vars: string[], items: string[]}} Names as workflows/console/writing.py gives them */
/** @typedef {{label: string, type: string, detail?: string, info?: string, apply?: string}} Option */

const ROOTS = [
  ["input", "What the execution was started with."],
  ["vars", "Variables that steps have assigned."],
  ["steps", "What earlier steps came to."],
  ["execution", "The execution itself: id, started_at, workflow, version."],
  ["error", "Inside a catch: what went wrong."],
  ["secrets", "Only in what an action is called with."],
];
const STEP_FIELDS = ["output", "state", "error", "attempts"];
const EXECUTION_FIELDS = ["id", "started_at", "workflow", "version"];
const FUNCTIONS = ("len int float str list round abs sum min max sorted any all range keys values items now date duration format_date " +
  "regex_match regex_search to_json from_json default").split(" ");
// Fields that are one expression; in all others an expression stands in braces.
const WHOLE = new Set(["when", "items", "key"]);

/** The part of an expression before the cursor; null where none is. @param {string} text @param {string|number|undefined} field */
export const expressionBefore = (text, field) => {
  const open = text.lastIndexOf("{{");
  if (open >= 0 && text.indexOf("}}", open) < 0) return text.slice(open + 2);
  return WHOLE.has(String(field)) ? text : null;
};

/** The expression of a line that a column is in: the one in braces, or a field that is one as a whole. @param {string} line @param {number} column */
export const expressionAt = (line, column) => {
  const braces = [...line.matchAll(/\{\{(.*?)\}\}/g)].find((found) => found.index <= column && column <= found.index + found[0].length);
  if (braces) return braces[1].trim();
  const field = /^[\s-]*"?(\w+)"?\s*:\s*(.*?),?\s*$/.exec(line);
  if (!field || !WHOLE.has(field[1])) return "";
  try {
    return String(JSON.parse(field[2]));
  } catch {
    return field[2].replace(/^'(.*)'$/, (_, text) => text.replaceAll("''", "'"));
  }
};

/** @param {string} expression its part before the cursor @param {Step[]} steps @param {Names} names @returns {{word: string, options: Option[]}|null} */
export const namesFor = (expression, steps, names) => {
  const typed = /(?:^|[^\w."'])((?:[A-Za-z_]\w*\.)*)(\w*)$/.exec(expression);
  if (!typed || insideText(expression)) return null;
  const path = typed[1].split(".").slice(0, -1);
  const word = typed[2];
  if (!path.length) return { word, options: [...roots(names), ...FUNCTIONS.map((label) => ({ label, type: "function", apply: `${label}(` }))] };
  return { word, options: members(path, steps, names) };
};

/** Whether the cursor is in a text of the expression. @param {string} expression */
const insideText = (expression) => {
  let quote = "";
  for (let at = 0; at < expression.length; at += 1) {
    const character = expression[at];
    if (character === "\\") at += 1;
    else if (quote) quote = character === quote ? "" : quote;
    else if (character === "'" || character === '"') quote = character;
  }
  return Boolean(quote);
};

/** @param {Names} names @returns {Option[]} */
const roots = (names) => [
  ...ROOTS.map(([label, info]) => ({ label, type: "variable", info })),
  ...names.items.map((label) => ({ label, type: "variable", detail: "of a map" })),
];

/** @param {string[]} path @param {Step[]} steps @param {Names} names @returns {Option[]} */
const members = ([root, ...rest], steps, names) => {
  if (root === "input") {
    const fields = rest.reduce((at, key) => at?.[key], names.input);
    return Object.keys(fields ?? {}).map((label) => ({ label, type: "property", detail: "input" }));
  }
  if (root === "steps" && !rest.length) return steps.map(({ id, name, type }) => ({ label: id, type: "property", detail: type, info: name }));
  if (root === "steps" && rest.length === 1) return STEP_FIELDS.map((label) => ({ label, type: "property", detail: rest[0] }));
  if (root === "vars" && !rest.length) return names.vars.map((label) => ({ label, type: "property", detail: "variable" }));
  if (root === "execution" && !rest.length) return EXECUTION_FIELDS.map((label) => ({ label, type: "property" }));
  return [];
};
