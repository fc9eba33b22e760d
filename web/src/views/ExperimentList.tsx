import { useEffect } from "preact/hooks";
import { listExperiments } from "../api/client";
import { PhaseBadge } from "../components/PhaseBadge";
import { Progress } from "../components/Progress";
import { ago } from "../format";
import { usePolled } from "../polled";
import { experimentLink } from "../route";

export function ExperimentList({ onSignedOut }: { onSignedOut: () => void }) {
  const { data, error, signedOut } = usePolled(listExperiments, "list", 5000, true);
  useEffect(() => {
    if (signedOut) onSignedOut();
  }, [signedOut]);
  const now = Date.now();
  return (
    <section>
      <h1>Experiments</h1>
      {error && <p class="error">{error}. Trying again.</p>}
      {data?.length === 0 && (
        <div class="card empty">
          <p>No experiment yet. Start one with</p>
          <pre>emctl submit --model sentence-transformers/all-MiniLM-L6-v2 --backends ort,huggingface,vllm</pre>
        </div>
      )}
      {data && data.length > 0 && (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th>Name</th>
                <th>Phase</th>
                <th>Trials</th>
                <th>Model</th>
                <th>Backends</th>
                <th>Created</th>
              </tr>
            </thead>
            <tbody>
              {data.map((experiment) => (
                <tr key={experiment.metadata.uid}>
                  <td>
                    <a href={experimentLink(experiment.metadata.name)}>{experiment.metadata.name}</a>
                  </td>
                  <td>
                    <PhaseBadge phase={experiment.status.phase} />
                  </td>
                  <td>
                    <Progress trials={experiment.status.trials} />
                  </td>
                  <td>{experiment.spec.model.id}</td>
                  <td>{experiment.spec.backends.map((backend) => backend.name).join(", ")}</td>
                  <td title={experiment.metadata.createdAt}>{ago(experiment.metadata.createdAt, now)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
