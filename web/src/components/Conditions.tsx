import type { Condition, Job } from "../api/types";

// Conditions for which "True" is the bad news; all others are bad news when they are not "True".
const badWhenTrue = new Set(["Throttled", "AgentSilent", "Queued"]);

export function Conditions({ conditions, jobs }: { conditions: Condition[]; jobs: Job[] }) {
  const troubles = conditions.filter((condition) => condition.type !== "Complete" && (condition.status === "True") === badWhenTrue.has(condition.type));
  const job = jobs.at(-1);
  if (troubles.length === 0 && !job) return null;
  return (
    <ul class="conditions">
      {job && (
        <li>
          Slurm job <b>{job.id ?? "not yet known"}</b> {job.state}
          {job.node ? ` on ${job.node}` : ""}
          {job.reason && job.reason !== "None" ? ` (${job.reason})` : ""}
          {job.attempt > 1 ? ` · attempt ${job.attempt}` : ""}
        </li>
      )}
      {troubles.map((condition) => (
        <li key={condition.type} class="trouble">
          <b>{condition.reason}</b>: {condition.message}
        </li>
      ))}
    </ul>
  );
}
