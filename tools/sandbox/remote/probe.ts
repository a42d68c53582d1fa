/** The self-test of a remote sandbox: its own machine has attacked it; from here, that it runs what it says, and where. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Capabilities, defaultPolicy, type Language, type Policy, type Session } from "../types.ts";
import type { Workspace } from "../workspace.ts";
import type { Sandboxes } from "./protocol.ts";

/** Each prints a word that only the code knows, put together. */
const greetings: Readonly<Record<Language, (word: string) => string>> = {
  shell: (word) => `echo "${word}""${word}"`,
  js: (word) => `console.log("${word}" + "${word}")`,
  python: (word) => `print("${word}" + "${word}")`,
};

export async function probeRemote(
  open: (workspace: Workspace, policy: Policy) => Promise<Session>,
  sandboxes: Sandboxes["sandboxes"],
  language: Language | undefined,
): Promise<Capabilities> {
  const claimed = (Object.keys(sandboxes) as Language[]).filter((one) => language === undefined || one === language);
  const root = await mkdtemp(join(tmpdir(), "pawl-probe-"));
  try {
    const session = await open({ threadId: randomUUID(), root }, defaultPolicy);
    const languages: Language[] = [];
    let reason = "The remote sandbox does not run it";
    for (const one of claimed) {
      const word = randomUUID();
      const { status, stdout, stderr } = await session.run({ language: one, code: greetings[one](word) });
      if (stdout === `${word}${word}\n`) languages.push(one);
      else
        reason =
          `The remote sandbox says that it runs ${one} and does not (${status}) ${stderr.slice(0, 200)}`.trimEnd();
    }
    if (languages.length === 0) return { available: false, languages, reason };
    const detail = languages.map((one) => `${one} in ${sandboxes[one]?.isolation}`).join(", ");
    return { available: true, languages, detail };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}
