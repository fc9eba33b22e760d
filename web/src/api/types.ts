// The part of the API's answers that the page shows. Names are those of the wire (controlplane/api/src); nothing is renamed here.

export type Phase =
  | "Pending"
  | "Preparing"
  | "Submitting"
  | "Queued"
  | "Running"
  | "Collecting"
  | "Succeeded"
  | "Failed"
  | "Cancelled"
  | "Suspended";

export interface Experiment {
  metadata: { name: string; uid: string; owner: string; resourceVersion: number; createdAt: string; labels: Record<string, string> };
  spec: {
    model: { id: string; revision: string; dtype: string };
    dataset: { source: string; limit: number };
    backends: { name: string; type: string; device: string }[];
    matrix: {
      batchSizes: number[];
      concurrency?: number[];
      requestRate?: number[];
      textRate?: number[];
      findMax?: { p99Ms: number; probe: string };
    };
    load: { duration: string; warmup: string; repetitions: number };
  };
  status: Status;
}

export interface Status {
  phase: Phase;
  message?: string;
  conditions: Condition[];
  trials: TrialCounts;
  jobs: Job[];
  live?: Live;
  startedAt?: string;
  finishedAt?: string;
}

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
  lastTransitionTime: string;
}

export interface TrialCounts {
  total: number;
  pending: number;
  running: number;
  succeeded: number;
  failed: number;
  interrupted: number;
  invalid: number;
  inconclusive: number;
}

export interface Job {
  id: string | null;
  name: string;
  node: string | null;
  state: string;
  attempt: number;
  epoch: number;
  reason: string | null;
}

export interface Live {
  at: string;
  phase: string;
  trial: string | null;
  backend: string | null;
  batchSize: number | null;
  textsPerSecond: number | null;
  latencyP50Ms: number | null;
  latencyP99Ms: number | null;
  cpuCores: number | null;
  memoryBytes: number | null;
  gpuUtilization: number | null;
  secondsLeft: number | null;
}

export type LoadLevel =
  | { concurrency: number }
  | { requestRate: number }
  | { textRate: number }
  | { findMax: { p99Ms: number; probe: string } };

export interface Estimate {
  mean: number;
  low: number | null;
  high: number | null;
  n: number;
}

export interface Percentile {
  value: number | null;
  withheld?: string;
}

export interface Cell {
  backend: string;
  batchSize: number;
  load: LoadLevel;
  repetitions: number;
  failed: number;
  invalid: number;
  inconclusive: number;
  textsPerSecond: Estimate | null;
  latencyMs: { samples: number; p50: Percentile; p95: Percentile; p99: Percentile };
  successRate: number | null;
  resources: { resource: "gpu" | "process"; cpuCores: number | null; memoryPeakBytes: number | null; gpuUtilization: number | null };
  /** Why no number of this cell counts: the vectors failed the parity gate. */
  void?: string;
}

export interface Parity {
  backend: string;
  reference: string | null;
  minCosine: number | null;
  neighbourOverlap: number | null;
  verdict: "passed" | "failed" | "unknown" | "reported";
  message: string;
}

export interface Results {
  complete: boolean;
  cells: Cell[];
  sentences: string[];
  parity: Parity[];
  warnings: string[];
}

export interface EventItem {
  seq: number;
  at: string;
  type: "Normal" | "Warning";
  who: string;
  reason: string;
  message: string;
}

export interface Trial {
  id: string;
  backend: string;
  batchSize: number;
  load: LoadLevel;
  repetition: number;
  phase: "Pending" | "Running" | "Succeeded" | "Failed" | "Interrupted";
  reason: string | null;
  message: string | null;
  logTail: string | null;
  verdict: "VALID" | "INCONCLUSIVE" | "INVALID" | null;
  textsPerSecond: number | null;
}
