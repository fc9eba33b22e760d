// Numbers and times as people read them.
import type { Estimate, LoadLevel, Percentile } from "./api/types";

/** Three significant digits below 1,000, whole numbers with separators above. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "—";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return Number(value.toPrecision(3)).toString();
}

export function estimate(value: Estimate | null): string {
  if (value === null) return "—";
  if (value.low === null || value.high === null) return number(value.mean);
  return `${number(value.mean)} [${number(value.low)}, ${number(value.high)}]`;
}

export const milliseconds = (value: number | null | undefined): string => (value === null || value === undefined ? "—" : `${number(value)} ms`);

export const percentile = (value: Percentile): string => number(value.value);

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return "—";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${number(size)} ${units[unit]}`;
}

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d`;
}

/** How long ago, in one unit below an hour: it is read in a column. */
export function ago(time: string, now: number): string {
  const seconds = Math.max(0, (now - Date.parse(time)) / 1000);
  return seconds >= 60 && seconds < 3600 ? `${Math.floor(seconds / 60)} min ago` : `${duration(seconds)} ago`;
}

/** All levels of the one load axis that an experiment sets. */
export function loadLevels(matrix: {
  concurrency?: number[] | null;
  requestRate?: number[] | null;
  textRate?: number[] | null;
  findMax?: { p99Ms: number } | null;
}): string {
  if (matrix.concurrency?.length) return `${matrix.concurrency.join(", ")} in flight`;
  if (matrix.requestRate?.length) return `${matrix.requestRate.map(number).join(", ")} requests/s`;
  if (matrix.textRate?.length) return `${matrix.textRate.map(number).join(", ")} texts/s offered`;
  if (matrix.findMax) return `largest rate with p99 ≤ ${number(matrix.findMax.p99Ms)} ms`;
  return "—";
}

export function loadLevel(load: LoadLevel): string {
  if ("concurrency" in load) return `${load.concurrency} in flight`;
  if ("requestRate" in load) return `${number(load.requestRate)} requests/s`;
  if ("findMax" in load) return `largest rate with p99 ≤ ${number(load.findMax.p99Ms)} ms`;
  return `${number(load.textRate)} texts/s offered`;
}
