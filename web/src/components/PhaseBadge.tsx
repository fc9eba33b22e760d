import type { Phase } from "../api/types";

const tone: Record<Phase, string> = {
  Pending: "wait",
  Preparing: "wait",
  Submitting: "wait",
  Queued: "wait",
  Running: "run",
  Collecting: "run",
  Succeeded: "good",
  Failed: "bad",
  Cancelled: "off",
  Suspended: "off",
};

export function PhaseBadge({ phase }: { phase: Phase }) {
  return <span class={`badge ${tone[phase]}`}>{phase}</span>;
}
