import { describe, expect, it } from "vitest";
import { ago, bytes, duration, estimate, loadLevel, number } from "./format";

describe("format", () => {
  it("keeps three digits of small numbers and separates thousands", () => {
    expect(number(12.345)).toBe("12.3");
    expect(number(0.04567)).toBe("0.0457");
    expect(number(5467.2)).toBe("5,467");
    expect(number(null)).toBe("—");
  });
  it("shows an interval only where there is one", () => {
    expect(estimate({ mean: 70.92, low: 68.2, high: 73.7, n: 3 })).toBe("70.9 [68.2, 73.7]");
    expect(estimate({ mean: 70.92, low: null, high: null, n: 1 })).toBe("70.9");
    expect(estimate(null)).toBe("—");
  });
  it("writes sizes and durations with units", () => {
    expect(bytes(1_330_000_000)).toBe("1.33 GB");
    expect(duration(59)).toBe("59 s");
    expect(duration(61)).toBe("1 min 1 s");
    expect(duration(7260)).toBe("2 h 1 min");
    expect(ago("2026-11-24T04:00:00Z", Date.parse("2026-11-24T04:28:56Z"))).toBe("28 min ago");
    expect(ago("2026-11-24T04:00:00Z", Date.parse("2026-11-24T04:00:05Z"))).toBe("5 s ago");
  });
  it("names each kind of load", () => {
    expect(loadLevel({ concurrency: 10 })).toBe("10 in flight");
    expect(loadLevel({ textRate: 4000 })).toBe("4,000 texts/s offered");
    expect(loadLevel({ findMax: { p99Ms: 50, probe: "30s" } })).toBe("largest rate with p99 ≤ 50 ms");
  });
});
