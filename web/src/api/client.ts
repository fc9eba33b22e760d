// Calls of the control plane. The browser's session cookie authorises them; a 401 becomes SignedOut, which the page turns into the sign-in form.
import type { EventItem, Experiment, Results, Trial } from "./types";

export class SignedOut extends Error {}

export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function get<T>(path: string): Promise<T> {
  const response = await fetch(path, { headers: { accept: "application/json" }, credentials: "same-origin" });
  if (response.status === 401) throw new SignedOut("not signed in");
  if (!response.ok) throw new ApiError(response.status, await problemText(response));
  return (await response.json()) as T;
}

async function problemText(response: Response): Promise<string> {
  const body: unknown = await response.json().catch(() => null);
  if (typeof body === "object" && body !== null && "detail" in body && typeof body.detail === "string") return body.detail;
  return `the server answered ${response.status}`;
}

export const experimentPath = (name: string): string => `/experiments/${encodeURIComponent(name)}`;

export const listExperiments = async (): Promise<Experiment[]> => (await get<{ items: Experiment[] }>("/experiments?limit=200")).items;
export const getExperiment = (name: string): Promise<Experiment> => get(experimentPath(name));
export const getResults = (name: string): Promise<Results> => get(`${experimentPath(name)}/results`);
export const getTrials = async (name: string): Promise<Trial[]> => (await get<{ items: Trial[] }>(`${experimentPath(name)}/trials`)).items;
export const getEvents = async (name: string): Promise<EventItem[]> => (await get<{ items: EventItem[] }>(`${experimentPath(name)}/events`)).items;

export async function signIn(token: string): Promise<void> {
  const response = await fetch("/sessions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    credentials: "same-origin",
    body: JSON.stringify({ token }),
  });
  if (!response.ok) throw new ApiError(response.status, response.status === 401 ? "This token is not known here." : await problemText(response));
}
