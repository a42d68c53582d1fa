/** The time of a checkpoint as what its id does not say of it: a uuid of version 6 has counted 100 ns since 1582. */

const UUID6 = /^([0-9a-f]{8})-([0-9a-f]{4})-6([0-9a-f]{3})-/;

/** Milliseconds from there to 1970. */
const TO_1970 = 12_219_292_800_000n;

/** How many milliseconds later it is than the id, which is made just before; the time itself where the id has none. */
export function shortTime(ts: string, id: string): number | string {
  const later = Date.parse(ts) - timeOf(id);
  return Number.isFinite(later) && wholeTime(later, id) === ts ? later : ts;
}

export function wholeTime(short: number | string, id: string): string {
  return typeof short === "string" ? short : new Date(timeOf(id) + short).toISOString();
}

/** Milliseconds since 1970; NaN for an id that says no time. */
function timeOf(id: string): number {
  const [, high = "", mid = "", low = ""] = UUID6.exec(id) ?? [];
  return high === "" ? Number.NaN : Number(BigInt(`0x${high}${mid}${low}`) / 10_000n - TO_1970);
}
