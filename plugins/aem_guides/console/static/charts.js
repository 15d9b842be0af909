/* The charts of the trends, in the colours of the page. */
"use strict";
(() => {
  const root = document.documentElement;
  function draw(place) {
    const told = JSON.parse(place.dataset.chart);
    const look = getComputedStyle(root);
    const of = (name) => look.getPropertyValue(name).trim();
    /* Plotly does not know every notation of a colour that CSS knows; the browser rewrites it. */
    const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const colour = (name) => {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = of(name);
      pen.fillRect(0, 0, 1, 1);
      const [red, green, blue] = pen.getImageData(0, 0, 1, 1).data;
      return `rgb(${red},${green},${blue})`;
    };
    const lying = told.kind === "lying";
    const most = root.clientWidth < 640 ? 22 : 34;
    /* A path keeps its last parts, a day its own form. */
    const short = (label) => {
      let rest = label;
      while (rest.length > most && rest.indexOf("/", 1) > 0) rest = rest.slice(rest.indexOf("/", 1));
      if (rest.length > most) return `…${rest.slice(1 - most)}`;
      return rest === label ? label : `…${rest}`;
    };
    const form = new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short", timeZone: "UTC"});
    const day = (label) => (Number.isNaN(Date.parse(label)) ? label : form.format(new Date(label)));
    const step = Math.ceil(told.labels.length / (root.clientWidth < 640 ? 4 : 8));
    const shown = told.labels.filter((label, at) => at % step === 0);
    const apart = {ticks: "outside", ticklen: 6, tickcolor: "rgba(0,0,0,0)"};
    const data = told.series.map(([name, state, values]) => ({
      type: "bar", name, orientation: lying ? "h" : "v", marker: {color: colour(`--${state}`)},
      x: lying ? values : told.labels, y: lying ? told.labels : values,
      hovertemplate: lying ? `%{y}<br>%{x:,} ${told.unit}<extra></extra>` : `%{x}<br>${name}: %{y:,} ${told.unit}<extra></extra>`,
    }));
    const line = colour("--line");
    const labels = lying ? {type: "category", autorange: "reversed", tickvals: told.labels, ticktext: told.labels.map(short), automargin: true, ...apart}
      : {type: "category", tickvals: shown, ticktext: shown.map(day), tickangle: 0, automargin: true, ...apart};
    const numbers = {gridcolor: line, zerolinecolor: line, rangemode: "tozero", automargin: true, nticks: 6, tickangle: 0, ...apart, title: {text: told.unit, font: {size: 12}}};
    const layout = {
      barmode: "stack", bargap: .3, height: lying ? Math.max(200, 90 + 26 * told.labels.length) : 300,
      margin: {t: told.series.length > 1 ? 48 : 10, r: 16, b: 44, l: 52}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: {family: of("--font"), color: colour("--fg"), size: 12}, showlegend: told.series.length > 1,
      legend: {orientation: "h", x: 0, y: 1.03, yanchor: "bottom", traceorder: "normal"}, xaxis: lying ? numbers : labels, yaxis: lying ? labels : numbers,
      hoverlabel: {bgcolor: colour("--bg"), bordercolor: line, font: {color: colour("--fg")}}, dragmode: false,
    };
    window.Plotly.react(place, data, layout, {displayModeBar: false, responsive: true});
  }
  const all = () => document.querySelectorAll("[data-chart]").forEach(draw);
  all();
  new MutationObserver(all).observe(root, {attributes: true, attributeFilter: ["data-theme", "style"]});
})();
