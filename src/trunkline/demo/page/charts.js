/**
 * Strip charts: the last minute of a few series, scrolling smoothly on a canvas.
 *
 * A chart is drawn a little in the past, so that its newest end is a line and not a jump. Times
 * are the publisher's seconds. Stretches without a connection are marked, and fill in afterwards.
 */

export const WINDOW = 60; // seconds shown
const DELAY = 0.6; // seconds behind now that the right edge shows
const PADDING = { top: 24, right: 16, bottom: 24, left: 10 };

/** One chart: several series over the same minute. */
export class StripChart {
  #canvas;
  #context;
  #series;
  #format;
  #fixedTop;
  #top = 0;
  #times = [];
  #values = []; // one array per moment, in the order of the series
  #size = { width: 0, height: 0 };
  #inks = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {object} look
   * @param {Array<{ink: string, fill?: boolean, faint?: boolean}>} look.series custom properties to
   *   draw with; the last one repeats for all further values
   * @param {(value: number) => string} look.format words for the scale
   * @param {number} [look.top] the fixed top of the scale; without it the scale follows the data
   */
  constructor(canvas, { series, format, top = null }) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#series = series;
    this.#format = format;
    this.#fixedTop = top;
    this.#top = top ?? 0;
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  /** Fix the top of the scale. */
  set top(value) {
    this.#fixedTop = value;
  }

