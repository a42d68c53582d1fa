/**
 * The globals of a thread's JavaScript as bytes: a snapshot of the VM's whole memory. Written and read by guest
 * processes only, since whoever broke out of a VM may have written one; to everybody else it is bytes of a bounded size.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { packBundle, unpackHeader } from "./protocol.ts";
import type { Image } from "./vm.ts";

/** What is in the memory of a VM beside the guest's data: the engine's stack and its own data. */
const engineBytes = 4 * 1_024 * 1_024;
/** Larger than the memory of any VM: addresses in it are numbers below. */
const maxAddress = 2 ** 32;

/** `engine`: whose memory it is. Compressed, with a checksum of its own. */
export function packGlobals({ memory, ...pointers }: Image, engine: string): Buffer {
  const packed = zstdCompressSync(memory, {
    params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 },
  });
  return packBundle({ engine, ...pointers }, [packed]);
}

/** Throws, in words for a reader, for what is cut short, damaged, another engine's or larger than a VM may be. */
export function unpackGlobals(bytes: Buffer, engine: string, memoryMb: number): Image {
  const { engine: written, stackPointer, runtimePtr, contextPtr, finish, rest } = parse(bytes);
  if (written !== engine) throw new Error("they were kept by another version of the engine");
  return {
    memory: unpackMemory(rest, memoryMb * 1_024 * 1_024 + engineBytes),
    stackPointer: address(stackPointer),
    runtimePtr: address(runtimePtr),
    contextPtr: address(contextPtr),
    finish: address(finish),
  };
}

function parse(bytes: Buffer): Record<string, unknown> & { rest: Buffer } {
  try {
    const { header, rest } = unpackHeader(bytes);
    return { ...(header as object), rest };
  } catch {
    throw damaged();
  }
}

function unpackMemory(packed: Buffer, maxOutputLength: number): Buffer {
  try {
    return zstdDecompressSync(packed, { maxOutputLength });
  } catch (error) {
    const isTooLarge = (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE";
    throw isTooLarge ? new Error("they take more memory than this call has") : damaged();
  }
}

function address(value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value) && value > 0 && value < maxAddress) return value;
  throw damaged();
}

function damaged(): Error {
  return new Error("they are damaged");
}
