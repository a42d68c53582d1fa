/** What an attempt feeds its graph: the run's input, its command, or nothing when an earlier attempt has fed it already. */
import { Command, Send } from "@langchain/langgraph";
import type { Answers } from "./resume.ts";
import type { RunCommand, RunKwargs } from "./run.ts";

interface Progress {
  /** The thread's newest checkpoint was written by this run. */
  readonly hasBegun: boolean;
  /** Answers that are still to be given. */
  readonly open: Answers;
}

/** `null` makes the graph go on from its checkpoint. */
export function inputOf(kwargs: RunKwargs, { hasBegun, open }: Progress): unknown {
  const resume = resumeMap(open);
  const { update, goto } = hasBegun ? {} : (kwargs.command ?? {});
  if (resume || update || goto) {
    return new Command({
      ...(resume && { resume }),
      ...(update && { update }),
      ...(goto && { goto: gotoOf(goto) }),
    });
  }
  if (hasBegun || kwargs.command) return null;
  return kwargs.input ?? null;
}

/** By the library's id of each question: a bare value would go to every pending one, and `false` to none. */
function resumeMap(answers: Answers): Record<string, unknown> | undefined {
  if (answers.length === 0) return undefined;
  return Object.fromEntries(answers.map(({ task_interrupt_id, value }) => [task_interrupt_id, value]));
}

/** The targets of a command, as the library has them. */
export function gotoOf(goto: NonNullable<RunCommand["goto"]>): (string | Send)[] {
  return [goto].flat().map((target) => (typeof target === "string" ? target : new Send(target.node, target.input)));
}
