// @ts-check
// What stands around the text: the list of problems, what the guard says, what came of saving.

/** @typedef {import("./text.js").Problem} Problem */

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @param {string} tag @param {string} [name] @param {string} [text] */
const make = (tag, name = "", text = "") => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
};

/** @param {string} name */
const icon = (name) => {
  const made = make("span", "material-symbols-outlined", name);
  made.setAttribute("aria-hidden", "true");
  return made;
};

export class SidePanel {
  /** How the check goes. @param {string} words @param {string} [look] */
  checked(words, look = "") {
    const told = element("cx-checked");
    told.textContent = words;
    told.className = `cx-sub${look ? ` cx-s-${look} cx-said-so` : ""}`;
  }

  /** The number of problems beside the buttons leads to the list. @param {number} count */
  count(count) {
    const link = element("cx-count");
    link.hidden = !count;
    link.textContent = `${count} ${count === 1 ? "problem" : "problems"}`;
  }

  /** @param {Problem[]} problems @param {(problem: Problem) => void} goTo */
  problems(problems, goTo) {
    this.count(problems.length);
    this.checked(problems.length ? element("cx-count").textContent : "None: it can be saved.", problems.length ? "failed" : "completed");
    element("cx-problem-list").replaceChildren(...problems.map((problem) => {
      const line = make("li");
      const button = make("button", "cx-problem");
      button.setAttribute("type", "button");
      const place = make("span", "cx-problem-place");
      place.append(make("span", "cx-problem-line", `Line ${problem.line}`), make("code", "", problem.path));
      // A text that can't be read says the place in its sentence, too.
      button.append(place, make("span", "cx-problem-says", problem.message.replace(/^Line \d+, column \d+: /, "")));
      button.addEventListener("click", () => goTo(problem));
      line.append(button);
      return line;
    }));
  }

  /** That the graph is not that of the text. @param {string} words */
  behind(words) {
    const note = element("cx-graph-note");
    note.textContent = words;
    note.hidden = !words;
  }

  /** The text is another one than the guard has read. */
  changed() {
    element("cx-guard-set").disabled = true;
  }

  /**
   * @param {any} guard as workflows/console/writing.py gives it, or null
   * @param {string} compare where the saved draft is compared, or empty
   * @param {((number: string) => void)|null} set writes a number into the text; null where there is no place for one
   */
  guard(guard, compare, set) {
    element("cx-guard").hidden = !guard;
    if (!guard) return;
    const link = element("cx-guard-compare");
    link.hidden = !compare || guard.bump === "none";
    link.href = compare;
    element("cx-guard-bump").textContent = guard.bump === "none" ? "no change" : guard.bump;
    element("cx-guard-says").textContent = guardSentence(guard);
    const button = element("cx-guard-set");
    button.parentElement.hidden = !set || guard.bump === "none" || (guard.own && guard.enough);
    button.disabled = false;
    button.textContent = `Make it ${guard.suggested}`;
    button.onclick = () => set?.(guard.suggested);
    element("cx-guard").classList.toggle("is-refused", !guard.enough);
    element("cx-guard-reasons").replaceChildren(...guard.reasons.map((/** @type {any} */ reason) => {
      const line = make("li");
      line.append(make("span", "cx-tag", reason.bump), ` ${reason.sentence}`);
      const where = make("span", "cx-sub");
      where.append(make("code", "", reason.path));
      line.append(where);
      return line;
    }), ...(guard.more ? [make("li", "cx-soft", `${guard.more} more.`)] : []));
  }

  /** A notice above the text; without words there is none. @param {string} look @param {string} title @param {string} words @returns {HTMLElement|null} */
  told(look, title, words) {
    const place = element("cx-told");
    if (!words) {
      place.replaceChildren();
      return null;
    }
    const notice = make("div", `cx-notice cx-s-${look}`);
    notice.setAttribute("role", "alert");
    const body = make("div");
    body.append(make("strong", "", title), ` ${words}`);
    notice.append(icon(look === "failed" ? "error" : "group"), body);
    place.replaceChildren(notice);
    notice.scrollIntoView({ block: "nearest" });
    return body;
  }

  /** Somebody else has saved. @param {string} words @param {string} theirs @param {() => void} saveOver */
  stale(words, theirs, saveOver) {
    const verbs = make("div", "cx-verbs cx-notice-verbs");
    const look = make("a", "cx-button", "Look at theirs");
    look.setAttribute("href", theirs);
    look.setAttribute("target", "_blank");
    look.setAttribute("rel", "noopener");
    const over = make("button", "cx-button", "Save mine over it");
    over.setAttribute("type", "button");
    over.addEventListener("click", saveOver);
    verbs.append(look, over);
    this.told("waiting", "Nothing is saved.", words)?.append(verbs);
  }
}

/** @param {any} guard */
const guardSentence = ({ against, own, suggested, bump, enough }) => {
  if (bump === "none") return `It does the same as ${against}.`;
  if (!own) return `After ${against} the smallest honest number is ${suggested}.`;
  if (enough) return `${own} is an honest number after ${against}; ${suggested} is the smallest.`;
  return `${own} is too low after ${against}: ${suggested} or higher is honest. A “version” in the text sets it.`;
};
