import type { Condition, Phase } from "../api/types";

// Conditions for which "True" is the bad news; all others are bad news when they are not "True".
const badWhenTrue = new Set(["Throttled", "AgentSilent", "Queued", "Stalled"]);

/** What stands in the way. The status message says the rest. */
export function Conditions({ conditions, phase }: { conditions: Condition[]; phase: Phase }) {
  if (phase === "Succeeded" || phase === "Failed" || phase === "Cancelled") return null;
  const troubles = conditions.filter((condition) => condition.type !== "Complete" && (condition.status === "True") === badWhenTrue.has(condition.type));
  if (troubles.length === 0) return null;
  return (
    <ul class="conditions">
      {troubles.map((condition) => (
        <li key={condition.type} class={condition.type === "Queued" ? "warning" : "trouble"}>
          <b>{condition.reason}</b>
          {condition.message ? `: ${condition.message}` : ""}
        </li>
      ))}
    </ul>
  );
}
