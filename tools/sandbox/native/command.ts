/** How each language is started: by `sh`, which first sets the limits that a launcher cannot set on itself. */
import type { Language, Policy } from "../types.ts";
import type { Interpreters } from "./interpreters.ts";
import { Refusal } from "./refusal.ts";

/** What a program maps but does not use: Python and `sh` run with 144 MB on top of their own memory. */
const mappedMb = 144;
/** What Node 24 counts as data before it runs any code; 512 MB of it are V8's code range, unused. */
const nodeDataMb = 640;
/** `ulimit -f` counts in 512 bytes (POSIX). */
const blocksPerMb = 2_048;
/** The kernel's limit for one argument, with the line of limits before the code. */
const maxCodeBytes = 128 * 1_024 - 1_024;

export interface Command {
  readonly command: string;
  readonly args: readonly string[];
}

/** Limits for an executor whose guests do not inherit them. */
interface ProcessCeilings {
  readonly openFiles: number;
  readonly fileMb: number;
  /** RLIMIT_NPROC. */
  readonly tasks: number;
}

interface CommandContext {
  readonly policy: Pick<Policy, "memMb" | "cpuMs">;
  readonly interpreters: Interpreters;
  readonly ceilings?: ProcessCeilings;
}

/** Throws `Refusal` for a language that is not there, and for code that does not fit. */
export function commandFor(language: Language, code: string, context: CommandContext): Command {
  const { shell, python, js } = context.interpreters;
  const { memMb } = context.policy;
  if (code.includes("\0")) throw new Refusal("Code cannot contain U+0000");
  if (Buffer.byteLength(code) > maxCodeBytes) throw new Refusal(`Code can have at most ${maxCodeBytes} bytes`);
  const limits = limitsFor(language, context);
  // The code stands on the same line, so that its lines have their own numbers.
  if (language === "shell") return { command: shell, args: ["-c", limits + code] };
  const program = {
    python: python && [python, "-c", code],
    js: js && [js, `--max-old-space-size=${memMb}`, "-e", code],
  }[language];
  if (!program) throw new Refusal(`This sandbox cannot run ${language}`);
  return { command: shell, args: ["-c", `${limits}exec "$@"`, "sh", ...program] };
}

/** If one cannot be set, nothing runs. */
function limitsFor(language: Language, { policy: { memMb, cpuMs }, ceilings }: CommandContext): string {
  const memory = language === "js" ? `-d ${(nodeDataMb + memMb) * 1_024}` : `-v ${(mappedMb + memMb) * 1_024}`;
  const settings = [`ulimit ${memory}`, `ulimit -t ${Math.ceil(cpuMs / 1_000)}`];
  if (ceilings) {
    const { openFiles, fileMb, tasks } = ceilings;
    settings.push("ulimit -c 0", `ulimit -n ${openFiles}`, `ulimit -f ${fileMb * blocksPerMb}`);
    // The number of processes is -p to dash and BusyBox, -u to bash.
    settings.push(`{ ulimit -p ${tasks} || ulimit -u ${tasks}; } 2>/dev/null`);
  }
  return `umask 077;${settings.map((setting) => `${setting}||exit 126;`).join("")}`;
}

/** Everything a guest finds in its environment. */
export function environmentOf(policy: Pick<Policy, "env">, home: string, temporary: string): Record<string, string> {
  return {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    HOME: home,
    TMPDIR: temporary,
    LANG: "C.UTF-8",
    PYTHONUNBUFFERED: "1",
    // Node refuses to start where the file exists and cannot be read.
    OPENSSL_CONF: "/dev/null",
    PYTHONDONTWRITEBYTECODE: "1",
    ...policy.env,
  };
}
