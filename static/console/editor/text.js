// @ts-check
// The text itself: CodeMirror with our keys, marks and looks, and where each step stands in it.
import { expressionAt } from "./names.js";
import {
  Annotation, Compartment, Decoration, EditorState, EditorView, StateEffect, StateField, autocompletion, bracketMatching,
  classHighlighter, closeBrackets, closeBracketsKeymap, completionKeymap, defaultKeymap, drawSelection, foldGutter, foldKeymap,
  highlightActiveLine, highlightActiveLineGutter, highlightSelectionMatches, history, historyKeymap, indentOnInput, indentUnit,
  indentWithTab, json, keymap, lineNumbers, lintGutter, lintKeymap, search, searchKeymap, setDiagnostics, syntaxHighlighting, yaml,
} from "../../vendor/codemirror/codemirror.esm.js";

/** @typedef {{line: number, column: number, end_line: number, end_column: number}} Marks lines and columns from 1 */
/** @typedef {Marks & {path: string, code: string, message: string}} Problem */
/** @typedef {{id: string, from: number, to: number}} Standing */

/** @type {any} */
const setSteps = StateEffect.define();
/** @type {any} */
const fromOutside = Annotation.define();
const CURRENT = Decoration.line({ class: "cx-step-line" });

/** Where each step stands; what is written moves them along. @type {any} */
const stepsField = StateField.define({
  create: () => [],
  update: (/** @type {Standing[]} */ steps, /** @type {any} */ transaction) => {
    const set = transaction.effects.find((/** @type {any} */ effect) => effect.is(setSteps));
    if (set) return set.value;
    if (!transaction.docChanged) return steps;
    return steps.map(({ id, from, to }) => ({ id, from: transaction.changes.mapPos(from, 1), to: transaction.changes.mapPos(to, 1) }));
  },
});

/** @param {any} doc @param {number} line @param {number} column */
const offset = (doc, line, column) => {
  const found = doc.line(Math.min(Math.max(line, 1), doc.lines));
  return Math.min(found.from + Math.max(column - 1, 0), found.to);
};

/** @param {any} state @returns {string} the id of the innermost step around the cursor */
export const stepAt = (state) => {
  const pos = state.selection.main.head;
  const line = state.doc.lineAt(pos);
  // What is being typed behind the end of a step belongs to it until the next answer knows better.
  const isIn = (/** @type {Standing} */ { from, to }) =>
    from <= pos && (pos <= to || (to >= line.from && /^[\s,:-]*$/.test(state.sliceDoc(to, pos))));
  return state.field(stepsField).findLast(isIn)?.id ?? "";
};

/** The lines of the step around the cursor. @type {any} */
const currentLines = EditorView.decorations.compute(["selection", stepsField], (/** @type {any} */ state) => {
  const step = state.field(stepsField).find((/** @type {Standing} */ each) => each.id === stepAt(state));
  if (!step) return Decoration.none;
  const lines = [];
  const last = state.doc.lineAt(Math.min(step.to, state.doc.length)).number;
  for (let number = state.doc.lineAt(step.from).number; number <= last; number += 1) lines.push(CURRENT.range(state.doc.line(number).from));
  return Decoration.set(lines);
});

/**
 * @typedef {object} Wants
 * @property {HTMLElement} parent
 * @property {string} text
 * @property {string} language
 * @property {(context: any) => any} complete
 * @property {() => void} onChange
 * @property {() => void} onMove
 * @property {() => void} onSave
 */

export class TextEditor {
  /** @param {Wants} wants */
  constructor(wants) {
    this.language = wants.language;
    this.languages = new Compartment();
    const keys = [
      { key: "Mod-s", preventDefault: true, run: () => (wants.onSave(), true) },
      ...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...completionKeymap, ...lintKeymap, indentWithTab,
    ];
    this.view = new EditorView({
      parent: wants.parent,
      state: EditorState.create({
        doc: wants.text,
        extensions: [
          lineNumbers(), highlightActiveLineGutter(), highlightActiveLine(), foldGutter(), lintGutter(), history(), drawSelection(),
          indentOnInput(), indentUnit.of("  "), bracketMatching(), closeBrackets(), search({ top: true }), highlightSelectionMatches(),
          syntaxHighlighting(classHighlighter), stepsField, currentLines, keymap.of(keys),
          autocompletion({ override: [wants.complete], icons: false }),
          this.languages.of(this.parser()),
          EditorView.contentAttributes.of({ "aria-label": "Definition", "aria-describedby": "definition-help", spellcheck: "false", tabindex: "0" }),
          EditorView.lineWrapping,
          EditorView.updateListener.of((/** @type {any} */ update) => {
            if (update.docChanged) wants.onChange();
            if (update.selectionSet || update.docChanged) wants.onMove();
          }),
        ],
      }),
    });
  }

