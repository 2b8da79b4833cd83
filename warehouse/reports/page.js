(() => {
  "use strict";
  const themes = JSON.parse(document.getElementById("themes").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 640px)");
  const hosts = [...document.querySelectorAll(".chart[data-spec]")];
  const views = new Map();

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

  async function draw(host, theme) {
    const wanted = `${theme}${narrow.matches ? "-narrow" : ""}`;
    if (host.dataset.wanted === wanted || host.closest("[hidden]")) return;
    host.dataset.wanted = wanted;
    const spec = JSON.parse(document.getElementById(host.dataset.spec).textContent);
    const stage = document.createElement("div");
    stage.className = "stage";
    const earlier = [...host.children];
    host.append(stage);
    try {
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
      views.get(host)?.finalize();
      earlier.forEach((child) => child.remove());
      views.set(host, result);
      host.dataset.drawn = wanted;
    } catch (error) {
      stage.remove();
      host.textContent = "This chart could not be drawn here; its picture is linked below.";
      console.error(error);
    }
  }

  const pageTheme = () => (dark.matches ? "dark" : "light");
  const drawAll = (theme) => Promise.all(hosts.map((host) => draw(host, theme)));

  dark.addEventListener("change", () => drawAll(pageTheme()));
  narrow.addEventListener("change", () => drawAll(pageTheme()));
  window.addEventListener("beforeprint", () => drawAll("light"));
  window.addEventListener("afterprint", () => drawAll(pageTheme()));

  for (const select of document.querySelectorAll("select[data-choice]")) {
    const show = () => {
      const panels = document.getElementById(select.dataset.choice).querySelectorAll(".panel");
      panels.forEach((panel, index) => { panel.hidden = index !== Number(select.value); });
      drawAll(pageTheme());
    };
    select.addEventListener("change", show);
    show();
  }

  function key(cell) {
    const text = cell.dataset.sort;
    if (text === "") return null;
    return cell.classList.contains("number") ? Number(text) : text.toLowerCase();
  }

  function sort(heading) {
    const table = heading.closest("table");
    const index = [...heading.parentNode.children].indexOf(heading);
    const before = heading.getAttribute("aria-sort");
    // Figures are first wanted from the largest, names from A.
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

  if (narrow.matches) document.querySelector(".contents details").open = false;
  drawAll(pageTheme()).then(() => { document.documentElement.dataset.ready = "yes"; });
})();
