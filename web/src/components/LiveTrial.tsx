import { useEffect, useRef, useState } from "preact/hooks";
import type { Live, Phase } from "../api/types";
import { bytes, duration, milliseconds, number } from "../format";
import { LiveChart, type Point } from "./LiveChart";

const KEPT_SECONDS = 180;

/** What is measured right now: the agent's last sample, and the samples that this page has seen. */
export function LiveTrial({ live, phase }: { live: Live | undefined; phase: Phase }) {
  const [points, setPoints] = useState<Point[]>([]);
  const lastAt = useRef<string | null>(null);
  useEffect(() => {
    if (!live || live.at === lastAt.current || live.textsPerSecond === null) return;
    lastAt.current = live.at;
    const at = Date.parse(live.at) / 1000;
    setPoints((before) => [...before.filter((point) => point.at > at - KEPT_SECONDS), { at, textsPerSecond: live.textsPerSecond }]);
  }, [live?.at]);
  if (!live || phase !== "Running") return null;
  return (
    <section class="card live" aria-label="Live trial">
      <h2>
        {live.phase}
        {live.backend ? ` · ${live.backend}` : ""}
        {live.batchSize ? ` · batch ${live.batchSize}` : ""}
      </h2>
      <dl class="figures">
        <Figure name="texts/s" value={number(live.textsPerSecond)} />
        <Figure name="p50" value={milliseconds(live.latencyP50Ms)} />
        <Figure name="p99" value={milliseconds(live.latencyP99Ms)} />
        {live.gpuUtilization !== null && <Figure name="GPU" value={`${number(live.gpuUtilization * 100)} %`} />}
        {live.cpuCores !== null && <Figure name="CPU cores" value={number(live.cpuCores)} />}
        {live.memoryBytes !== null && <Figure name="memory" value={bytes(live.memoryBytes)} />}
        {live.secondsLeft !== null && <Figure name="time left" value={duration(live.secondsLeft)} />}
      </dl>
      {points.length > 1 && <LiveChart points={points} />}
    </section>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
