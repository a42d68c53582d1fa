/** The guest processes that this one has started and not yet buried (Linux). */
import { readdirSync, readFileSync } from "node:fs";

export function guestPids(): number[] {
  return readdirSync("/proc").filter(isOurGuest).map(Number);
}

function isOurGuest(pid: string): boolean {
  if (!/^\d+$/.test(pid)) return false;
  try {
    // After the name, which stands in brackets and may hold spaces: state, then parent.
    const [state, parent] = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    const isGuest = readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("wasm/guest-");
    return Number(parent) === process.pid && state !== "Z" && isGuest;
  } catch {
    return false; // ended while we looked
  }
}
