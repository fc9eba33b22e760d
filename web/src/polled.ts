// Data that stays fresh: fetched again at each change that the server announces by SSE, and every few seconds in any case.
import { useEffect, useState } from "preact/hooks";
import { SignedOut } from "./api/client";

export interface Polled<T> {
  data: T | undefined;
  error: string | undefined;
  signedOut: boolean;
}

export function usePolled<T>(fetcher: () => Promise<T>, key: string, everyMs: number, watch: boolean): Polled<T> {
  const [state, setState] = useState<Polled<T>>({ data: undefined, error: undefined, signedOut: false });
  useEffect(() => {
    let stopped = false;
    let running = false;
    let wanted = false;
    setState({ data: undefined, error: undefined, signedOut: false });
    const refresh = async () => {
      if (running) {
        wanted = true;
        return;
      }
      running = true;
      try {
        const data = await fetcher();
        if (!stopped) setState({ data, error: undefined, signedOut: false });
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        // What was last known stays on the page while the server is away.
        if (!stopped) setState((before) => ({ data: before.data, error: text, signedOut: error instanceof SignedOut }));
      }
      running = false;
      if (wanted && !stopped) {
        wanted = false;
        void refresh();
      }
    };
    void refresh();
    const timer = setInterval(() => void refresh(), everyMs);
    const source = watch ? new EventSource("/experiments?watch=true") : undefined;
    const announced = () => void refresh();
    for (const name of ["message", "added", "modified", "deleted"]) source?.addEventListener(name, announced);
    return () => {
      stopped = true;
      clearInterval(timer);
      source?.close();
    };
  }, [key, everyMs, watch]);
  return state;
}
