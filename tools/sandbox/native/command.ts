/** How each language is started: by `sh`, which first sets the limits that a launcher cannot set on itself. */
import type { Language, Policy } from "../types.ts";
import type { Interpreters } from "./interpreters.ts";

/** What a program maps but does not use: Python and `sh` run with 144 MB on top of their own memory. */
const mappedMb = 144;
/** What Node 24 counts as data before it runs any code; 512 MB of it are V8's code range, unused. */
const nodeDataMb = 640;
/** The kernel's limit for one argument, with the line of limits before the code. */
export const maxCodeBytes = 128 * 1_024 - 1_024;

export interface Command {
  readonly command: string;
  readonly args: readonly string[];
}

export function commandFor(language: Language, code: string, { policy, interpreters }: CommandContext): Command {
  const { memMb, cpuMs } = policy;
  const cpuSeconds = Math.ceil(cpuMs / 1_000);
  const memory = language === "js" ? `-d ${(nodeDataMb + memMb) * 1_024}` : `-v ${(mappedMb + memMb) * 1_024}`;
  // The code stands on the same line, so that its lines have their own numbers. If a limit cannot be set, nothing runs.
  const limits = `umask 077;ulimit ${memory}||exit 126;ulimit -t ${cpuSeconds}||exit 126;`;
  const shell = interpreters.shell;
  if (language === "shell") return { command: shell, args: ["-c", limits + code] };
  const { python, js } = interpreters;
  const program = language === "python" ? [python, "-c", code] : [js, `--max-old-space-size=${memMb}`, "-e", code];
  return { command: shell, args: ["-c", `${limits}exec "$@"`, "sh", ...program.map((word) => word ?? "")] };
}

interface CommandContext {
  readonly policy: Pick<Policy, "memMb" | "cpuMs">;
  readonly interpreters: Interpreters;
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
