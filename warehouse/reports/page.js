(() => {
  "use strict";
  const themes = JSON.parse(document.getElementById("themes").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 640px)");
  const hosts = [...document.querySelectorAll(".chart[data-spec]")];
  const drawn = new Map();
  const pages = [...document.querySelectorAll(".view")];
  const links = [...document.querySelectorAll(".contents a")];
  const menu = document.querySelector("details.menu");
  const field = document.getElementById("model-search");
  const status = document.getElementById("search-status");
  let shown = null;
  document.documentElement.dataset.views = "one";

  // On a phone the labels would leave no room for the drawing.
  function config(theme) {
    const result = structuredClone(themes[theme]);
    if (narrow.matches) {
      result.axis.labelFontSize = 10;
      result.axis.titleFontSize = 10;
      result.axisY.labelLimit = 140;
      result.style["aligned-axis"].minExtent = 145;
      Object.assign(result.style["heat-axis"], { labelAngle: -90, labelAlign: "left" });
      result.style.value.fontSize = 10;
      result.legend.columns = 1;
      result.legend.labelFontSize = 10.5;
      result.legend.labelLimit = 150;
    }
    return result;
  }

  // The specification of a chart: JSON, packed by gzip, in base64.
  async function unpacked(id) {
    const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (sign) => sign.charCodeAt(0));
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  }

  async function draw(host, theme) {
    const wanted = `${theme}${narrow.matches ? "-narrow" : ""}`;
    if (host.dataset.wanted === wanted || host.closest("[hidden]")) return;
    host.dataset.wanted = wanted;
    const stage = document.createElement("div");
    stage.className = "stage";
    const earlier = [...host.children];
    host.append(stage);
    try {
      const spec = await unpacked(host.dataset.spec);
      const result = await window.vegaEmbed(stage, spec, {
        mode: "vega-lite",
        renderer: "svg",
        actions: false,
        ast: true, // expressions are interpreted, so the policy of the page need not allow eval
        defaultStyle: false,
        config: config(theme),
        tooltip: { theme: "page", disableDefaultStyle: true },
      });
      if (host.dataset.wanted !== wanted) {
        result.finalize();
        stage.remove();
        return;
      }
      drawn.get(host)?.finalize();
      earlier.forEach((child) => child.remove());
      drawn.set(host, result);
      host.dataset.drawn = wanted;
    } catch (error) {
      stage.remove();
      host.textContent = "This chart could not be drawn here; its picture is linked below.";
      console.error(error);
    }
  }

  // One view at a time: the fragment of the address names it (`study/topic`), or an element inside it.
  // Views that are not shown keep their layout, so that charts are drawn at their width and printing has all of them.
  function target() {
    const id = decodeURIComponent(location.hash.slice(1));
    if (id === "ask" || id.startsWith("ask/")) return document.getElementById("start");
    return (id && document.getElementById(id)) || document.getElementById("start");
  }

  // The contents list the topics of the study that is shown; the start view those of the first study.
  function openTopics(study) {
    [...document.querySelectorAll("details.topics")].forEach((topics, index) => {
      topics.open = study ? topics.dataset.study === study.id : index === 0;
    });
  }

  function show(moveFocus) {
    const wanted = target();
    const view = wanted.closest(".view") || wanted.querySelector(".view");
    if (!view) return; // the skip link
    for (const other of pages) other.classList.toggle("away", other !== view);
    for (const link of links) {
      if (link.hash.slice(1) !== view.id) link.removeAttribute("aria-current");
      else link.setAttribute("aria-current", "page");
    }
    const study = view.closest(".study");
    openTopics(study);
    const heading = view.querySelector("h2");
    document.title = `${heading.textContent}${study ? ` · ${study.id}` : ""} · Rewardbase`;
    if (moveFocus) {
      if (narrow.matches) menu.open = false;
      else document.querySelector(".contents [aria-current]").scrollIntoView({ block: "nearest" });
      if (wanted.closest(".view") === wanted || wanted.contains(view)) window.scrollTo(0, 0);
      else wanted.scrollIntoView();
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
    }
    shown = view;
    return Promise.all(hosts.filter((host) => view.contains(host)).map((host) => draw(host, pageTheme())));
  }

  const pageTheme = () => (dark.matches ? "dark" : "light");
  const idle = () => new Promise((done) => (window.requestIdleCallback || setTimeout)(done));
  async function drawAll(theme) {
    await Promise.all(hosts.filter((host) => shown.contains(host)).map((host) => draw(host, theme)));
    for (const host of hosts) {
      await idle();
      await draw(host, theme);
    }
  }

  // The reader's question: each field offers what is left by the fields before it. The address keeps the choice.
  const ask = document.getElementById("ask");
  const fields = ask ? [...ask.querySelectorAll("select")] : [];
  let records = [];
  let answered = null;

  function element(tag, text, className) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function choose(wanted, keepAddress) {
    let left = records;
    for (const field of fields) {
      const key = field.dataset.key;
      const names = new Map(left.map((one) => [one[key], one[`${key}_label`] || one[key]]));
      const value = names.has(wanted[key]) ? wanted[key] : left[0][key];
      field.replaceChildren(...[...names].map(([name, label]) => new Option(label, name, false, name === value)));
      field.disabled = names.size < 2;
      left = left.filter((one) => one[key] === value);
    }
    [answered] = left;
    render(answered);
    const address = `#ask/${fields.map((field) => encodeURIComponent(field.value)).join("/")}`;
    document.getElementById("ask-address").href = address;
    if (!keepAddress) history.replaceState(null, "", address);
  }

  // Figures as bars with intervals on one scale: the first three.
  function scale(places) {
    const ends = places.flatMap((place) => [place.low, place.value, place.high]).filter((value) => value !== null);
    const least = Math.min(...ends);
    const reach = Math.max(...ends) - least || 1;
    return (value) => 4 + (92 * (value - least)) / reach;
  }

  function bar(place, at) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 100 8");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const add = (name, values) => {
      const shape = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(values)) shape.setAttribute(key, value);
      svg.append(shape);
    };
    if (place.low !== null && place.high !== null) add("rect", { x: at(place.low), y: 3, width: at(place.high) - at(place.low), height: 2 });
    add("rect", { x: at(place.value) - 0.5, y: 0, width: 1, height: 8, class: "point" });
    return svg;
  }

  function render(one) {
    const parts = [element("p", one.question, "question"), element("p", one.pick || "No recommendation", "pick")];
    if (one.figure) parts.push(element("p", `${one.unit === "score" ? "Score " : ""}${one.figure}`, "figure-text"));
    for (const text of [one.sure, one.why]) if (text) parts.push(element("p", text));
    if (one.places.length > 1 && one.places.every((place) => place.value !== null)) {
      const at = scale(one.places);
      const list = document.createElement("ol");
      for (const place of one.places) {
        const item = document.createElement("li");
        item.append(element("span", place.name, "name"), bar(place, at), element("span", place.text, "quiet"));
        list.append(item);
      }
      parts.push(list);
    }
    if (one.is_synthetic) parts.push(element("p", "Synthetic: the figures say nothing about real models.", "notice"));
    document.getElementById("asked").replaceChildren(...parts);
    document.getElementById("copied").textContent = "";
    document.getElementById("copy-text").hidden = true;
  }

  // A page opened from a file may not write the clipboard: then the text is shown, marked.
  async function copy(text) {
    const box = document.getElementById("copy-text");
    try {
      await navigator.clipboard.writeText(text);
      box.hidden = true;
      document.getElementById("copied").textContent = "Copied.";
    } catch {
      box.value = text;
      box.hidden = false;
      box.select();
      document.getElementById("copied").textContent = "Copy the text below.";
    }
  }

  function addressed() {
    const parts = location.hash.slice(1).split("/").map(decodeURIComponent);
    if (parts[0] !== "ask") return {};
    return Object.fromEntries(fields.map((field, index) => [field.dataset.key, parts[index + 1]]));
  }

  const chosen = () => Object.fromEntries(fields.map((field) => [field.dataset.key, field.value]));
  async function startAsking() {
    if (!ask) return;
    records = await unpacked("choices");
    choose(addressed(), true);
    ask.hidden = false;
    for (const field of fields) field.addEventListener("change", () => choose(chosen(), false));
    for (const button of ask.querySelectorAll("[data-copy]")) {
      button.addEventListener("click", () => copy(answered[button.dataset.copy]));
    }
    window.addEventListener("hashchange", () => {
      if (location.hash.startsWith("#ask/")) choose(addressed(), true);
    });
  }

  dark.addEventListener("change", () => drawAll(pageTheme()));
  narrow.addEventListener("change", () => {
    menu.open = !narrow.matches;
    drawAll(pageTheme());
  });
  window.addEventListener("beforeprint", () => Promise.all(hosts.map((host) => draw(host, "light"))));
  window.addEventListener("afterprint", () => drawAll(pageTheme()));
  window.addEventListener("hashchange", () => show(true));

  for (const select of document.querySelectorAll("select[data-choice]")) {
    const choose = () => {
      const panels = document.getElementById(select.dataset.choice).querySelectorAll(".panel");
      panels.forEach((panel, index) => {
        panel.hidden = index !== Number(select.value);
        if (!panel.hidden && shown) draw(panel.querySelector(".chart"), pageTheme());
      });
    };
    select.addEventListener("change", choose);
    choose();
  }

  // Search: rows of tables whose columns name models, and the number of hits at each view's link.
  function search(query) {
    const wanted = query.trim().toLowerCase();
    const hits = new Map();
    for (const table of document.querySelectorAll("table[data-models]")) {
      const view = table.closest(".view").id;
      let found = 0;
      for (const row of table.tBodies[0].rows) {
        const isHit = [...row.querySelectorAll("[data-model]")].some((cell) => cell.textContent.toLowerCase().includes(wanted));
        row.classList.toggle("filtered", !isHit);
        if (isHit) found += 1;
      }
      table.classList.toggle("no-hits", found === 0);
      hits.set(view, (hits.get(view) || 0) + found);
    }
    let total = 0;
    let withHits = 0;
    for (const link of links) {
      const found = wanted ? hits.get(link.hash.slice(1)) || 0 : 0;
      link.classList.toggle("quiet", Boolean(wanted) && !found);
      const badge = link.querySelector(".hits");
      if (!badge) continue;
      badge.textContent = found ? ` ${found}` : "";
      badge.title = found ? `${found} table rows` : "";
      total += found;
      if (found) withHits += 1;
    }
    openTopics(shown.closest(".study"));
    for (const badge of document.querySelectorAll(".hits:not(:empty)")) badge.closest("details").open = true;
    const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
    status.textContent = !wanted ? "" : total ? `${count(total, "row")} in ${count(withHits, "view")}` : "No table names such a model";
  }

  document.querySelector(".search").hidden = false;
  field.addEventListener("input", () => search(field.value));

  function key(cell) {
    const text = cell.dataset.sort;
    if (text === "") return null;
    return cell.classList.contains("number") ? Number(text) : text.toLowerCase();
  }

  function sort(heading) {
    const table = heading.closest("table");
    const index = [...heading.parentNode.children].indexOf(heading);
    const before = heading.getAttribute("aria-sort");
    // The first click sorts numbers from the largest, names from A.
    const first = heading.classList.contains("number") ? "descending" : "ascending";
    const order = before ? (before === "ascending" ? "descending" : "ascending") : first;
    table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, value: key(row.cells[index]) }));
    rows.sort((a, b) => {
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null);
      const larger = typeof a.value === "number" ? a.value - b.value : a.value.localeCompare(b.value, "en", { numeric: true });
      return sign * larger;
    });
    table.tBodies[0].append(...rows.map(({ row }) => row));
  }

  for (const button of document.querySelectorAll("table[data-sortable] thead button")) {
    button.addEventListener("click", () => sort(button.parentNode));
  }

  if (narrow.matches) menu.open = false;
  startAsking()
    .then(() => show(false))
    .then(() => { document.documentElement.dataset.shown = "yes"; })
    .then(() => drawAll(pageTheme()))
    .then(() => { document.documentElement.dataset.ready = "yes"; });
})();
