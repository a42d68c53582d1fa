/**
 * Main file of a guest process for JavaScript: a fresh VM for each evaluation, with memory of its own, so that nothing
 * is left of one for the next. It is made ahead, while nobody waits.
 */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { answer, confine, receive, send } from "./guest-io.ts";
import { createVm, type Engine } from "./vm.ts";

/** Of the web's types, this is all that is needed here. */
declare const WebAssembly: { readonly Module: new (bytes: Uint8Array) => object };

const [memory, libraryFile = "", wasmFile = ""] = process.argv.slice(2);
const memoryMb = Number(memory);

// By their real paths: resolving a package would have to read folders and links that the guest may not read.
const library = (await import(pathToFileURL(libraryFile).href)) as Engine["library"];
const engine: Engine = { library, wasm: new WebAssembly.Module(readFileSync(wasmFile)) };
await warmUp();
let vm = await createVm(engine, memoryMb);

confine();
for (;;) {
  const { request } = receive();
  answer(vm.evaluate(request, (text) => send("stdout", Buffer.from(text))));
  vm = await createVm(engine, memoryMb);
}

/** V8 compiles a WASM function when it is first called. Another VM of the same module pays that before the call. */
async function warmUp(): Promise<void> {
  const code = "console.log(1); [1].map((x) => ({ x }));";
  (await createVm(engine, memoryMb)).evaluate({ code, timeoutMs: 1_000, maxOutput: 100, resultBytes: 100 }, () => {});
}
