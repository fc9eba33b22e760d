import type { EventItem } from "../api/types";
import { ago } from "../format";

export function Events({ events }: { events: EventItem[] }) {
  if (events.length === 0) return null;
  const now = Date.now();
  return (
    <section>
      <h2>Events</h2>
      <div class="scroll">
        <table class="events">
          <tbody>
            {[...events]
              .reverse()
              .slice(0, 50)
              .map((event) => (
                <tr key={event.seq} class={event.type === "Warning" ? "trouble" : ""}>
                  <td title={event.at} class="dim">
                    {ago(event.at, now)}
                  </td>
                  <td>{event.reason}</td>
                  <td class="text">{event.message}</td>
                  <td class="dim">{event.who}</td>
                </tr>
              ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
