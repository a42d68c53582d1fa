/**
 * Main file of a guest process for Python: CPython compiled to WebAssembly, with files in memory. The interpreter is
 * started ahead and waits, inside Python, for the one program that it runs. Its JavaScript side sees a world without
 * `process`, `require`, `fetch` and `WebSocket`, so that not even its emulated sockets lead anywhere.
 */
import { readFileSync } from "node:fs";
import { compileFunction } from "node:vm";
import { answer, confine, receive as receiveRequest, type Received, type Tree } from "./guest-io.ts";
import { Lines } from "./lines.ts";
import type { GuestStatus } from "./protocol.ts";

const root = "/workspace";
const [, glueFile = "", wasmFile = "", libraryFile = ""] = process.argv.slice(2);

/** The part of Emscripten's module that is used. */
interface Python {
  readonly FS: PythonFiles;
  readonly ENV: Record<string, string>;
  callMain(args: readonly string[]): number;
}

interface PythonFiles {
  init(
    input: () => number | null,
    output: (byte: number | null) => unknown,
    error: (byte: number | null) => unknown,
  ): void;
  createDevice(folder: string, name: string, input: () => number | null, output: () => void): void;
  mkdirTree(path: string): void;
  chdir(path: string): void;
  writeFile(path: string, content: Uint8Array | string): void;
  readFile(path: string): Uint8Array;
  readdir(path: string): string[];
  lstat(path: string): { mode: number };
  isDir(mode: number): boolean;
  isFile(mode: number): boolean;
}

/** Reads the request (the process waits there until a program comes), runs it, and shows its errors as Python does. */
const bootstrap = `
def run():
    import sys, traceback, linecache
    with open("/dev/pawl", "rb", buffering=0) as request:
        request.read()
    with open("/tmp/main.py", encoding="utf-8") as file:
        source = file.read()
    linecache.cache["main.py"] = (len(source), None, source.splitlines(True), "main.py")
    sys.argv = ["main.py"]
    sys.path[:] = ["/workspace", "/lib/python313.zip"]
    import __main__
    names = __main__.__dict__
    for name in list(names):
        if not name.startswith("__"):
            del names[name]
    try:
        exec(compile(source, "main.py", "exec"), names)
    except SystemExit:
        raise
    except BaseException as error:
        traceback.print_exception(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
        sys.exit(1)
run()
`;

let received: Received | undefined;
let stdinBytes: Buffer | undefined;
const stdout = new Lines("stdout");
const stderr = new Lines("stderr");
const python = await start();
const outcome = run();
stdout.flush();
stderr.flush();
answer(outcome, received && { before: received.tree, ...treeOf(python.FS) });
process.exit(0);

async function start(): Promise<Python> {
  const refuse = (): never => {
    throw new Error("There is no such thing here");
  };
  const world: Readonly<Record<string, unknown>> = {
    globalThis: { crypto: globalThis.crypto },
    module: {},
    require: refuse,
    WebSocket: refuse,
    fetch: refuse,
    XMLHttpRequest: refuse,
    // Parameters without a value hide the globals of this name.
    ...Object.fromEntries(
      ["process", "global", "exports", "Buffer", "__filename", "__dirname"].map((name) => [name, undefined]),
    ),
  };
  const code = `${readFileSync(glueFile, "utf8")}\nreturn createPythonModule;`;
  const create = compileFunction(code, Object.keys(world))(...Object.values(world)) as (
    options: object,
  ) => Promise<Python>;
  return create({
    noInitialRun: true,
    thisProgram: "python3",
    wasmBinary: readFileSync(wasmFile),
    preRun: [prepare],
  });
}

function prepare({ FS, ENV }: Python): void {
  let position = 0;
  const input = (): number | null => {
    const bytes = (stdinBytes ??= Buffer.from(received?.request.stdin ?? ""));
    return position < bytes.length ? bytes[position++]! : null;
  };
  // What the interpreter says about its own start is nobody's business.
  FS.init(
    input,
    (byte) => received && stdout.push(byte),
    (byte) => received && stderr.push(byte),
  );
  FS.mkdirTree("/lib");
  FS.mkdirTree(root);
  FS.writeFile("/lib/python313.zip", readFileSync(libraryFile));
  FS.createDevice(
    "/dev",
    "pawl",
    () => receive(FS),
    () => {},
  );
  for (const name of Object.keys(ENV)) delete ENV[name];
  Object.assign(ENV, { PYTHONHOME: "/", PYTHONPATH: "/lib/python313.zip", HOME: root, LANG: "C.UTF-8" });
}

/** Called when the interpreter, fully started, opens its request: now come the program and its files. */
function receive(files: PythonFiles): null {
  confine();
  received = receiveRequest();
  const { request, tree } = received;
  for (const [path, content] of tree) {
    if (content === "folder") files.mkdirTree(`${root}/${path}`);
    else files.writeFile(`${root}/${path}`, content);
  }
  files.writeFile("/tmp/main.py", request.code);
  files.chdir(`${root}/${request.cwd}`);
  return null;
}

function run(): { status: GuestStatus; exitCode: number | null; error?: string } {
  let exitCode: number;
  try {
    exitCode = python.callMain(["-u", "-B", "-c", bootstrap]);
  } catch (thrown) {
    const status = (thrown as { status?: unknown }).status;
    if (typeof status !== "number") return { status: "error", exitCode: null, error: "The interpreter aborted" };
    exitCode = status;
  }
  const status = exitCode === 0 ? "ok" : /(?:^|\n)MemoryError/.test(stderr.tail) ? "oom" : "error";
  return { status, exitCode: status === "oom" ? null : exitCode };
}

function treeOf(files: PythonFiles, folder = ""): { after: Tree; skipped: number } {
  const after = new Map<string, Uint8Array | "folder">();
  let skipped = 0;
  for (const name of files.readdir(`${root}/${folder}`).filter((item) => item !== "." && item !== "..")) {
    const path = folder + name;
    const { mode } = files.lstat(`${root}/${path}`);
    if (files.isFile(mode)) after.set(path, files.readFile(`${root}/${path}`));
    else if (files.isDir(mode)) {
      const inside = treeOf(files, `${path}/`);
      after.set(path, "folder");
      for (const [item, content] of inside.after) after.set(item, content);
      skipped += inside.skipped;
    } else skipped++;
  }
  return { after, skipped };
}
