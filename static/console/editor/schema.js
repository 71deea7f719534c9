// @ts-check
// What the exported JSON Schema allows at a place of a document: unions are resolved by the `type`
// that stands beside it, the parameters of an action by its name.

/** @typedef {import("./where.js").Path} Path */
/** @typedef {{schema: any, root: any}} Spot a part of a schema, and the schema its references lead into */
/** @typedef {{description: string, idempotent: boolean, name: string, params_schema: any}} Action */
/** @typedef {{key: string, schema: any, detail: string, info: string, required: boolean, opens: string}} Key */
/** @typedef {{text: string, detail: string, info: string}} Value text: as JSON */

const TYPES = ["object", "array", "string", "integer", "number", "boolean", "null"];
// Of JSON Schema itself only what people write most.
const SCHEMA_OF_SCHEMAS = {
  type: "object",
  description: "A JSON Schema.",
  properties: {
    type: { enum: TYPES, description: "What kind of value it is." },
    properties: { type: "object", description: "The fields of an object.", additionalProperties: { $ref: "#" } },
    required: { type: "array", description: "The fields that have to be there.", items: { type: "string" } },
    additionalProperties: { type: "boolean", description: "Whether other fields are allowed." },
    items: { $ref: "#", description: "What every entry of a list is." },
    enum: { type: "array", description: "The only values that are allowed." },
    title: { type: "string", description: "What people call it; a form shows it." },
    description: { type: "string", description: "What it is for; a form shows it." },
    default: { description: "What a form begins with." },
    examples: { type: "array", description: "Values that fit." },
    format: { type: "string", examples: ["date", "date-time", "email", "uri"], description: "What a text means." },
    minimum: { type: "number", description: "The smallest number." },
    maximum: { type: "number", description: "The largest number." },
    minLength: { type: "integer", description: "The fewest characters." },
    maxLength: { type: "integer", description: "The most characters." },
    minItems: { type: "integer", description: "The fewest entries." },
    maxItems: { type: "integer", description: "The most entries." },
    pattern: { type: "string", description: "A regular expression that a text has to match." },
  },
};

/** @param {any} schema @returns {any[]} */
const unions = (schema) => schema.anyOf ?? schema.oneOf ?? schema.allOf ?? [];

export class Guide {
  /** @param {any} schema the schema of definitions @param {Action[]} actions */
  constructor(schema, actions) {
    this.schema = schema;
    this.actions = actions;
  }

  /** A reference resolved and unions opened, as far as what stands beside tells. @param {Spot} spot @param {Path} path @param {(path: Path) => string|undefined} look @returns {Spot[]} */
  open({ schema, root }, path, look, depth = 0) {
    if (!schema || typeof schema !== "object" || depth > 12) return [];
    if (typeof schema.$ref === "string") {
      const local = schema.$ref.startsWith("#");
      const found = local ? schema.$ref.slice(1).split("/").filter(Boolean).reduce((/** @type {any} */ at, /** @type {string} */ key) => at?.[key], root) : SCHEMA_OF_SCHEMAS;
      return this.open({ schema: found, root: local ? root : SCHEMA_OF_SCHEMAS }, path, look, depth + 1);
    }
    const kinds = schema.discriminator;
    const chosen = kinds && kinds.mapping[look([...path, kinds.propertyName]) ?? ""];
    if (chosen) return this.open({ schema: { $ref: chosen }, root }, path, look, depth + 1);
    const inner = unions(schema);
    if (!inner.length) return [{ schema, root }];
    return inner.flatMap((/** @type {any} */ each) => this.open({ schema: each, root }, path, look, depth + 1));
  }

  /** Everything that may stand at a path. @param {Path} path @param {(path: Path) => string|undefined} look @returns {Spot[]} */
  at(path, look) {
    let spots = this.open({ schema: this.schema, root: this.schema }, [], look);
    path.forEach((key, index) => {
      const here = path.slice(0, index);
      spots = spots.flatMap((spot) => this.open(this.inside(spot, key, here, look), path.slice(0, index + 1), look));
    });
    return spots;
  }

  /** @param {Spot} spot @param {string|number} key @param {Path} here @param {(path: Path) => string|undefined} look @returns {Spot} */
  inside({ schema, root }, key, here, look) {
    if (typeof key === "number") return { schema: schema.items, root };
    const own = schema.properties?.[key];
    if (key === "with" && own) {
      const action = this.actions.find((each) => each.name === look([...here, "action"]));
      if (action?.params_schema) return { schema: action.params_schema, root: action.params_schema };
    }
    return { schema: own ?? (typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined), root };
  }

  /** The keys that an object may have; of a union only those that all its members know. @param {Path} path @param {(path: Path) => string|undefined} look @returns {Key[]} */
  keys(path, look) {
    const objects = this.at(path, look).filter(({ schema }) => schema.properties);
    const names = new Set(objects.flatMap(({ schema }) => Object.keys(schema.properties)));
    const isKind = objects.length > 1;
    return [...names].filter((name) => objects.every(({ schema }) => name in schema.properties)).map((name) => {
      const { schema, root } = objects[0];
      const own = schema.properties[name];
      const opened = this.open({ schema: own, root }, [...path, name], look).map((each) => each.schema);
      const kinds = [...new Set(opened.flatMap((each) => each.type ?? (each.properties ? "object" : [])))].filter((kind) => kind !== "null");
      return {
        key: name, schema: own, detail: kinds.join(" or "), info: own.description ?? opened[0]?.description ?? "",
        required: !isKind && (schema.required ?? []).includes(name), opens: kinds.length === 1 ? kinds[0] : "",
      };
    });
  }

  /** The values that may stand at a path, as far as they are known. @param {Path} path @param {(path: Path) => string|undefined} look @returns {Value[]} */
  values(path, look) {
    if (path.at(-1) === "type") {
      const kinds = this.at(path.slice(0, -1), () => undefined).map(({ schema }) => [schema.properties?.type?.const, schema.description]);
      const known = kinds.filter(([kind]) => kind !== undefined);
      if (known.length > 1) return known.map(([kind, info]) => ({ text: JSON.stringify(kind), detail: "type of step", info: info ?? "" }));
    }
    /** @type {Map<string, Value>} */
    const found = new Map();
    const add = (/** @type {any} */ value, /** @type {string} */ detail, /** @type {any} */ schema) => {
      const text = JSON.stringify(value);
      if (value !== null && !found.has(text)) found.set(text, { text, detail, info: schema.description ?? "" });
    };
    this.at(path, look).forEach(({ schema }) => {
      if ("const" in schema) add(schema.const, "", schema);
      (schema.enum ?? []).forEach((/** @type {any} */ value) => add(value, "", schema));
      if (schema.type === "boolean") [true, false].forEach((value) => add(value, "", schema));
      (schema.examples ?? []).forEach((/** @type {any} */ value) => add(value, "example", schema));
    });
    return [...found.values()];
  }
}
