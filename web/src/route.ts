// Two places: the list (`#/`) and one experiment (`#/experiments/NAME`).
import { useEffect, useState } from "preact/hooks";

export type Route = { view: "list" } | { view: "experiment"; name: string };

export function parseRoute(hash: string): Route {
  const match = /^#\/experiments\/([^/?#]+)$/.exec(hash);
  return match?.[1] ? { view: "experiment", name: decodeURIComponent(match[1]) } : { view: "list" };
}

export const experimentLink = (name: string): string => `#/experiments/${encodeURIComponent(name)}`;

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parseRoute(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}
