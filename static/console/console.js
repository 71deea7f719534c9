// The console's own behavior: times that go on, copying, asking before doing, live parts.
// No framework; htmx swaps the live parts, everything else works without this file.
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

  // Details that were opened again by a refresh, not by a person.
  const restored = new WeakSet();

  // Whoever opens a step can send its address.
  document.addEventListener("toggle", (event) => {
    const element = event.target;
    if (!(element instanceof HTMLDetailsElement) || !element.matches("[data-linked]")) return;
    if (restored.delete(element)) return;
    if (element.open) {
      window.history.replaceState(null, "", `#${element.id}`);
    }
  }, true);

  const lost = (sentence) => {
    const notice = document.getElementById("cx-lost");
    if (!notice) return;
    notice.hidden = !sentence;
    if (sentence) notice.textContent = sentence;
  };

  // Whoever is signed out is answered with the sign-in page, which is no part of this one.
  const isLivePart = (xhr) => xhr.responseText.includes('id="cx-live"');

  // What was open stays open when a live part is replaced.
  let opened = [];
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "cx-live" || event.detail.xhr.status !== 200) return;
    if (!isLivePart(event.detail.xhr)) {
      event.detail.shouldSwap = false;
      lost("You are not signed in any more: reload the page to go on.");
      return;
    }
    opened = [...event.detail.target.querySelectorAll("details[id]")].map((each) => [each.id, each.open]);
  });
  document.addEventListener("htmx:afterSwap", () => {
    opened.forEach(([id, open]) => {
      const element = document.getElementById(id);
      if (!(element instanceof HTMLDetailsElement) || element.open === open) return;
      restored.add(element);
      element.open = open;
    });
    opened = [];
    tellTimes(document);
  });
  const failed = () => lost("The connection is lost: this page shows what was last known, and keeps trying.");
  document.addEventListener("htmx:sendError", failed);
  document.addEventListener("htmx:timeout", failed);
  document.addEventListener("htmx:responseError", failed);
  document.addEventListener("htmx:afterRequest", (event) => {
    const { successful, xhr } = event.detail;
    if (successful && (xhr.status === 204 || isLivePart(xhr))) lost("");
  });

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
