import { experimentPath } from "../api/client";

const plots = [
  ["throughput_comparison", "Throughput of each backend by batch size, with intervals"],
  ["latency_comparison", "Latency of each backend by batch size"],
  ["gpu_utilization", "Use of the GPU, or of the CPU where there is none"],
  ["pareto", "Throughput against p99 latency"],
  ["latency_cdf", "Distribution of latencies"],
  ["timeline", "Throughput over time"],
] as const;

/** The report's own plots; `version` changes when there is something new to draw. */
export function Plots({ name, version }: { name: string; version: number }) {
  return (
    <section class="plots">
      {plots.map(([plot, text]) => (
        <a key={plot} href={`${experimentPath(name)}/plots/${plot}.png`}>
          <img src={`${experimentPath(name)}/plots/${plot}.svg?v=${version}`} alt={text} loading="lazy" />
        </a>
      ))}
    </section>
  );
}
