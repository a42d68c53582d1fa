/**
 * Main file of a guest process for JavaScript: a VM for each evaluation that has run nothing, so that nothing is left of
 * one for the next; or, where globals are kept, the VM that they are in. The next one is made ahead, while nobody waits.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { packGlobals, unpackGlobals } from "./globals.ts";
import { answer, confine, receive, send, type Tree } from "./guest-io.ts";
import { prelude } from "./prelude.ts";
import { globalsFile, type GuestRequest } from "./protocol.ts";
import { type Engine, GuestVm } from "./vm.ts";

/** Of the web's types, this is all that is needed here. */
declare const WebAssembly: { readonly Module: new (bytes: Uint8Array) => object };

const [memory, libraryFile = "", wasmFile = ""] = process.argv.slice(2);
const memoryMb = Number(memory);

// By their real paths: resolving a package would have to read folders and links that the guest may not read.
const library = (await import(pathToFileURL(libraryFile).href)) as Engine["library"];
const binary = readFileSync(wasmFile);
const engine: Engine = { library, wasm: new WebAssembly.Module(binary) };
/** Another binary has other addresses, and another prelude another function at `finish`. */
const engineName = createHash("sha256").update(binary).update(prelude).digest("hex");
const print = (text: string): void => send("stdout", Buffer.from(text));
const remark = (text: string): void => send("stderr", Buffer.from(text));

await warmUp();
let spare: GuestVm | undefined = await GuestVm.create(engine, memoryMb);
/** The globals that were answered last, and the VM that still has them. */
let live: { readonly bytes: Buffer; readonly vm: GuestVm } | undefined;

confine();
for (;;) {
  const { request, tree } = receive();
  const globals = tree.get(globalsFile);
  if (globals instanceof Uint8Array) await evaluateWith(Buffer.from(globals), request, tree);
  else {
    const vm = await fresh();
    answer(vm.evaluate(request, print));
    if (vm.reset()) spare = vm;
  }
  spare ??= await GuestVm.create(engine, memoryMb);
}

/** Only what came to an end is kept: a VM that was stopped in the middle of something is as before to whoever asks next. */
async function evaluateWith(globals: Buffer, request: GuestRequest, tree: Tree): Promise<void> {
  const vm = await vmWith(globals);
  live = undefined;
  const outcome = vm.evaluate(request, print);
  if (vm.isBroken || (outcome.status !== "ok" && outcome.status !== "error")) return answer(outcome);
  const bytes = packGlobals(vm.image(), engineName);
  live = { bytes, vm };
  answer(outcome, { before: tree, after: new Map([[globalsFile, bytes]]), skipped: 0 });
}

async function vmWith(globals: Buffer): Promise<GuestVm> {
  if (live?.bytes.equals(globals)) return live.vm;
  live = undefined;
  if (globals.length === 0) return fresh();
  try {
    return await GuestVm.restore(engine, memoryMb, unpackGlobals(globals, engineName, memoryMb));
  } catch (error) {
    remark(`The globals of earlier calls are lost: ${error instanceof Error ? error.message : "they are damaged"}\n`);
    return fresh();
  }
}

/** One that has run nothing. */
async function fresh(): Promise<GuestVm> {
  const vm = spare ?? (await GuestVm.create(engine, memoryMb));
  spare = undefined;
  return vm;
}

/** V8 compiles a WASM function when it is first called. Another VM of the same module pays that before the call. */
async function warmUp(): Promise<void> {
  const code = "console.log(1); [1].map((x) => ({ x }));";
  const vm = await GuestVm.create(engine, memoryMb);
  vm.evaluate({ code, timeoutMs: 1_000, maxOutput: 100, resultBytes: 100 }, () => {});
}
