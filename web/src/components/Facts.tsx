import type { Experiment } from "../api/types";
import { duration, loadLevels, number } from "../format";

/** What is measured, and how: the posted experiment in a glance. */
export function Facts({ experiment }: { experiment: Experiment }) {
  const { spec, status } = experiment;
  const job = status.jobs.at(-1);
  const facts: [string, string][] = [
    ["Model", `${spec.model.id} (${spec.model.dtype})`],
    ["Texts", `${spec.dataset.source}, up to ${number(spec.dataset.limit)}`],
    ["Backends", spec.backends.map((backend) => (backend.name === backend.type ? backend.name : `${backend.name} (${backend.type})`)).join(", ")],
    ["Batch sizes", spec.matrix.batchSizes.join(", ")],
    ["Load", loadLevels(spec.matrix)],
    ["Per cell", `${spec.load.repetitions} × ${spec.load.duration}, after ${spec.load.warmup} of warm-up`],
  ];
  if (job) facts.push(["Slurm job", slurmJob(job)]);
  if (status.startedAt && status.finishedAt) {
    facts.push(["Took", duration((Date.parse(status.finishedAt) - Date.parse(status.startedAt)) / 1000)]);
  }
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function slurmJob(job: Experiment["status"]["jobs"][number]): string {
  const parts = [`${job.id ?? "not yet known"} ${job.state}`];
  if (job.node) parts.push(`on ${job.node}`);
  if (job.attempt > 1) parts.push(`attempt ${job.attempt}`);
  return parts.join(", ");
}
