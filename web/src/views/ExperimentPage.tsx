import { useEffect } from "preact/hooks";
import { getEvents, getExperiment, getResults, getTrials } from "../api/client";
import { Conditions } from "../components/Conditions";
import { Events } from "../components/Events";
import { Facts } from "../components/Facts";
import { FailedTrials } from "../components/FailedTrials";
import { LiveTrial } from "../components/LiveTrial";
import { PhaseBadge } from "../components/PhaseBadge";
import { Plots } from "../components/Plots";
import { Progress } from "../components/Progress";
import { ResultsTable } from "../components/ResultsTable";
import { usePolled } from "../polled";
import { Downloads } from "../components/Downloads";

export function ExperimentPage({ name, onSignedOut }: { name: string; onSignedOut: () => void }) {
  const experiment = usePolled(() => getExperiment(name), name, 2000, true);
  // Results change when a trial ends: the count of ended trials is part of the key, so that nothing is computed for nothing.
  const trials = experiment.data?.status.trials;
  const ended = trials ? trials.succeeded + trials.failed : 0;
  const results = usePolled(() => getResults(name), `${name}-${ended}`, 60_000, false);
  const events = usePolled(() => getEvents(name), name, 5000, false);
  const rows = usePolled(() => getTrials(name), `${name}-${ended}`, 60_000, false);
  useEffect(() => {
    if (experiment.signedOut) onSignedOut();
  }, [experiment.signedOut]);

  if (!experiment.data) return <p class={experiment.error ? "error" : "dim"}>{experiment.error ?? "Loading …"}</p>;
  const { status } = experiment.data;
  return (
    <article>
      <h1>
        {name} <PhaseBadge phase={status.phase} />
      </h1>
      {experiment.error && <p class="error">{experiment.error}. Showing what was last known.</p>}
      {status.message && <p class="message">{status.message}</p>}
      <Conditions conditions={status.conditions} phase={status.phase} />
      <Progress trials={status.trials} wide />
      <Facts experiment={experiment.data} />
      <LiveTrial live={status.live} phase={status.phase} trials={rows.data ?? []} />
      {results.error && !results.signedOut && <p class="error">Results: {results.error}</p>}
      {results.data && <ResultsTable results={results.data} />}
      {ended > 0 && <Plots name={name} version={ended} />}
      {rows.data && <FailedTrials trials={rows.data} />}
      {ended > 0 && <Downloads name={name} />}
      {events.data && <Events events={events.data} />}
    </article>
  );
}
