import type { TrialCounts } from "../api/types";

/** Trials as one bar: done, running, failed, interrupted; the rest is to come. */
export function Progress({ trials, wide }: { trials: TrialCounts; wide?: boolean }) {
  const share = (count: number) => ({ width: `${trials.total === 0 ? 0 : (100 * count) / trials.total}%` });
  const notes = [`${trials.succeeded} of ${trials.total} ${trials.total === 1 ? "trial" : "trials"} measured`];
  if (trials.running > 0) notes.push(`${trials.running} running`);
  if (trials.failed > 0) notes.push(`${trials.failed} failed`);
  if (trials.interrupted > 0) notes.push(`${trials.interrupted} interrupted`);
  if (trials.invalid > 0) notes.push(`${trials.invalid} invalid`);
  if (trials.inconclusive > 0) notes.push(`${trials.inconclusive} inconclusive`);
  return (
    <div class={wide ? "progress wide" : "progress"}>
      <div class="bar" role="progressbar" aria-valuenow={trials.succeeded} aria-valuemax={trials.total}>
        <span class="good" style={share(trials.succeeded)} />
        <span class="run" style={share(trials.running)} />
        <span class="bad" style={share(trials.failed)} />
        <span class="off" style={share(trials.interrupted)} />
      </div>
      <span class="dim">{notes.join(" · ")}</span>
    </div>
  );
}
