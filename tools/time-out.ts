/** Bounds the time of a tool, which may ignore its signal. */

export class ToolTimeout extends Error {}

/**
 * Settles at the time-out, with a `ToolTimeout`, or when `outer` is aborted, even if `work` never does and ignores its signal.
 */
export async function within<T>(
  timeoutMs: number,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = new AbortController();
  const signal = AbortSignal.any([outer, deadline.signal]);
  signal.throwIfAborted();
  const timer = setTimeout(() => deadline.abort(new ToolTimeout()), timeoutMs);
  const ended = Promise.withResolvers<never>();
  const onAbort = (): void => ended.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work(signal), ended.promise]);
  } catch (error) {
    // Whatever a tool makes of the abort of its own signal, the cause is the deadline.
    throw deadline.signal.aborted ? deadline.signal.reason : error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}
