/** The sandbox of this process: the strongest executor whose self-test passed, chosen on first use. */
import { PawlError } from "../../lib/errors.ts";
import type { Language, ToolExecutor } from "./types.ts";
import { createWasmExecutor } from "./wasm/executor.ts";

/** Strongest first for each language. */
const candidates: Record<Language, readonly (() => ToolExecutor)[]> = {
  js: [createWasmExecutor],
  python: [],
  shell: [],
};

const chosen = new Map<Language, Promise<ToolExecutor>>();

/** Throws `sandbox_denied` when no sandbox on this machine can run `language`: nothing runs without one. */
export function selectExecutor(language: Language): Promise<ToolExecutor> {
  const executor = chosen.get(language) ?? choose(language);
  chosen.set(language, executor);
  // A failed self-test may have been the machine's moment (memory, load): the next call tries again.
  executor.catch(() => chosen.delete(language));
  return executor;
}

/** Ends all processes of all executors. */
export async function closeExecutors(): Promise<void> {
  const executors = await Promise.allSettled(chosen.values());
  chosen.clear();
  const started = executors.filter((result) => result.status === "fulfilled");
  await Promise.all(started.map(({ value }) => value.close()));
}

async function choose(language: Language): Promise<ToolExecutor> {
  const reasons: string[] = [];
  for (const create of candidates[language]) {
    const executor = create();
    const { available, languages, reason } = await executor.probe();
    if (available && languages.includes(language)) return executor;
    await executor.close();
    reasons.push(`${executor.kind}: ${reason ?? "does not run it"}`);
  }
  throw new PawlError("sandbox_denied", `No sandbox here can run ${language}`, { facts: { reasons } });
}