  /** Take the values of a moment, which may be older than what is there. */
  add(time, values) {
    let index = this.#times.length;
    while (index > 0 && this.#times[index - 1] > time) index -= 1;
    this.#times.splice(index, 0, time);
    this.#values.splice(index, 0, values);
    const old = this.#times[this.#times.length - 1] - WINDOW - 5;
    let gone = 0;
    while (this.#times[gone] < old) gone += 1;
    this.#times.splice(0, gone);
    this.#values.splice(0, gone);
  }

  /** Read the colours again, as when the scheme changed. */
  restyle() {
    this.#inks = null;
  }

  /** Draw as of `now` (publisher's seconds); `away` lists stretches without a connection. */
  draw(now, away) {
    const { width, height } = this.#size;
    if (width === 0) return;
    const context = this.#context;
    const inks = this.#colours();
    const right = now - DELAY;
    const plot = {
      x: (time) => width - PADDING.right - ((right - time) / WINDOW) * (width - PADDING.left - PADDING.right),
      y: (value) => height - PADDING.bottom - (value / this.#scale()) * (height - PADDING.top - PADDING.bottom),
      left: PADDING.left,
      right: width - PADDING.right,
      top: PADDING.top,
      bottom: height - PADDING.bottom,
    };
    context.clearRect(0, 0, width, height);
    this.#grid(plot, inks);
    context.save();
    context.beginPath();
    context.rect(plot.left, 0, plot.right - plot.left, height);
    context.clip();
    for (const stretch of away) this.#away(plot, inks, stretch, right);
    const count = this.#values.reduce((most, values) => Math.max(most, values.length), 0);
    for (let index = count - 1; index >= 0; index -= 1) this.#line(plot, inks, index);
    context.restore();
    this.#head(plot, inks, right);
  }

  #resize() {
    const { width, height } = this.#canvas.getBoundingClientRect();
    const ratio = Math.min(3, globalThis.devicePixelRatio || 1);
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#size = { width, height };
  }

  #colours() {
    if (this.#inks) return this.#inks;
    const style = getComputedStyle(this.#canvas);
    const ink = (name) => style.getPropertyValue(name).trim();
    this.#inks = {
      series: this.#series.map((one) => ink(one.ink)),
      grid: ink("--chart-grid"),
      text: ink("--faint"),
      away: ink("--bad"),
      caughtUp: ink("--good"),
      card: ink("--card"),
      font: `11px ${style.fontFamily}`,
    };
    return this.#inks;
  }

  /** The top of the scale, moving gently towards what the data needs. */
  #scale() {
    if (this.#fixedTop !== null) return this.#fixedTop;
    return this.#top || 1;
  }

  /** Let a moving scale take a step; called once per frame by the loop. */
  settle() {
    if (this.#fixedTop !== null) return;
    const most = Math.max(1, ...this.#values.flat());
    const wanted = niceTop(most * 1.1);
    this.#top = this.#top === 0 ? wanted : this.#top + (wanted - this.#top) * 0.12;
  }

  #grid(plot, inks) {
    const context = this.#context;
    context.font = inks.font;
    context.lineWidth = 1;
    context.strokeStyle = inks.grid;
    context.beginPath();
    for (const part of [0, 0.5, 1]) {
      const y = Math.round(plot.y(this.#scale() * part)) + 0.5;
      context.moveTo(plot.left, y);
      context.lineTo(plot.right, y);
    }
    context.stroke();
    context.fillStyle = inks.text;
    context.textBaseline = "alphabetic";
    const step = (plot.right - plot.left) / 4;
    for (let quarter = 0; quarter <= 4; quarter += 1) {
      context.textAlign = quarter === 0 ? "left" : quarter === 4 ? "right" : "center";
      const seconds = WINDOW - (quarter * WINDOW) / 4;
      context.fillText(seconds ? `−${seconds} s` : "now", plot.left + quarter * step, plot.bottom + 16);
    }
    context.textAlign = "left";
    context.fillText(this.#format(this.#scale()), plot.left, plot.top - 6);
  }

  #away(plot, inks, { from, to }, right) {
    const start = plot.x(from);
    const end = plot.x(to ?? right);
    if (end < plot.left) return;
    const context = this.#context;
    context.fillStyle = to ? inks.caughtUp : inks.away;
    context.globalAlpha = 0.11;
    context.fillRect(start, plot.top, end - start, plot.bottom - plot.top);
    context.globalAlpha = 1;
    const words = to ? "caught up" : "no connection";
    // Beside the stretch's left edge, unless that would run over the right one.
    const isLate = start + context.measureText(words).width + 6 > plot.right;
    context.textAlign = isLate ? "right" : "left";
    context.fillText(words, isLate ? Math.min(start, plot.right) - 5 : Math.max(start, plot.left) + 5, plot.top + 14);
  }

  #line(plot, inks, index) {
    const look = this.#series[Math.min(index, this.#series.length - 1)];
    const ink = inks.series[Math.min(index, inks.series.length - 1)];
    const context = this.#context;
    for (const [first, last] of this.#runs(index)) {
      context.beginPath();
      this.#curve(plot, index, first, last);
      context.strokeStyle = ink;
      context.lineWidth = look.faint ? 1 : 1.75;
      context.lineJoin = "round";
      context.globalAlpha = look.faint ? 0.3 : 1;
      context.stroke();
      if (look.fill) {
        context.lineTo(plot.x(this.#times[last]), plot.bottom);
        context.lineTo(plot.x(this.#times[first]), plot.bottom);
        context.closePath();
        const shade = context.createLinearGradient(0, plot.top, 0, plot.bottom);
        shade.addColorStop(0, ink);
        shade.addColorStop(1, `${ink}00`); // the inks are written as #rrggbb
        context.globalAlpha = 0.3;
        context.fillStyle = shade;
        context.fill();
      }
      context.globalAlpha = 1;
    }
  }

  /** Stretches without a hole: where nothing was published for two seconds, the line stops. */
  #runs(index) {
    const runs = [];
    let first = null;
    for (let at = 0; at < this.#times.length; at += 1) {
      const isHole = this.#values[at][index] === undefined;
      const isTorn = at > 0 && this.#times[at] - this.#times[at - 1] > 2;
      if (first !== null && (isHole || isTorn)) {
        runs.push([first, at - 1]);
        first = null;
      }
      if (first === null && !isHole) first = at;
    }
    if (first !== null) runs.push([first, this.#times.length - 1]);
    return runs;
  }

  /** A curve through midpoints: smooth, and never beyond its points. */
  #curve(plot, index, first, last) {
    const context = this.#context;
    const point = (at) => [plot.x(this.#times[at]), plot.y(this.#values[at][index])];
    let [x, y] = point(first);
    context.moveTo(x, y);
    for (let at = first + 1; at <= last; at += 1) {
      const [nextX, nextY] = point(at);
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
      [x, y] = [nextX, nextY];
    }
    context.lineTo(x, y);
  }

  /** A dot at the right edge, where the line is drawn now. */
  #head(plot, inks, right) {
    const after = this.#times.findIndex((time) => time > right);
    if (after < 1) return;
    const part = (right - this.#times[after - 1]) / (this.#times[after] - this.#times[after - 1]);
    const context = this.#context;
    this.#series.forEach((look, index) => {
      const [a, b] = [this.#values[after - 1][index], this.#values[after][index]];
      if (look.faint || a === undefined || b === undefined) return;
      context.beginPath();
      context.arc(plot.right, plot.y(a + (b - a) * part), 3.25, 0, 2 * Math.PI);
      context.fillStyle = inks.series[index];
      context.fill();
      context.lineWidth = 1.5;
      context.strokeStyle = inks.card;
      context.stroke();
    });
  }
}

/** Draw charts on every frame, or twice a second for those who want no motion. */
export function animate(charts, clock) {
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)");
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", () => charts.forEach((chart) => chart.restyle()));
  let drawn = 0;
  const frame = (at) => {
    requestAnimationFrame(frame);
    if (isCalm.matches && at - drawn < 500) return;
    drawn = at;
    const { now, away } = clock();
    for (const chart of charts) {
      chart.settle();
      chart.draw(now, away);
    }
  };
  requestAnimationFrame(frame);
}

/** Return the next of 1, 2, 5 times a power of ten (in steps of 1024 that read as bytes). */
function niceTop(value) {
  const unit = 1024 ** Math.max(1, Math.floor(Math.log(value) / Math.log(1024)));
  for (const step of [1, 2, 5, 10, 20, 50, 100, 200, 500, 1024]) if (step * unit >= value) return step * unit;
  return value;
}
