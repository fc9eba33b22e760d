import type { Trial } from "../api/types";
import { loadLevel } from "../format";

/** Why trials failed, with the end of the service's log. */
export function FailedTrials({ trials }: { trials: Trial[] }) {
  const failed = trials.filter((trial) => trial.phase === "Failed");
  if (failed.length === 0) return null;
  return (
    <section>
      <h2>Failed trials</h2>
      {failed.map((trial) => (
        <details key={trial.id} class="card">
          <summary>
            <b>{trial.backend}</b> · batch {trial.batchSize} · {loadLevel(trial.load)} · repetition {trial.repetition}: {trial.reason} — {trial.message}
          </summary>
          {trial.logTail && <pre class="log">{trial.logTail}</pre>}
        </details>
      ))}
    </section>
  );
}
