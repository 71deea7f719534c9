// @ts-check
// Asks the server what is wrong with the text, while it is being written: one question at a time, the
// latest text only, and never in the way of typing.

/** @typedef {import("./asking.js").Ask} Ask */

const PAUSE = 350;
const SLOW = 2500;
const AGAIN = 5000;

/**
 * @typedef {object} Hooks
 * @property {() => string} text
 * @property {() => object} about what goes along with the text
 * @property {(answer: any) => void} onAnswer only for the text as it still is
 * @property {(words: string, look?: string) => void} say
 */

export class Checker {
  /** @param {(body: object) => Promise<any>} ask @param {Hooks} hooks */
  constructor(ask, hooks) {
    this.ask = ask;
    this.hooks = hooks;
    this.timer = 0;
    this.isBusy = false;
    this.isDirty = false;
  }

  /** The text has changed. */
  changed() {
    this.isDirty = true;
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.run(), PAUSE);
  }

  /** Ask now; while an answer is awaited, afterwards. */
  async run() {
    window.clearTimeout(this.timer);
    if (this.isBusy) return;
    this.isBusy = true;
    this.isDirty = false;
    const text = this.hooks.text();
    const slow = window.setTimeout(() => this.hooks.say("Still being checked…"), SLOW);
    let wait = 0;
    try {
      const answer = await this.ask({ text, ...this.hooks.about() });
      // What was written meanwhile makes places of the answer wrong: the next one is on its way.
      if (this.hooks.text() === text) this.hooks.onAnswer(answer);
      else this.isDirty = true;
    } catch (error) {
      this.isDirty = true;
      wait = AGAIN;
      this.hooks.say(`Not checked: ${error instanceof Error ? error.message : error} It is tried again; go on writing.`, "failed");
    } finally {
      window.clearTimeout(slow);
      this.isBusy = false;
    }
    if (this.isDirty) this.timer = window.setTimeout(() => void this.run(), wait || PAUSE);
  }
}
