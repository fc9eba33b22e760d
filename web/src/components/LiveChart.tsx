import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export interface Point {
  /** Seconds since the epoch. */
  at: number;
  textsPerSecond: number | null;
}

const columns = (points: Point[]): uPlot.AlignedData => [points.map((point) => point.at), points.map((point) => point.textsPerSecond)];

export function LiveChart({ points }: { points: Point[] }) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const ink = getComputedStyle(element).getPropertyValue("--dim").trim();
    const line = getComputedStyle(element).getPropertyValue("--run").trim();
    const grid = { stroke: getComputedStyle(element).getPropertyValue("--line").trim(), width: 1 };
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height: 180,
        legend: { show: false },
        scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
        axes: [
          { stroke: ink, grid },
          { stroke: ink, grid, label: "texts/s", labelSize: 20 },
        ],
        series: [{}, { label: "texts/s", stroke: line, width: 2, points: { show: false } }],
      },
      columns(points),
      element,
    );
    chart.current = plot;
    const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: 180 }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, []);
  useEffect(() => chart.current?.setData(columns(points)), [points]);
  return <div class="live-chart" ref={place} />;
}
