"use strict";
(function () {
  const root = document.documentElement;
  const all = (selector, from) => Array.from((from || document).querySelectorAll(selector));
  root.classList.add("js");

  function remember(theme) {
    try { localStorage.setItem("kdlens-theme", theme); } catch (error) { /* a page from a file may not remember */ }
  }

  function remembered() {
    try { return localStorage.getItem("kdlens-theme"); } catch (error) { return null; }
  }

  function themes() {
    const button = document.getElementById("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const show = () => button.setAttribute("aria-pressed", String(isDark()));
    const stored = remembered();
    if (stored === "dark" || stored === "light") root.dataset.theme = stored;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      remember(root.dataset.theme);
      show();
    });
    system.addEventListener("change", show);
    show();
  }

  function open(element) {
    for (let at = element; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  }

  function evidence() {
    const follow = () => {
      const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (!target) return;
      open(target);
      if (target.tagName === "DETAILS") target.open = true;
      target.scrollIntoView();
    };
    all("a.evidence").forEach((link) => link.addEventListener("click", () => {
      all(".lit").forEach((row) => row.classList.remove("lit"));
      link.dataset.rows.split(" ").forEach((id) => {
        const row = document.getElementById(id);
        if (row && row.tagName === "TR") row.classList.add("lit");
      });
      if (location.hash === link.hash) follow();
    }));
    addEventListener("hashchange", follow);
    if (location.hash) follow();
  }

  function gallery(box) {
    const table = box.querySelector("table.gallery");
    const body = table.tBodies[0];
    const rows = all("tr", body);
    const more = box.querySelector(".show-all");
    const status = box.querySelector(".gallery-status");
    const only = box.querySelector(".only-class");
    const strength = box.querySelector(".strength");
    const picker = box.closest(".picker");
    const short = Number(box.dataset.short);
    let whole = false, key = "", down = true;

    const student = () => (picker && picker.querySelector(".pick input:checked") || { value: "0" }).value;
    const gain = (row) => {
      const text = row.getAttribute("data-gain-" + student());
      return text === null ? null : Number(text);
    };
    function before(a, b) {
      const order = a.dataset.place - b.dataset.place;
      if (key === "class") return (down ? 1 : -1) * (a.dataset.class - b.dataset.class) || order;
      if (key !== "gain") return order;
      const one = gain(a), two = gain(b);
      if (one === null || two === null) return (one === null) - (two === null) || order;
      return (down ? two - one : one - two) || order;
    }
    function show() {
      rows.sort(before).forEach((row) => body.append(row));
      const chosen = rows.filter((row) => !only || !only.value || row.dataset.class === only.value);
      rows.forEach((row) => { row.hidden = true; });
      chosen.forEach((row, i) => { row.hidden = !whole && i >= short; });
      more.hidden = whole || chosen.length <= short;
      const shown = chosen.filter((row) => !row.hidden).length;
      status.textContent = shown + " of " + rows.length + " images shown";
    }
    all("button.sort", table).forEach((button) => button.addEventListener("click", () => {
      const first = button.dataset.sort === "class" ? "ascending" : "descending";
      const second = first === "ascending" ? "descending" : "ascending";
      const head = button.parentElement;
      const state = { none: first, [first]: second, [second]: "none" }[head.getAttribute("aria-sort")];
      all("[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", state);
      key = state === "none" ? "" : button.dataset.sort;
      down = state === first;
      show();
    }));
    more.addEventListener("click", () => { whole = true; show(); rows[short].querySelector("th").tabIndex = -1; rows[short].querySelector("th").focus(); });
    if (only) only.addEventListener("change", show);
    if (strength) strength.addEventListener("input", () => box.style.setProperty("--strength", strength.value / 100));
    if (picker) all(".pick input", picker).forEach((input) => input.addEventListener("change", show));
    show();
  }

  function lapse(box) {
    const films = all(".filmed .frames", box).map((film) => all(":scope > li", film));
    const slider = box.querySelector(".moment"), when = box.querySelector(".when"), play = box.querySelector(".play");
    const last = Number(slider.max);
    const names = films.length ? films[0].map((frame) => frame.querySelector("b").textContent) : [];
    let timer = 0;
    function show() {
      const at = Number(slider.value);
      films.forEach((film) => film.forEach((frame, i) => frame.classList.toggle("now", i === at)));
      when.textContent = names[at] || "";
      slider.setAttribute("aria-valuetext", when.textContent);
    }
    function stop() {
      clearInterval(timer);
      timer = 0;
      play.setAttribute("aria-pressed", "false");
      play.textContent = "Play";
    }
    function step() {
      if (Number(slider.value) >= last) { stop(); return; }
      slider.value = Number(slider.value) + 1;
      show();
    }
    play.addEventListener("click", () => {
      if (timer) { stop(); return; }
      if (Number(slider.value) >= last) { slider.value = 0; show(); }
      play.setAttribute("aria-pressed", "true");
      play.textContent = "Stop";
      timer = setInterval(step, 800);
    });
    slider.addEventListener("input", () => { stop(); show(); });
    show();
  }

  function field(value) {
    if (value === null) return "";
    if (typeof value === "number") return String(value);
    const text = /^[=+\-@\t\r]/.test(value) ? "'" + value : value; // a spreadsheet would run it as a formula
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  }

  function downloads() {
    const numbers = JSON.parse(document.getElementById("numbers").textContent);
    all("[data-download]").forEach((button) => button.addEventListener("click", () => {
      const answer = numbers.answers[button.dataset.question];
      const csv = button.dataset.download === "csv";
      const text = csv
        ? [answer.columns, ...answer.rows].map((row) => row.map(field).join(",")).join("\r\n") + "\r\n"
        : JSON.stringify(numbers, null, 1);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: csv ? "text/csv" : "application/json" }));
      link.download = csv ? answer.question.replace(/[^A-Za-z0-9_-]+/g, "-") + ".csv" : "report.json";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }));
  }

  function printing() {
    let closed = [];
    addEventListener("beforeprint", () => {
      closed = all("details:not([open])");
      closed.forEach((fold) => { fold.open = true; });
    });
    addEventListener("afterprint", () => closed.forEach((fold) => { fold.open = false; }));
  }

  function whereabouts() {
    const links = new Map(all(".contents a").map((link) => [link.hash.slice(1), link]));
    const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
      if (!entry.isIntersecting) return;
      links.forEach((link) => { link.classList.remove("here"); link.removeAttribute("aria-current"); });
      const link = links.get(entry.target.id);
      if (link) { link.classList.add("here"); link.setAttribute("aria-current", "location"); }
    }), { rootMargin: "-20% 0px -70% 0px" });
    all("main > section").forEach((section) => watcher.observe(section));
  }

  themes();
  evidence();
  all(".gallery-box").forEach(gallery);
  all(".lapse").forEach(lapse);
  downloads();
  printing();
  whereabouts();
})();
