// @ts-check
// The same as where.js for YAML in block style. A line that is still being typed breaks the syntax
// tree of everything around it, and what its indentation says does not depend on that.

/** @typedef {import("./where.js").Where} Where */
/** @typedef {import("./where.js").Path} Path */
/** @typedef {{dashes: number[], column: number, key: string|null, value: string, content: string}} Line columns from 0 */
/** @typedef {{path: Path, line: number, column: number}} Level a mapping around the cursor and one of its lines */

const KEY = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'#{}[\],&*!|>%@`-][^:#]*?|-[^\s:][^:]*?)\s*:(?:\s+(.*))?$/;

/** @param {string} text @returns {Line|null} null for what has no structure: blank lines and comments */
export const readLine = (text) => {
  const dashes = [];
  let column = text.length - text.trimStart().length;
  let rest = text.slice(column);
  while (/^-(\s|$)/.test(rest)) {
    dashes.push(column);
    const inner = rest.slice(1);
    const skipped = 1 + inner.length - inner.trimStart().length;
    column += skipped;
    rest = rest.slice(skipped);
  }
  if (!dashes.length && (!rest || rest.startsWith("#"))) return null;
  const found = KEY.exec(rest);
  const key = found ? unquoted(found[1]) : null;
  return { dashes, column, key, value: (found?.[2] ?? "").replace(/\s+#.*$/, "").trim(), content: rest };
};

/** @param {string} text */
const unquoted = (text) => {
  if (text.startsWith("'") && text.endsWith("'") && text.length > 1) return text.slice(1, -1).replaceAll("''", "'");
  if (!text.startsWith('"')) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text.replace(/^"|"$/g, "");
  }
};

/** Reads one YAML text, line by line from the cursor up. */
class YamlText {
  /** @param {any} doc CodeMirror's text */
  constructor(doc) {
    this.doc = doc;
    /** @type {Level[]} */
    this.levels = [];
  }

  /** @param {number} number from 1 */
  line(number) {
    return readLine(this.doc.line(number).text);
  }

  /** The path of the mapping whose keys stand in a column, seen from a line of it. @param {number} number @param {number} column @param {Line} own @returns {Path} */
  mapping(number, column, own) {
    let line = own;
    let at = number;
    while (!line.dashes.length || line.column !== column) {
      const above = this.above(at, (each) => each.column <= column);
      if (!above) break;
      at = above.number;
      line = above.line;
      if (line.column < column) {
        const path = line.key === null ? [] : [...this.mapping(at, line.column, line), line.key];
        return this.level(path, number, column);
      }
    }
    if (line.dashes.length && line.column === column) {
      return this.level(this.item(at, line, line.dashes.length - 1), number, column);
    }
    return this.level([], number, column);
  }

  /** @param {Path} path @param {number} line @param {number} column @returns {Path} */
  level(path, line, column) {
    this.levels.push({ path, line, column });
    return path;
  }

  /** The path of an item of a list. @param {number} number @param {Line} line @param {number} which of its dashes @returns {Path} */
  item(number, line, which) {
    const column = line.dashes[which];
    if (which > 0) return [...this.item(number, line, which - 1), 0];
    let index = 0;
    let at = number;
    for (;;) {
      const above = this.above(at, (each) => each.dashes.includes(column) || each.column <= column);
      if (!above) return [index];
      at = above.number;
      const place = above.line.dashes.indexOf(column);
      if (place < 0) {
        const path = above.line.key === null ? [] : [...this.mapping(at, above.line.column, above.line), above.line.key];
        return [...path, index];
      }
      index += 1;
      if (place > 0) return [...this.item(at, above.line, place - 1), index];
    }
  }

  /** The nearest line above that counts. @param {number} number @param {(line: Line) => boolean} counts */
  above(number, counts) {
    for (let at = number - 1; at >= 1; at -= 1) {
      const line = this.line(at);
      if (line && counts(line)) return { number: at, line };
    }
    return null;
  }

  /** The keys of a mapping with the values on their lines. @param {Level} level @returns {Map<string, string>} */
  members(level) {
    const found = new Map();
    const note = (/** @type {Line|null} */ line) => {
      if (line?.key != null && line.column === level.column) found.set(line.key, unquoted(line.value));
    };
    for (let at = level.line; at >= 1; at -= 1) {
      const line = this.line(at);
      if (line && line.column < level.column) break;
      if (line) note(line);
      if (line?.dashes.length && line.column === level.column) break;
    }
    for (let at = level.line + 1; at <= this.doc.lines; at += 1) {
      const line = this.line(at);
      const begins = line?.dashes.length ? line.dashes[0] : line?.column ?? Infinity;
      if (begins < level.column) break;
      note(line);
    }
    return found;
  }

  /** @param {Path} path @returns {string|undefined} */
  look(path) {
    const around = path.slice(0, -1);
    const level = this.levels.find((each) => each.path.length === around.length && each.path.every((key, index) => key === around[index]));
    return level && this.members(level).get(String(path.at(-1)));
  }

  /** @param {number} pos @returns {Where|null} */
  at(pos) {
    const here = this.doc.lineAt(pos);
    const before = here.text.slice(0, pos - here.from);
    const after = here.text.slice(pos - here.from);
    if (/(^|\s)#/.test(before) && !/["']/.test(before)) return null;
    const text = this.textAround(here.number, before);
    if (text) return this.where(text.path, "value", pos, before, { block: true });
    const line = readLine(before) ?? { dashes: [], column: before.length, key: null, value: "", content: "" };
    if (line.key === null) {
      const path = this.mapping(here.number, line.column, line);
      const word = /^["']?[\w-]*$/.test(line.content) ? line.content : null;
      if (word === null) return this.where(path, "value", pos, line.content, {});
      const tail = /^[\w-]*/.exec(after)?.[0] ?? "";
      const kind = line.dashes.length ? "either" : "key";
      const hasColon = /^["']?\s*:/.test(after.slice(tail.length));
      return this.where(path, kind, pos, word, { to: pos + tail.length, hasColon, own: word + tail });
    }
    const path = [...this.mapping(here.number, line.column, line), line.key];
    const value = before.slice(line.column).replace(/^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^:]*):\s*/, "");
    if (/^[{[]/.test(value)) return null;
    return this.where(path, "value", pos, value, {});
  }

  /** The text of several lines that a line belongs to. @param {number} number @param {string} before */
  textAround(number, before) {
    const indent = before.length - before.trimStart().length;
    const above = this.above(number, (each) => each.column < Math.max(indent, 1) || each.dashes.some((dash) => dash < indent));
    if (!above || above.line.key === null || !/^[|>][-+\d]*$/.test(above.line.value)) return null;
    return { path: [...this.mapping(above.number, above.line.column, above.line), above.line.key] };
  }

  /** @param {Path} path @param {Where["kind"]} kind @param {number} pos @param {string} text @param {{to?: number, hasColon?: boolean, own?: string, block?: boolean}} more @returns {Where} */
  where(path, kind, pos, text, more) {
    const quoted = /^["']/.test(text);
    const typed = quoted ? text.slice(1) : text;
    const level = this.levels.find((each) => each.path === path);
    const taken = kind !== "value" && level ? [...this.members(level).keys()] : [];
    return {
      path, kind, from: pos - typed.length, to: more.to ?? pos, text: typed, quoted,
      hasColon: more.hasColon ?? false, block: more.block ?? false,
      taken: taken.filter((key) => key !== more.own), look: (wanted) => this.look(wanted),
    };
  }
}

/** @param {any} state @param {number} pos @returns {Where|null} */
export const whereInYaml = (state, pos) => new YamlText(state.doc).at(pos);
