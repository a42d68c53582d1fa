/**
 * Main file of a guest process: one VM, one evaluation, then it exits. It imports as little as possible (no zod): it
 * starts for every call, and it may read only the files that the executor names to Node's permission model.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { createVm, type Engine } from "./vm.ts";
import { type GuestRequest, readyLine } from "./protocol.ts";

/** Of the web's types, this is all that is needed here. */
declare const WebAssembly: { readonly Module: new (bytes: Uint8Array) => object };

const [stdin, stdout] = [0, 1];
const [memory, libraryFile = "", wasmFile = ""] = process.argv.slice(2);
const memoryMb = Number(memory);

// By their real paths: resolving a package would have to read folders and links that the guest may not read.
const library = (await import(pathToFileURL(libraryFile).href)) as Engine["library"];
const engine: Engine = { library, wasm: new WebAssembly.Module(readFileSync(wasmFile)) };
const vm = await createVm(engine, memoryMb);
await warmUp();
dropRoot();
refuseUnlessConfined();

writeFileSync(stdout, readyLine);
const request = readFileSync(stdin, "utf8");
// End of input without a request: the pool closed, or the server is gone.
if (request !== "") writeFileSync(stdout, `${JSON.stringify(vm.evaluate(JSON.parse(request) as GuestRequest))}\n`);
process.exit(0);

/** V8 compiles a WASM function when it is first called. Another VM of the same module pays that before the call. */
async function warmUp(): Promise<void> {
  const code = "console.log(1); [1].map((x) => ({ x }));";
  (await createVm(engine, memoryMb)).evaluate({ code, timeoutMs: 1_000, outputBytes: 100, resultBytes: 100 });
}

/** Under root each guest gets a user id of its own, so that an escape from the VM is not root and cannot signal another guest. */
function dropRoot(): void {
  if (process.getuid?.() !== 0) return;
  const own = 70_000 + process.pid;
  try {
    become(own);
  } catch {
    become(65_534); // a container whose user namespace maps only 65,536 ids
  }
}

function become(id: number): void {
  process.setgroups?.([]);
  process.setgid?.(id);
  process.setuid?.(id);
}

/** Fails closed: a guest that finds itself with more than it should have evaluates nothing. */
function refuseUnlessConfined(): void {
  const { permission } = process;
  const excess =
    Object.keys(process.env).length > 0 ||
    !permission ||
    permission.has("fs.read", "/etc/passwd") ||
    permission.has("fs.write") ||
    permission.has("child") ||
    permission.has("worker");
  if (excess) process.exit(78);
}
