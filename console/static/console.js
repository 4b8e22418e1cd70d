// Theme, language, and times in the browser's own zone; everything else comes from the server.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const modes = ["auto", "light", "dark"];
  const mode = () => localStorage.getItem("theme") || "auto";
  const paint = () => {
    root.classList.toggle("is-dark", mode() === "dark" || (mode() === "auto" && system.matches));
    root.dataset.theme = mode();
    const button = document.getElementById("theme");
    if (button && button.title !== button.dataset[mode()]) {
      button.setAttribute("aria-label", button.dataset[mode()]);
      button.title = button.dataset[mode()];
      button.textContent = { auto: "◐", light: "☀", dark: "☾" }[mode()];
    }
  };
  system.addEventListener("change", paint);
  paint();

  const format = new Intl.DateTimeFormat(root.lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const exact = new Intl.DateTimeFormat(root.lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });
  const full = new Intl.DateTimeFormat(root.lang, { dateStyle: "medium", timeStyle: "long" });
  const times = () => {
    for (const time of document.querySelectorAll("time:not([title])")) {
      const at = new Date(time.dateTime);
      time.textContent = (time.dataset.exact ? exact : format).format(at);
      time.title = full.format(at);
    }
  };
  let busy = false;
  new MutationObserver(() => {
    if (busy) return;
    busy = true;
    requestAnimationFrame(() => { busy = false; times(); paint(); });
  }).observe(root, { childList: true, subtree: true });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    if (button.dataset.do === "theme") {
      localStorage.setItem("theme", modes[(modes.indexOf(mode()) + 1) % 3]);
      paint();
    } else {
      document.cookie = `language=${button.dataset.language};path=/;max-age=31536000;samesite=lax`;
      location.reload();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, textarea")) {
      event.preventDefault();
      document.querySelector("input[type=search]")?.focus();
    }
  });
})();
