/**
 * The shell that waits in a box. It reads a line with two lengths from its input, then as many bytes of a script and of
 * an argument, and becomes a fresh shell with these. What follows in the input is the guest's.
 */
import type { Command } from "../native/command.ts";

/** To be sent before a guest's own input. */
export type GateInput = Buffer;

/** `command` is what native/command.ts makes: a shell with `-c`, a script, and maybe the program that it becomes. */
export function throughGate({ args: [, script = "", , ...program] }: Command, folder: string): GateInput {
  // On the line of the script, so that the lines of a guest's code keep their numbers.
  const enter = `cd ${quoted(folder)}||exit 126;`;
  const words = program.slice(0, -1).map(quoted).join(" ");
  const whole = Buffer.from(program.length === 0 ? enter + script : `${enter}set -- ${words} "$1";${script}`);
  // Apart and not quoted, which could make it too long for an argument.
  const argument = Buffer.from(program.at(-1) ?? "");
  return Buffer.concat([Buffer.from(`${whole.length} ${argument.length}\n`), whole, argument]);
}

/** What waits. `head -c` reads no byte more than it is told. */
export function gate(shell: string): Command {
  const read = 'read -r n m && s=$(head -c "$n") && a=$(head -c "$m")';
  return { command: shell, args: ["-c", `${read} && exec "$0" -c "$s" \${a:+sh "$a"}`, shell] };
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
