import { useEffect, useRef, useState } from "preact/hooks";
import type { Live, Phase, Trial } from "../api/types";
import { bytes, duration, milliseconds, number } from "../format";
import { LiveChart, type Point } from "./LiveChart";

const KEPT_SECONDS = 180;

/** What is measured right now: the agent's last sample, and the samples that this page has seen. */
export function LiveTrial({ live, phase, trials }: { live: Live | undefined; phase: Phase; trials: Trial[] }) {
  const [points, setPoints] = useState<Point[]>([]);
  const lastAt = useRef<string | null>(null);
  useEffect(() => {
    if (!live || live.at === lastAt.current) return;
    lastAt.current = live.at;
    // A pause between trials is a gap in the line.
    if (live.textsPerSecond === null && (points.at(-1)?.textsPerSecond ?? null) === null) return;
    const at = Date.parse(live.at) / 1000;
    setPoints((before) => [...before.filter((point) => point.at > at - KEPT_SECONDS), { at, textsPerSecond: live.textsPerSecond }]);
  }, [live?.at]);
  if (!live || phase !== "Running") return null;
  const repetition = trials.find((trial) => trial.id === live.trial)?.repetition;
  const what = [live.phase, live.backend, live.batchSize && `batch ${live.batchSize}`, repetition && `repetition ${repetition}`];
  return (
    <section class="card live" aria-label="Live trial">
      <h2>{what.filter(Boolean).join(" · ")}</h2>
      <dl class="figures">
        {live.textsPerSecond !== null && <Figure name="texts/s" value={number(live.textsPerSecond)} />}
        {live.latencyP50Ms !== null && <Figure name="p50" value={milliseconds(live.latencyP50Ms)} />}
        {live.latencyP99Ms !== null && <Figure name="p99" value={milliseconds(live.latencyP99Ms)} />}
        {live.gpuUtilization !== null && <Figure name="GPU" value={`${number(live.gpuUtilization * 100)} %`} />}
        {live.cpuCores !== null && <Figure name="CPU cores" value={number(live.cpuCores)} />}
        {live.memoryBytes !== null && <Figure name="memory" value={bytes(live.memoryBytes)} />}
        {live.secondsLeft !== null && <Figure name="time left, about" value={duration(live.secondsLeft)} />}
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
