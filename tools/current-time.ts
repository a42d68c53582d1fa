import { z } from "zod";
import { defineTool } from "./tool.ts";

const TimeZone = z
  .string()
  .refine(isTimeZone, "Not an IANA time zone such as Europe/Berlin")
  .default("UTC")
  .describe("IANA time zone, for example Europe/Berlin");

export const currentTime = defineTool({
  name: "current_time",
  description:
    "Tells the current date, time and weekday in a time zone. It does not know appointments or opening hours.",
  input: z.strictObject({ time_zone: TimeZone }),
  effect: "none",
  run({ time_zone }, { host }) {
    const now = host.now();
    const local = new Intl.DateTimeFormat("en-GB", {
      dateStyle: "full",
      timeStyle: "long",
      timeZone: time_zone,
    }).format(now);
    return Promise.resolve({ utc: now.toISOString(), local, time_zone });
  },
});

function isTimeZone(name: string): boolean {
  try {
    Intl.DateTimeFormat("en-GB", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
