// Reads answers of OpenSearch by a panel's aggregations, as OpenSearch
// Dashboards does, and draws them.

const MINUTE = 60_000;
const METRICS = ["count", "sum", "avg", "cardinality", "percentiles"];

export const metrics = (panel) => panel.aggs.filter((agg) => agg.schema === "metric");
export const buckets = (panel) => panel.aggs.filter((agg) => agg.schema !== "metric");
/** How many documents the panel speaks of. */
export const total = ({ answer }) => answer.hits.total.value;

/** A number as the index pattern's format of the field says; whole numbers and two digits without. */
export function written(value, format) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const pattern = format?.params?.pattern ?? (Number.isInteger(value) ? "0,0" : "0,0.00");
  const digits = /\.(0+)/.exec(pattern)?.[1].length ?? 0;
  const style = format?.id === "percent" ? "percent" : "decimal";
  return new Intl.NumberFormat("en", { style, minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

/** A part of a whole in percent; what is there is never written as nothing, nor what is not all as all. */
export function share(part, whole) {
  const of = part / whole;
  if (of > 0 && of < 0.001) return "<0.1%";
  if (of > 0.999 && of < 1) return ">99.9%";
  const digits = (of > 0 && of < 0.01) || (of > 0.99 && of < 1) ? "0.0%" : "0%";
  return written(of, { id: "percent", params: { pattern: digits } });
}

/** Points that no line reaches, as none of their neighbours has a value. */
export const lone = (points) => points.filter(([, value], n) => value !== null && (points[n - 1]?.[1] ?? null) === null && (points[n + 1]?.[1] ?? null) === null);

/** How many rows things of these widths take, one after the other. */
export function wrapped(widths, room, gap) {
  let rows = widths.length > 0 ? 1 : 0;
  let used = 0;
  for (const width of widths) {
    if (used > 0 && used + width > room) { rows += 1; used = 0; }
    used += width + gap;
  }
  return rows;
}

/** How wide a number is, roughly and rather too much, in its font's size. */
export const ems = (text) => [...text].reduce((all, letter) => all + (/[.,]/.test(letter) ? 0.32 : 0.63), 0);

/** Numbers along an axis: short. */
const short = (value) => new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);

/** Every value of a bucket: `{ key, label, value, format, absent }`; `absent` is what no bucket means. */
export function values(panel, bucket) {
  return metrics(panel).flatMap((agg) => {
    const { field, customLabel, percents } = agg.params;
    const format = panel.formats?.[field];
    if (agg.type === "count") return [{ key: agg.id, label: customLabel ?? "Count", value: bucket.doc_count, absent: 0 }];
    if (agg.type === "percentiles") {
      const found = bucket[agg.id]?.values ?? [];
      return percents.map((percent) => ({
        key: `${agg.id}.${percent}`, label: percent === 50 ? "median" : `p${percent}`, unit: customLabel, format, absent: null,
        value: found.find(({ key }) => key === percent)?.value ?? null,
      }));
    }
    return [{ key: agg.id, label: customLabel ?? field, value: bucket[agg.id]?.value ?? null, format, absent: agg.type === "sum" ? 0 : null }];
  });
}

/** The answer as one bucket that holds all others. */
const whole = ({ answer }) => ({ ...answer.aggregations, doc_count: answer.hits.total.value });

/** The buckets of an aggregation with their names. */
function named(agg, parent) {
  const found = parent[agg.id]?.buckets ?? [];
  if (agg.type === "filters") return agg.params.filters.map(({ label, input }) => ({ name: label || input.query, ...found[label || input.query] })).filter((b) => b.doc_count !== undefined);
  return found.map((bucket) => ({ ...bucket, name: bucket.key === "__missing__" ? agg.params.missingBucketLabel : String(bucket.key_as_string ?? bucket.key) }));
}

/** Rows of names and values: a leaf of nested terms each. */
export function rows(panel, data) {
  const levels = buckets(panel);
  const walk = (depth, parent, names) => (depth === levels.length
    ? [{ names, values: values(panel, parent) }]
    : named(levels[depth], parent).flatMap((bucket) => walk(depth + 1, bucket, [...names, bucket.name])));
  return walk(0, whole(data), []);
}

/** Lines over time: `{ name, format, points: [[ms, value]] }`, the minutes in between being none or 0 as the metric means it. */
export function series(panel, data) {
  const [time, split] = buckets(panel);
  const minutes = whole(data)[time.id]?.buckets ?? [];
  // The first minute is cut by the range; drawn, it would look like a rise.
  const first = Math.ceil(data.from / MINUTE) * MINUTE;
  const last = Math.floor(data.to / MINUTE) * MINUTE;
  const lines = new Map();
  for (const minute of minutes) {
    for (const part of split ? named(split, minute) : [{ ...minute, name: null }]) {
      for (const value of values(panel, part)) {
        const name = part.name ?? value.label;
        if (!lines.has(name)) lines.set(name, { name, format: value.format, absent: value.absent, at: new Map() });
        lines.get(name).at.set(minute.key, value.value);
      }
    }
  }
  return [...lines.values()].map(({ at, absent, ...line }) => {
    const points = [];
    for (let ms = first; ms <= last; ms += MINUTE) points.push([ms, at.get(ms) ?? absent]);
    return { ...line, points };
  }).sort((a, b) => sum(b) - sum(a) || (a.name < b.name ? -1 : 1));
}
const sum = ({ points }) => points.reduce((all, [, value]) => all + (value ?? 0), 0);

/** What a drawing shows, in words. */
export function summary(panel, data) {
  if (panel.kind === "vega") return `${panel.title}: ${written(total(data))} events on a map of the world`;
  if (buckets(panel)[0]?.type === "date_histogram") {
    const ends = series(panel, data).map(({ name, points, format }) => `${name} ${written(points.at(-1)?.[1], format)}`);
    return `${panel.title}, a chart over time; in the last minute: ${ends.join(", ")}`;
  }
  const named = rows(panel, data).slice(0, 12).map(({ names, values: all }) => `${names.join(" ")} ${written(all[0].value, all[0].format)}`);
  return `${panel.title}: ${named.join(", ")}`;
}

// ── drawing

/** The page's colours, as the style sheet has them now. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  return { ink: color("ink"), soft: color("soft"), faint: color("faint"), card: color("card"), line: color("line"), land: color("land"), coast: color("coast"), series: Array.from({ length: 8 }, (_, n) => color(`c${n}`)) };
}

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function base(colors) {
  return {
    animation: !still(), animationDuration: 0, animationDurationUpdate: 350, color: colors.series,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: colors.ink },
    tooltip: { confine: true, backgroundColor: colors.card, borderColor: colors.line, textStyle: { color: colors.ink, fontSize: 13 }, extraCssText: "box-shadow:0 4px 16px rgb(0 0 0/.14)" },
  };
}

const LEGEND_FONT = 12;
/** A legend that wraps, over or under a drawing: its options and its height. */
function legendOf(names, width, { item, color }) {
  const padding = 5, gap = 6, after = 8;
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `${LEGEND_FONT}px ${getComputedStyle(document.body).fontFamily}`;
  const widths = names.map((name) => Math.ceil(pen.measureText(name).width) + item + 5 + after);
  // Somewhat less room than there is: a row too many leaves a gap, one too few is cut.
  const rows = wrapped(widths, width - 2 * padding - 16, gap);
  return {
    height: 2 * padding + rows * 16 + (rows - 1) * gap,
    legend: { type: "plain", left: 0, width: width - 2 * padding, padding, itemGap: gap, itemWidth: item, itemHeight: item, textStyle: { color, fontSize: LEGEND_FONT, lineHeight: 16, padding: [0, after, 0, 0] } },
  };
}

function overTime(panel, data, colors, { width }) {
  const lines = series(panel, data);
  const bars = panel.kind === "histogram";
  const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const many = lines.length > 1 && panel.legend;
  const { legend, height } = legendOf(lines.map(({ name }) => name), width, { item: 14, color: colors.soft });
  const unit = panel.axis === "Seconds" ? " s" : "";
  return {
    ...base(colors),
    grid: { left: 8, right: 12, top: many ? height + 14 : 20, bottom: 4, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
    legend: many ? { ...legend, show: true, top: 0, icon: "path://M0 4h14v6h-14z" } : { show: false },
    xAxis: {
      type: "time", axisLine: { lineStyle: { color: colors.line } }, axisTick: { show: false }, splitLine: { show: false },
      axisLabel: { color: colors.soft, hideOverlap: true, formatter: clock, showMinLabel: false, showMaxLabel: false },
    },
    yAxis: { type: "value", splitNumber: 4, axisLabel: { color: colors.soft, formatter: (value) => short(value) + unit }, splitLine: { lineStyle: { color: colors.faint } } },
    tooltip: { ...base(colors).tooltip, trigger: "axis", axisPointer: { type: bars ? "shadow" : "line", lineStyle: { color: colors.coast } }, order: "valueDesc",
      formatter: (items) => {
        const byName = new Map(items.map((item) => [item.seriesName, item]));
        const text = [...byName.values()].map(({ marker, seriesName, value }) => `<br>${marker}${echarts.format.encodeHTML(seriesName)} <b>${written(value[1], lines.find(({ name }) => name === seriesName)?.format)}${value[1] === null ? "" : unit}</b>`);
        return `<b>${clock(items[0].value[0])}</b>${text.join("")}`;
      } },
    series: lines.flatMap(({ name, points }, n) => {
      const color = colors.series[n % colors.series.length];
      const common = { name, itemStyle: { color } };
      if (bars) {
        const data = points.map((value, at) => ({ value, itemStyle: { opacity: at === points.length - 1 ? 0.45 : 1 } }));
        return [{ ...common, id: name, type: "bar", stack: "all", barMaxWidth: 26, barCategoryGap: "28%", data, itemStyle: { color, borderRadius: many ? 0 : [3, 3, 0, 0] } }];
      }
      const line = { ...common, type: "line", symbolSize: 6, showSymbol: points.length < 3 };
      const area = panel.kind === "area" ? { stack: "all", areaStyle: { opacity: 0.25 } } : {};
      return [
        { ...line, ...area, id: name, data: area.stack || points.length < 3 ? points : points.slice(0, -1), lineStyle: { width: 2, color } },
        // The minute that is not over yet would look like a fall: it is dashed.
        { ...common, id: `${name} lone`, type: "scatter", symbolSize: 7, data: area.stack || points.length < 3 ? [] : lone(points) },
        ...(area.stack || points.length < 3 ? [] : [{ ...line, id: `${name} now`, data: points.slice(-2), lineStyle: { width: 1.5, color, type: [3, 4], opacity: 0.75 } }]),
      ];
    }),
  };
}

function bars(panel, data, colors) {
  const all = rows(panel, data);
  const isFunnel = buckets(panel)[0].type === "filters";
  const most = data.of || all[0]?.values[0].value || 1;
  const label = (value, format) => (isFunnel ? `${written(value, format)}   ${share(value, most)}` : written(value, format));
  return {
    ...base(colors),
    grid: { left: 4, right: isFunnel ? 92 : 62, top: 10, bottom: 2, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
    xAxis: { type: "value", show: false, max: "dataMax" },
    yAxis: { type: "category", inverse: true, data: all.map(({ names }) => names[0]), axisLine: { show: false }, axisTick: { show: false },
      axisLabel: { color: colors.ink, fontSize: 12.5, width: 168, overflow: "truncate", interval: 0, formatter: (name) => (isFunnel ? name.replaceAll("_", " ") : name.replace(/^https?:\/\/([^?#]*?)\/?$/, "$1")) } },
    tooltip: { ...base(colors).tooltip, trigger: "item" },
    series: [{
      id: "bars", name: all[0]?.values[0].label, type: "bar", barMaxWidth: 22, barCategoryGap: "34%", itemStyle: { borderRadius: [0, 4, 4, 0] },
      data: all.map(({ values: [{ value, format }] }, n) => ({
        value, itemStyle: { color: echarts.color.modifyAlpha(colors.series[0], isFunnel ? 1 - n * 0.13 : 1) },
        label: { show: true, position: "right", color: colors.soft, fontSize: 12.5, formatter: () => label(value, format) },
      })),
    }],
  };
}

function slices(panel, data, colors, { width, height }) {
  const all = rows(panel, data);
  const whole = all.reduce((sum, { values: [{ value }] }) => sum + value, 0) || 1;
  const byName = new Map(all.map(({ names, values: [{ value }] }) => [names[0], value]));
  const cut = (name) => (name.length > 22 ? `${name.slice(0, 21)}…` : name);
  // Beside the ring the legend needs half of the card; where that is too narrow it goes below.
  const below = width < 400;
  const under = legendOf([...byName].map(([name, value]) => `${cut(name)}  ${share(value, whole)}`), width, { item: 10, color: colors.ink });
  const room = below ? height - under.height - 10 : height;
  const outer = Math.max(24, Math.min(0.41 * room * (below ? 1.15 : 1), 0.23 * width * (below ? 2 : 1)));
  return {
    ...base(colors),
    legend: { icon: "circle", formatter: (name) => `${cut(name)}  {share|${share(byName.get(name), whole)}}`,
      ...(below ? { ...under.legend, top: height - under.height } : { type: "scroll", orient: "vertical", left: "50%", top: "middle", width: "auto", padding: 5, itemWidth: 10, itemHeight: 10, itemGap: 9 }),
      textStyle: { color: colors.ink, fontSize: below ? LEGEND_FONT : 12.5, lineHeight: 16, padding: below ? under.legend.textStyle.padding : 0, rich: { share: { color: colors.soft } } } },
    tooltip: { ...base(colors).tooltip, trigger: "item", formatter: ({ marker, name, value }) => `${marker}${echarts.format.encodeHTML(name)} <b>${written(value)}</b> (${share(value, whole)})` },
    series: [{
      id: "slices", type: "pie", animation: false, radius: [outer * 0.635, outer], center: [below ? "50%" : "25%", room / 2], label: { show: false }, itemStyle: { borderColor: colors.card, borderWidth: 2 }, emphasis: { scale: false },
      data: all.map(({ names, values: [{ value }] }) => ({ name: names[0], value })),
    }],
  };
}

function map(panel, data, colors) {
  const cells = data.answer.aggregations.visitors.cells.buckets;
  const most = Math.max(1, ...cells.map((cell) => cell.doc_count));
  return {
    ...base(colors),
    geo: { map: "world", silent: true, roam: false, aspectScale: 1, boundingCoords: [[-168, 81], [180, -55]], left: 4, right: 4, top: 8, bottom: 4, itemStyle: { areaColor: colors.land, borderColor: colors.coast, borderWidth: 0.7 } },
    visualMap: { show: false, dimension: 3, min: 1, max: Math.sqrt(most), inRange: { color: ["#f3b33d", "#ec7a3c", "#d2403f"] } },
    tooltip: { ...base(colors).tooltip, formatter: ({ value }) => `<b>${written(value[2])}</b> events around ${value[1].toFixed(1)}°, ${value[0].toFixed(1)}°` },
    series: [{
      id: "cells", type: "scatter", coordinateSystem: "geo", symbolSize: ([, , count]) => 7 + 23 * Math.sqrt(count / most), itemStyle: { opacity: 0.72, borderColor: colors.card, borderWidth: 0.6 },
      // Small ones on top.
      data: cells.map((cell) => [cell.middle.location.lon, cell.middle.location.lat, cell.doc_count, Math.sqrt(cell.doc_count)]).sort((a, b) => b[2] - a[2]),
    }],
  };
}

const CHARTS = { line: overTime, area: overTime, histogram: overTime, horizontal_bar: bars, pie: slices, vega: map };

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** A card for a panel; `update` draws an answer into it. */
export class Card {
  constructor(panel) {
    const known = panel.kind in CHARTS || panel.kind === "metric" || panel.kind === "table";
    if (!known || !metrics(panel).every((agg) => METRICS.includes(agg.type))) throw new Error(`${panel.id} has a kind or metric that the page does not draw`);
    this.panel = panel;
    this.root = element("article", undefined, `card ${panel.kind === "vega" ? "map" : panel.kind}${panel.legend && buckets(panel).length > 1 ? " split" : ""}`);
    this.root.id = panel.id;
    const { x, y, w, h } = panel.grid;
    this.root.style.gridArea = `${y + 1} / ${x + 1} / span ${h} / span ${w}`;
    const title = element("h2", panel.title);
    title.id = `${panel.id}-title`;
    title.title = panel.description;
    this.root.setAttribute("aria-labelledby", title.id);
    this.root.append(title, element("p", panel.description, "unseen"));
    this.body = element("div", undefined, "body");
    this.root.append(this.body);
    if (panel.kind !== "metric") this.body.append(element("p", "Nothing in this time range", "nothing"));
    if (panel.kind in CHARTS) {
      this.host = element("div", undefined, "chart");
      this.host.setAttribute("role", "img");
      this.body.append(this.host);
    }
  }

  /** Draws the answer. What is there stays and changes: nothing is taken away to be drawn again. */
  update(data) {
    this.data = data;
    const count = total(data);
    const { panel } = this;
    if (panel.kind === "metric") this.#numbers(values(panel, whole(data)));
    else if (panel.kind === "table") this.#table(rows(panel, data));
    else if (count > 0) this.#chart();
    Object.assign(this.root.dataset, { total: count, from: data.from, to: data.to });
    this.root.dataset.state = count > 0 ? "drawn" : "empty";
  }

  #chart() {
    // Made when it is first needed: before, it may have no size.
    this.chart ??= echarts.init(this.host, null, { renderer: "canvas" });
    this.host.setAttribute("aria-label", summary(this.panel, this.data));
    this.chart.setOption(CHARTS[this.panel.kind](this.panel, this.data, palette(), { width: this.chart.getWidth(), height: this.chart.getHeight() }), { replaceMerge: ["series"] });
  }

  #numbers(all) {
    this.root.classList.toggle("several", all.length > 1);
    const texts = all.map(({ value, format }) => written(value, format));
    this.root.dataset.value = all[0].value ?? "";
    if (!this.shown) {
      this.shown = all.map(({ label, unit }) => {
        const list = element("dl");
        const value = element("dd");
        list.append(element("dt", unit ? `${unit}, ${label}` : label), value);
        this.body.append(list);
        return value;
      });
    }
    this.shown.forEach((value, n) => { if (value.textContent !== texts[n]) { value.textContent = texts[n]; value.style.setProperty("--ems", ems(texts[n])); } });
  }

  #table(all) {
    const table = element("table");
    const head = element("tr");
    for (const agg of buckets(this.panel)) head.append(element("th", agg.params.customLabel ?? agg.params.field));
    for (const agg of metrics(this.panel)) head.append(element("th", agg.params.customLabel, "number"));
    table.append(element("thead"), element("tbody"));
    table.tHead.append(head);
    for (const { names, values: found } of all) {
      const row = table.tBodies[0].insertRow();
      names.forEach((name) => row.append(element("td", name)));
      found.forEach(({ value, format }) => row.append(element("td", written(value, format), "number")));
    }
    head.querySelectorAll("th").forEach((cell) => { cell.scope = "col"; });
    if (this.table?.innerHTML === table.innerHTML) return;
    if (this.table) this.table.replaceWith(table);
    else {
      const scroll = element("div", undefined, "scroll");
      scroll.append(table);
      scroll.tabIndex = 0;
      scroll.setAttribute("role", "group");
      scroll.setAttribute("aria-labelledby", `${this.panel.id}-title`);
      this.body.append(scroll);
    }
    this.table = table;
  }

  /** After another size or other colours. */
  refit() {
    if (!this.chart) return;
    this.chart.resize();
    if (this.data && total(this.data) > 0) this.#chart();
  }

  close() { this.chart?.dispose(); this.root.remove(); }
}
