// @ts-check
// Where the cursor stands in a document that is still being written: in a key or in a value, at which
// JSON path, and what stands beside it. JSON is read from CodeMirror's syntax tree.
import { ensureSyntaxTree } from "../../vendor/codemirror/codemirror.esm.js";

/**
 * @typedef {(string|number)[]} Path
 * @typedef {object} Where
 * @property {Path} path of the object that a key is typed in, or of the value that is typed
 * @property {"key"|"value"|"either"} kind either: a word that may become a key or a value of a list
 * @property {number} from where the word begins that is typed
 * @property {number} to where it ends
 * @property {string} text the value from its beginning to the cursor
 * @property {boolean} quoted it stands in quotes already
 * @property {boolean} hasColon a colon follows
 * @property {boolean} block a text of several lines
 * @property {string[]} taken keys that the object has already
 * @property {(path: Path) => string|undefined} look the scalar at a path around the cursor
 */

const MILLISECONDS = 200;
const VALUES = new Set(["Object", "Array", "String", "Number", "True", "False", "Null"]);

/** @param {string} text a JSON string @returns {string} */
const unquoted = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text.replace(/^"|"$/g, "");
  }
};

/** @param {any} node @returns {any[]} */
const children = (node) => {
  const found = [];
  for (let child = node.firstChild; child; child = child.nextSibling) found.push(child);
  return found;
};

/** Reads one JSON text. */
class JsonText {
  /** @param {any} state */
  constructor(state) {
    this.state = state;
  }

  /** @param {any} node */
  text(node) {
    return this.state.sliceDoc(node.from, node.to);
  }

  /** @param {any} property */
  name(property) {
    const name = property.getChild("PropertyName");
    return name ? unquoted(this.text(name)) : "";
  }

  /** The path of a value. @param {any} node @returns {Path} */
  path(node) {
    /** @type {Path} */
    const path = [];
    for (let here = node; here?.parent; here = here.parent) {
      if (here.parent.name === "Property") path.unshift(this.name(here.parent));
      if (here.parent.name === "Array") {
        path.unshift(children(here.parent).filter((each) => VALUES.has(each.name) && each.to <= here.from).length);
      }
    }
    return path;
  }

  /** @param {any} object @returns {Map<string, string>} its members that are no objects or lists */
  members(object) {
    const found = new Map();
    object.getChildren("Property").forEach((/** @type {any} */ property) => {
      const value = children(property).find((each) => VALUES.has(each.name));
      const text = value ? this.text(value) : "";
      found.set(this.name(property), value?.name === "String" ? unquoted(text) : value && !value.firstChild ? text : "");
    });
    return found;
  }

  /** @param {any} node @returns {(path: Path) => string|undefined} */
  look(node) {
    return (path) => {
      const around = path.slice(0, -1);
      for (let here = node; here; here = here.parent) {
        if (here.name !== "Object") continue;
        const own = this.path(here);
        if (own.length === around.length && own.every((key, index) => key === around[index])) {
          return this.members(here).get(String(path.at(-1)));
        }
      }
      return undefined;
    };
  }

  /** @param {number} pos @returns {Where|null} */
  at(pos) {
    const tree = ensureSyntaxTree(this.state, pos, MILLISECONDS);
    if (!tree) return null;
    let node = tree.resolveInner(pos, -1);
    const common = { look: this.look(node), taken: /** @type {string[]} */ ([]), block: false, hasColon: false };
    const isInside = node.from < pos && (pos < node.to || !this.text(node).endsWith('"') || node.to - node.from === 1);
    if (node.name === "PropertyName" && isInside) return this.key(node.parent.parent, node.from + 1, node.to - 1, pos, true, node);
    if (node.name === "String" && isInside) {
      return { ...common, path: this.path(node), kind: "value", from: node.from + 1, to: Math.max(pos, node.to - 1), text: this.state.sliceDoc(node.from + 1, pos), quoted: true };
    }
    const word = /[\w.-]*$/.exec(this.state.sliceDoc(Math.max(0, pos - 80), pos))?.[0] ?? "";
    const from = pos - word.length;
    if (!["Object", "Array", "Property", "JsonText"].includes(node.name)) node = node.parent;
    while (node && !["Object", "Array", "Property"].includes(node.name)) node = node.parent;
    if (!node) return null;
    const property = node.name === "Property" ? node : node.getChildren("Property").filter((/** @type {any} */ each) => each.from < from).at(-1);
    if (node.name !== "Array" && property && this.wantsValue(property, from)) {
      const path = [...this.path(property.parent), this.name(property)];
      return { ...common, path, kind: "value", from, to: pos, text: word, quoted: false };
    }
    if (node.name === "Array") {
      const before = children(node).filter((each) => VALUES.has(each.name) && each.to <= from).length;
      return { ...common, path: [...this.path(node), before], kind: "value", from, to: pos, text: word, quoted: false };
    }
    return this.key(node.name === "Property" ? node.parent : node, from, pos, pos, false, node);
  }

  /** @param {any} property @param {number} pos */
  wantsValue(property, pos) {
    const name = property.getChild("PropertyName");
    if (!name || name.to > pos) return false;
    const value = children(property).find((each) => VALUES.has(each.name));
    if (value && value.to <= pos && value.from < pos) return false;
    return /^\s*:\s*$/.test(this.state.sliceDoc(name.to, pos));
  }

  /** @param {any} object @param {number} from @param {number} to @param {number} pos @param {boolean} quoted @param {any} node @returns {Where} */
  key(object, from, to, pos, quoted, node) {
    const own = this.state.sliceDoc(from, to);
    const after = this.state.sliceDoc(quoted ? to + 1 : to, to + 20);
    return {
      path: this.path(object), kind: "key", from, to, text: this.state.sliceDoc(from, pos), quoted,
      hasColon: /^\s*:/.test(after), block: false,
      taken: [...this.members(object).keys()].filter((key) => key !== own), look: this.look(node),
    };
  }
}

/** @param {any} state @param {number} pos @returns {Where|null} */
export const whereInJson = (state, pos) => new JsonText(state).at(pos);
