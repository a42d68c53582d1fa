/** The sandboxes of this process: for each language the first executor whose self-test passed, chosen on first use. */
import { PawlError } from "../../lib/errors.ts";
import { type Isolation, satisfies } from "../../lib/isolation.ts";
import { createBwrapExecutor } from "./bwrap/executor.ts";
import { createContainerExecutor } from "./container/executor.ts";
import { createLandlockExecutor } from "./landlock/executor.ts";
import { createRemoteExecutor } from "./remote/executor.ts";
import type { Capabilities, Language, ToolExecutor } from "./types.ts";
import { createWasmExecutor } from "./wasm/executor.ts";

interface Candidate {
  readonly kind: Isolation;
  readonly create: () => ToolExecutor;
  /** It is there only where an operator has set it up, and is then preferred. */
  readonly isAsked?: true;
}

const wasm: Candidate = { kind: "wasm", create: createWasmExecutor };
const landlock: Candidate = { kind: "landlock", create: createLandlockExecutor };
const bwrap: Candidate = { kind: "bwrap", create: createBwrapExecutor };
const container: Candidate = { kind: "container", create: createContainerExecutor, isAsked: true };
const remote: Candidate = { kind: "remote", create: createRemoteExecutor, isAsked: true };

/**
 * In the order in which they are tried. First comes what an operator has set up. Then JavaScript runs in the VM wherever
 * that is strong enough, since it starts in a millisecond. A shell and Python are of more use as the machine's own
 * programs, so for them the strongest comes first.
 */
const candidates: Readonly<Record<Language, readonly Candidate[]>> = {
  js: [remote, container, wasm, bwrap, landlock],
  python: [remote, container, bwrap, landlock, wasm],
  shell: [remote, container, bwrap, landlock, wasm],
};

export const languages = Object.keys(candidates) as readonly Language[];

/** `own`: without those that an operator has set up. */
type Source = "any" | "own";

/** What runs a language here, or why nothing does. */
type SandboxState =
  | { readonly isolation: Isolation; readonly detail?: string }
  | { readonly isolation: null; readonly reason: string };

interface Choice {
  readonly executor: ToolExecutor;
  readonly capabilities: Capabilities;
}

const executors = new Map<Candidate, ToolExecutor>();
const choices = new Map<string, Promise<Choice>>();
const states = new Map<string, SandboxState>();

/**
 * Throws `sandbox_denied`, with the reasons, when nothing on this machine runs `language` behind at least `minimum`:
 * no code runs without that.
 */
export async function selectExecutor(
  language: Language,
  minimum: Isolation,
  from: Source = "any",
): Promise<ToolExecutor> {
  const key = keyOf(language, minimum, from);
  const choice = choices.get(key) ?? choose(language, minimum, from);
  choices.set(key, choice);
  try {
    const { executor, capabilities } = await choice;
    const detail = capabilities.detail === undefined ? {} : { detail: capabilities.detail };
    states.set(key, { isolation: executor.kind, ...detail });
    return executor;
  } catch (error) {
    // A failed self-test may have been the machine's moment (memory, load): the next call tries again.
    choices.delete(key);
    states.set(key, { isolation: null, reason: error instanceof Error ? error.message : "The self-test failed" });
    throw error;
  }
}

/** What is known so far, for people: languages that nobody has used or tested yet are absent. */
export function sandboxStates(minimum: Isolation): Partial<Record<Language, SandboxState>> {
  return Object.fromEntries(
    languages.flatMap((language) => {
      const state = states.get(keyOf(language, minimum, "any"));
      return state ? [[language, state]] : [];
    }),
  );
}

/** Ends all processes of all executors. */
export async function closeExecutors(): Promise<void> {
  const open = [...executors.values()];
  executors.clear();
  choices.clear();
  states.clear();
  await Promise.all(open.map((executor) => executor.close()));
}

function keyOf(language: Language, minimum: Isolation, from: Source): string {
  return `${language} ${minimum} ${from}`;
}

async function choose(language: Language, minimum: Isolation, from: Source): Promise<Choice> {
  const reasons: string[] = [];
  for (const candidate of candidates[language]) {
    if (candidate.isAsked && from === "own") continue;
    if (!satisfies(candidate.kind, minimum)) {
      reasons.push(`${candidate.kind} is weaker than ${minimum}`);
      continue;
    }
    const executor = executorOf(candidate);
    const capabilities = await executor.probe(language);
    if (capabilities.available && capabilities.languages.includes(language)) return { executor, capabilities };
    reasons.push(`${candidate.kind}: ${capabilities.reason ?? "does not run it"}`);
  }
  const detail = `No sandbox here can run ${language} behind ${minimum} or stronger`;
  throw new PawlError("sandbox_denied", [detail, ...reasons].join("; "), { facts: { reasons } });
}

function executorOf(candidate: Candidate): ToolExecutor {
  const executor = executors.get(candidate) ?? candidate.create();
  executors.set(candidate, executor);
  return executor;
}
