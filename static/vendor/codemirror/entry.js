// What the console's editor uses of CodeMirror, as one file: see README.md for how it is built.
export { Annotation, Compartment, EditorState, StateEffect, StateField, Transaction } from "@codemirror/state";
export { Decoration, EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers } from "@codemirror/view";
export { bracketMatching, ensureSyntaxTree, foldGutter, foldKeymap, indentOnInput, indentUnit, syntaxHighlighting, syntaxTree } from "@codemirror/language";
export { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
export { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, completionStatus, startCompletion } from "@codemirror/autocomplete";
export { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
export { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
export { json, jsonLanguage } from "@codemirror/lang-json";
export { yaml, yamlLanguage } from "@codemirror/lang-yaml";
export { classHighlighter } from "@lezer/highlight";
