/**
 * Main file of a guest process for the shell: just-bash, a shell and its commands in TypeScript over files in memory.
 * It runs one script, then the process exits. It is no VM: what holds is that nothing a script can say becomes
 * JavaScript, and the process around it.
 */
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type * as justBash from "just-bash";
import type { Bash } from "just-bash";
import { answer, confine, receive, type Received, send, type Tree } from "./guest-io.ts";

const root = "/workspace";
const megabyte = 1_024 * 1_024;

const [memory, libraryFile = ""] = process.argv.slice(2);
const library = (await import(pathToFileURL(libraryFile).href)) as typeof justBash;
await loadCommands();
await new library.Bash({ cwd: root }).exec("echo warm | grep w | sed s/w/x/");

confine();
const received = receive();
const started = performance.now();
const bash = shellFor(received);
const { request, tree } = received;
const result = await bash.exec(request.code, { cwd: join(root, request.cwd), stdin: request.stdin, rawScript: true });
send("stdout", Buffer.from(result.stdout, result.stdoutKind === "bytes" ? "latin1" : "utf8"));
send("stderr", Buffer.from(result.stderr));
const isLate = performance.now() - started >= request.timeoutMs;
const status = isLate ? "timeout" : result.exitCode === 0 ? "ok" : "error";
answer({ status, exitCode: isLate ? null : result.exitCode }, { before: tree, ...(await treeOf(bash)) });
process.exit(0);

/** All at once, because under root the packages may not be readable any more when a script first uses a command. */
async function loadCommands(): Promise<void> {
  const folder = join(dirname(libraryFile), "chunks");
  const files = readdirSync(folder).filter((name) => name.endsWith(".js") && !name.includes("worker"));
  await Promise.all(files.map((name) => import(pathToFileURL(join(folder, name)).href)));
}

function shellFor({ request: { timeoutMs, maxOutput }, tree: given }: Received): Bash {
  const files = [...given].filter((entry): entry is [string, Uint8Array] => entry[1] !== "folder");
  const folders = [
    root,
    ...[...given.keys()].filter((path) => given.get(path) === "folder").map((path) => join(root, path)),
  ];
  const shell = new library.Bash({
    files: Object.fromEntries(files.map(([path, content]) => [join(root, path), content])),
    cwd: root,
    // No curl, no python3, no js-exec: they are off unless asked for.
    executionLimits: {
      maxExecutionTimeMs: timeoutMs,
      maxOutputSize: maxOutput * 2,
      maxFileSystemBytes: Number(memory) * megabyte,
      maxLiveBytes: Number(memory) * megabyte,
      maxStringLength: 16 * megabyte,
    },
  });
  for (const folder of folders) (shell.fs as { mkdirSync?: MakeFolder }).mkdirSync?.(folder, { recursive: true });
  return shell;
}

type MakeFolder = (path: string, options: { recursive: boolean }) => void;

async function treeOf({ fs }: Bash): Promise<{ after: Tree; skipped: number }> {
  const after = new Map<string, Uint8Array | "folder">();
  let skipped = 0;
  for (const path of fs.getAllPaths().filter((name) => name.startsWith(`${root}/`))) {
    const stat = await fs.lstat(path);
    const inside = path.slice(root.length + 1);
    if (stat.isDirectory) after.set(inside, "folder");
    else if (stat.isFile) after.set(inside, await fs.readFileBuffer(path));
    else skipped++;
  }
  return { after, skipped };
}
