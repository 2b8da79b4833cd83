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
  show(false)
    .then(() => { document.documentElement.dataset.shown = "yes"; })
    .then(() => drawAll(pageTheme()))
    .then(() => { document.documentElement.dataset.ready = "yes"; });
})();
