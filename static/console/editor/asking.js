// @ts-check
// Questions to the server that are answered in JSON.

/** @typedef {(url: string, body: object) => Promise<any>} Ask */

// What an answer without a sentence of its own means.
const MEANINGS = /** @type {Record<number, string>} */ ({
  403: "You may not do this, or you have signed in anew: reload the page once your text is kept elsewhere.",
  404: "It is not here any more: somebody has deleted it, or given it another number.",
  413: "The text is larger than this server takes.",
});

/** What the server refused, with its problems. */
export class Refused extends Error {
  /** @param {number} status @param {any} answer */
  constructor(status, answer) {
    super(answer.message || MEANINGS[status] || `The server answered ${status}.`);
    this.status = status;
    this.answer = answer;
  }
}

/** @returns {string} */
const token = () => /** @type {HTMLInputElement|null} */ (document.querySelector("[name=csrfmiddlewaretoken]"))?.value ?? "";

/** @param {Response} answer */
const read = async (answer) => {
  if (answer.redirected) throw new Error("You are signed out: sign in again in another tab.");
  const isJson = answer.headers.get("Content-Type")?.startsWith("application/json");
  const found = isJson ? await answer.json() : {};
  if (!answer.ok) throw new Refused(answer.status, found);
  return found;
};

/** @param {() => Promise<Response>} request */
const sent = async (request) => {
  let answer;
  try {
    answer = await request();
  } catch {
    throw new Error("the server can't be reached.");
  }
  return read(answer);
};

/** @type {Ask} */
export const ask = (url, body) =>
  sent(() => fetch(url, { method: "POST", headers: { "Content-Type": "application/json", "X-CSRFToken": token() }, body: JSON.stringify(body) }));

/** @param {string} url */
export const get = (url) => sent(() => fetch(url, { headers: { Accept: "application/json" } }));

/** @param {string} url @param {FormData} form */
export const post = (url, form) => sent(() => fetch(url, { method: "POST", headers: { "X-Part": "save" }, body: form }));
