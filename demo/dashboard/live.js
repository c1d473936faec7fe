// A panel whose numbers are counted already: the latest window of an
// aggregation, asked again each second. Unchanged, it is answered without a body.

const AGAIN_MS = 1000;
/** After so long the next window would be there, had anything come. */
const PUBLISHED_MS = 15_000;

/** Panels that have live numbers, and the aggregation of each. */
export const LIVE = { "freshet-conversion-funnel": "conversion_funnel" };

/** A funnel's window in the form of the panel's own search answer; `of` is what shares are of. */
export function asAnswer(panel, { window, result }) {
  const steps = panel.aggs.find(({ type }) => type === "filters");
  const metric = panel.aggs.find(({ schema }) => schema === "metric");
  const of = result.total_users_in_funnel;
  // A rate is the step's users by all in the funnel: nothing is lost by rounding.
  const users = (step) => Math.round((result.conversion_rates[`${step}_rate`] ?? 0) * of);
  const buckets = Object.fromEntries(Object.entries(result.funnel_counts).map(([step, events]) => [step, { doc_count: events, [metric.id]: { value: users(step) } }]));
  return { from: Date.parse(window.start), to: Date.parse(window.end), of, answer: { hits: { total: { value: of } }, aggregations: { [steps.id]: { buckets } } } };
}

/** No numbers, in the same form. */
export const nothing = (now) => ({ from: now, to: now, of: 0, answer: { hits: { total: { value: 0 } }, aggregations: {} } });

/** Which window it is and how old: what makes a number live. */
export function caption({ window, updated_at, approximate }, now) {
  const clock = (text) => new Date(text).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const seconds = Math.max(0, Math.floor((now - Date.parse(updated_at)) / 1000));
  const old = seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`;
  const parts = [`${window.seconds / 60} minutes, ${clock(window.start)}–${clock(window.end)}`, `${old} old`];
  if (approximate) parts.push("approximate");
  if (now >= Date.parse(window.end) + PUBLISHED_MS) parts.push("nothing since");
  return parts.join(" · ");
}

/** Keeps a card live until it is told to show the chosen time range, or closed. */
export class Live {
  /** `changed` is called when the reader turns it on or off. */
  constructor(card, changed) {
    this.card = card;
    this.path = `/dashboard/live/${LIVE[card.panel.id]}`;
    this.on = true;
    this.line = document.createElement("div");
    this.line.className = "liveline";
    this.text = document.createElement("p");
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.textContent = "Live";
    this.button.title = "Live: the last minutes, as query counts them. Off: the chosen time range, from the index";
    this.button.addEventListener("click", () => { this.#turn(!this.on); changed(); });
    this.line.append(this.text, this.button);
    card.root.querySelector("h2").after(this.line);
    this.#turn(true);
  }

  #turn(on) {
    this.on = on;
    this.tag = undefined;
    this.slot = undefined;
    this.button.setAttribute("aria-pressed", on);
    this.card.root.dataset.live = on;
    this.card.root.classList.remove("stale");
    this.text.className = "";
    this.#say(on ? "asking" : "of the chosen time range");
    if (on) this.#again(0);
    else clearTimeout(this.timer);
  }

  #say(text) { if (this.text.textContent !== text) this.text.textContent = text; }

  #again(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(), ms);
  }

  async #ask() {
    if (document.hidden) return this.#again(AGAIN_MS);
    const asked = (this.asked = {});
    let failure;
    try {
      const response = await fetch(this.path, { cache: "no-store", headers: this.tag ? { "if-none-match": this.tag } : {} });
      const changed = response.status === 200 ? await response.json() : undefined;
      if (asked !== this.asked || !this.on) return undefined;
      if (changed) {
        [this.tag, this.slot] = [response.headers.get("etag"), changed];
        this.card.update(asAnswer(this.card.panel, changed));
      } else if (response.status === 204) {
        [this.tag, this.slot] = [undefined, undefined];
        this.card.update(nothing(Date.now()));
      } else if (response.status !== 304) {
        failure = (await response.json().catch(() => ({}))).error || `the server answered ${response.status}`;
      }
    } catch (error) {
      if (asked !== this.asked || !this.on) return undefined;
      failure = error instanceof TypeError ? "the server does not answer" : error.message;
    }
    this.card.root.classList.toggle("stale", Boolean(failure));
    this.text.className = failure ? "failed" : "";
    this.text.title = failure ?? "";
    if (failure) this.#say("no new numbers: query does not answer");
    else this.#say(this.slot ? caption(this.slot, Date.now()) : "of the last minutes");
    return this.#again(AGAIN_MS);
  }

  close() { this.on = false; clearTimeout(this.timer); }
}
