// The console's own behavior: times that go on, copying, asking before doing. No framework; live
// parts are in live.js.
(() => {
  "use strict";

  /** @param {number} seconds @returns {string} as `passed_words` of autopilot/common/words.py */
  const passed = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds));
    const two = (large, word, small, smallWord) => {
      const rest = Math.floor((whole % large) / small);
      return `${Math.floor(whole / large)} ${word}` + (rest ? ` ${rest} ${smallWord}` : "");
    };
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return two(60, "min", 1, "s");
    if (whole < 86400) return two(3600, "h", 60, "min");
    return two(86400, "d", 3600, "h");
  };

  /** @param {number} seconds @returns {string} as `ago_words` of autopilot/common/words.py */
  const ago = (seconds) => {
    if (Math.abs(seconds) < 5) return seconds >= 0 ? "just now" : "in a moment";
    if (seconds < 0) return `in ${passed(-seconds)}`;
    if (seconds >= 86400) return `${Math.floor(seconds / 86400)} d ago`;
    if (seconds >= 3600) return `${Math.floor(seconds / 3600)} h ago`;
    if (seconds >= 60) return `${Math.floor(seconds / 60)} min ago`;
    return `${Math.floor(seconds)} s ago`;
  };

  const pad = (number) => String(number).padStart(2, "0");
  const local = (date) =>
    `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ` +
    `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;

  /** Write every time under `root` anew. @param {ParentNode} root */
  const tellTimes = (root) => {
    const now = Date.now();
    const write = (element, text) => {
      if (element.textContent !== text) element.textContent = text;
    };
    root.querySelectorAll("time[data-since]").forEach((element) => {
      write(element, passed((now - Date.parse(element.dateTime)) / 1000));
    });
    root.querySelectorAll("time[data-ago]").forEach((element) => {
      write(element, ago((now - Date.parse(element.dateTime)) / 1000));
    });
    root.querySelectorAll("time[data-at]").forEach((element) => {
      write(element, local(new Date(element.dateTime)));
    });
  };

  const copy = async (button) => {
    const text = button.parentElement.querySelector("pre").textContent;
    const icon = button.querySelector(".material-symbols-outlined");
    try {
      await navigator.clipboard.writeText(text);
      icon.textContent = "check";
    } catch {
      icon.textContent = "error";
    }
    window.setTimeout(() => { icon.textContent = "content_copy"; }, 1500);
  };

  /** Open the `<details>` that the address points at. */
  const openTarget = () => {
    const id = decodeURIComponent(window.location.hash.slice(1));
    const target = id && document.getElementById(id)?.closest("details");
    if (target) {
      target.open = true;
      target.scrollIntoView({ block: "nearest" });
    }
  };

  /** A verb's page, shown over this one. Without a script the link opens the page itself. */
  const ask = async (link) => {
    const dialog = document.getElementById("cx-dialog");
    try {
      const answer = await fetch(link.href, { headers: { "X-Part": "ask" } });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      dialog.innerHTML = await answer.text();
      tellTimes(dialog);
      dialog.showModal();
    } catch {
      window.location.assign(link.href);
    }
  };

  document.addEventListener("click", (event) => {
    const element = event.target instanceof Element ? event.target : null;
    const button = element?.closest("[data-copy]");
    if (button) return void copy(button);
    if (element?.closest("[data-close]") && element.closest("dialog")) {
      event.preventDefault();
      return element.closest("dialog").close();
    }
    const link = element?.closest("a[data-ask]");
    const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (link && plain && document.getElementById("cx-dialog")) {
      event.preventDefault();
      void ask(link);
    }
  });

  document.addEventListener("change", (event) => {
    const element = event.target;
    if (element instanceof HTMLSelectElement && element.matches("[data-submit]")) {
      element.form.requestSubmit();
    }
  });

  // Whoever opens a step can send its address.
  document.addEventListener("toggle", (event) => {
    const element = event.target;
    if (!(element instanceof HTMLDetailsElement) || !element.matches("[data-linked]")) return;
    // Opened again by a refresh, not by a person.
    if (element.hasAttribute("data-restored")) return element.removeAttribute("data-restored");
    if (element.open) {
      window.history.replaceState(null, "", `#${element.id}`);
    }
  }, true);

  document.addEventListener("DOMContentLoaded", () => {
    tellTimes(document);
    openTarget();
    window.setInterval(() => tellTimes(document), 1000);
  });
  window.addEventListener("hashchange", openTarget);
  document.addEventListener("cx:times", (event) => tellTimes(event.detail));
  // Unfold's scrollers all have the same name; assistive technology needs to tell them apart.
  window.addEventListener("load", () => {
    document.querySelectorAll(".simplebar-content-wrapper").forEach((element, index) => {
      const name = element.closest("#nav-sidebar") ? "Navigation" : `Scrollable part ${index + 1}`;
      element.setAttribute("aria-label", name);
    });
  });
})();