  parser() {
    return this.language === "yaml" ? yaml() : json();
  }

  /** @returns {string} */
  get text() {
    return this.view.state.doc.toString();
  }

  /** Another text in another language; one step of the history. @param {string} text @param {string} language */
  replace(text, language) {
    this.language = language;
    this.view.dispatch({
      changes: { from: 0, to: this.view.state.doc.length, insert: text },
      effects: [this.languages.reconfigure(this.parser()), setSteps.of([])],
      selection: { anchor: 0 },
      annotations: fromOutside.of(true),
    });
  }

  /** @param {Problem[]} problems */
  show(problems) {
    const doc = this.view.state.doc;
    const marks = problems.map((problem) => {
      const from = offset(doc, problem.line, problem.column);
      const end = offset(doc, problem.end_line, problem.end_column);
      // A whole object would be too much to underline: its first line says where it is.
      const to = Math.max(from, Math.min(end, doc.lineAt(from).to));
      return { from, to, severity: "error", message: problem.message, source: problem.path };
    });
    this.view.dispatch(setDiagnostics(this.view.state, marks));
  }

  /** @param {(Marks & {id: string})[]} steps */
  place(steps) {
    const doc = this.view.state.doc;
    this.view.dispatch({
      effects: setSteps.of(steps.map((step) => ({ id: step.id, from: offset(doc, step.line, step.column), to: offset(doc, step.end_line, step.end_column) }))),
    });
  }

  /** @returns {string} */
  get step() {
    return stepAt(this.view.state);
  }

  /** What is selected, or else the expression that the cursor is in; empty where there is none. @returns {string} */
  get expression() {
    const { state } = this.view;
    const { from, to, head } = state.selection.main;
    if (from !== to) return state.sliceDoc(from, to);
    const line = state.doc.lineAt(head);
    return expressionAt(line.text, head - line.from);
  }

  /** Write the version's number where it stands, or before the name. @param {string} number @param {Marks & {is_there: boolean}} place */
  setNumber(number, place) {
    const { doc } = this.view.state;
    const from = offset(doc, place.line, place.column);
    const inBraces = this.language === "json" || /^(\s|#.*\n)*(---\s*)?\{/.test(this.text);
    let to = from;
    let insert = "";
    if (place.is_there) {
      to = offset(doc, place.end_line, place.end_column);
      const quote = /^["']/.exec(doc.sliceString(from, to))?.[0] ?? (inBraces ? '"' : "");
      // In YAML nothing at all is a value too, and begins right behind the colon.
      insert = `${to > from ? "" : " "}${quote}${number}${quote}`;
    } else {
      const before = doc.sliceString(doc.lineAt(from).from, from);
      const between = /^\s*$/.test(before) ? `\n${before}` : " ";
      insert = (inBraces ? `"version": "${number}",` : `version: ${number}`) + between;
    }
    this.view.dispatch({ changes: { from, to, insert }, selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: "center" }) });
    this.view.focus();
  }

  /** @param {string} id */
  goToStep(id) {
    const step = this.view.state.field(stepsField).find((/** @type {Standing} */ each) => each.id === id);
    if (step) this.goTo(step.from);
  }

  /** @param {Marks} marks */
  goToPlace(marks) {
    this.goTo(offset(this.view.state.doc, marks.line, marks.column));
  }

  /** @param {number} pos */
  goTo(pos) {
    this.view.dispatch({ selection: { anchor: pos }, effects: EditorView.scrollIntoView(pos, { y: "center" }) });
    this.view.focus();
  }
}
