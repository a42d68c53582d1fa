/** Says at start what runs code of a model on this machine, so that nobody finds out from a refused tool call. */
import { asError } from "../lib/errors.ts";
import type { Isolation } from "../lib/isolation.ts";
import type { Log } from "../lib/log.ts";
import { sweepGroups } from "../tools/sandbox/cgroup/groups.ts";
import { sweepScratch } from "../tools/sandbox/scratch.ts";
import { languages, selectExecutor, sandboxStates } from "../tools/sandbox/select.ts";

/** One language after the other: a self-test takes a second of a CPU. Never throws. */
export async function testSandboxes(minimum: Isolation, log: Log): Promise<void> {
  await Promise.all([sweepScratch(), sweepGroups()]).catch((error: unknown) =>
    log.warn({ reason: asError(error).message }, "what killed servers left stays"),
  );
  for (const language of languages) {
    try {
      await selectExecutor(language, minimum);
      log.info({ language, ...sandboxStates(minimum)[language] }, "sandbox");
    } catch (error) {
      log.warn({ language, reason: asError(error).message }, "no sandbox: tools that run this language will be denied");
    }
  }
}
