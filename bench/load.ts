/** Closed-loop load: as many callers as the concurrency says, each of which calls again as soon as it has its answer. */
interface Bounds {
  readonly concurrency: number;
  /** No call begins after this time. */
  readonly seconds: number;
  /** Nor does one after so many. */
  readonly runs: number;
}

export interface Load {
  /** Milliseconds that each call took, ascending. */
  readonly times: readonly number[];
  readonly seconds: number;
}

/** Any call that fails ends the measurement: a runtime that refuses quickly is not a fast one. */
export async function load(call: () => Promise<void>, { concurrency, seconds, runs }: Bounds): Promise<Load> {
  const times: number[] = [];
  const begin = performance.now();
  let begun = 0;
  async function caller(): Promise<void> {
    while (begun < runs && performance.now() - begin < seconds * 1_000) {
      begun += 1;
      const start = performance.now();
      await call();
      times.push(performance.now() - start);
    }
  }
  await Promise.all(Array.from({ length: concurrency }, caller));
  return { times: ascending(times), seconds: (performance.now() - begin) / 1_000 };
}

/** Rounds of one measurement as a whole. */
export function joined(rounds: readonly Load[]): Load {
  return {
    times: ascending(rounds.flatMap(({ times }) => times)),
    seconds: rounds.reduce((sum, round) => sum + round.seconds, 0),
  };
}

export function perSecond({ times, seconds }: Load): number {
  return times.length / seconds;
}

/** The value below which `share` of the ascending `values` lie. */
export function percentile(values: readonly number[], share: number): number {
  return values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN;
}

export function ascending(values: readonly number[]): number[] {
  return values.toSorted((a, b) => a - b);
}
