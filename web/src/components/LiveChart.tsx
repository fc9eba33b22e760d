import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export interface Point {
  /** Seconds since the epoch. */
  at: number;
  textsPerSecond: number | null;
}

/** A chart of a few samples is still a minute wide: its scale does not race. */
const LEAST_SECONDS = 60;
const HEIGHT = 180;

const columns = (points: Point[]): uPlot.AlignedData => [points.map((point) => point.at), points.map((point) => point.textsPerSecond)];
const clock = (at: number): string => new Date(at * 1000).toLocaleTimeString("en-GB");

export function LiveChart({ points }: { points: Point[] }) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const dark = useDark();
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const color = (name: string) => getComputedStyle(element).getPropertyValue(name).trim();
    const axis = { stroke: color("--dim"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    const size = () => ({ width: element.clientWidth, height: HEIGHT });
    const plot = new uPlot(
      {
        ...size(),
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { range: (_, first, last) => [Math.min(first, last - LEAST_SECONDS), last] },
          y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] },
        },
        axes: [
          { ...axis, size: 28, space: 90, incrs: [5, 10, 15, 30, 60], values: (_, times) => times.map(clock) },
          { ...axis, label: "texts/s", labelSize: 20 },
        ],
        series: [{}, { label: "texts/s", stroke: color("--run"), width: 2, points: { show: false } }],
      },
      columns(points),
      element,
    );
    chart.current = plot;
    const resized = new ResizeObserver(() => plot.setSize(size()));
    resized.observe(element);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [dark]);
  useEffect(() => chart.current?.setData(columns(points)), [points]);
  return <div class="live-chart" ref={place} />;
}

/** A canvas does not follow the style sheet: it is drawn anew when the scheme changes. */
function useDark(): boolean {
  const [dark, setDark] = useState(() => matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => setDark(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  return dark;
}
