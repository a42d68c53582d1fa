/** Runs a classic BPF program over one system call, as the kernel does. Knows the instructions that a filter uses. */

export interface Call {
  readonly audit: number;
  readonly number: number;
  /** 64 bits each. */
  readonly args?: readonly bigint[];
}

/** What the filter answers; throws for a program that the kernel would not take. */
export function interpret(program: Buffer, { audit, number, args = [] }: Call): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number >>> 0, 0);
  data.writeUInt32LE(audit, 4);
  for (const [i, value] of args.entries()) data.writeBigUInt64LE(BigInt.asUintN(64, value), 16 + 8 * i);
  const length = program.length / 8;
  if (length > 4_096) throw new Error("More than BPF_MAXINSNS");
  let accumulator = 0;
  for (let at = 0; at < length;) {
    const [code, yes, no] = [program.readUInt16LE(at * 8), program[at * 8 + 2]!, program[at * 8 + 3]!];
    const operand = program.readUInt32LE(at * 8 + 4);
    at++;
    if (code === 0x20) accumulator = data.readUInt32LE(operand);
    else if (code === 0x15) at += accumulator === operand ? yes : no;
    else if (code === 0x25) at += accumulator > operand ? yes : no;
    else if (code === 0x45) at += (accumulator & operand) !== 0 ? yes : no;
    else if (code === 0x06) return operand;
    else throw new Error(`Instruction ${code}`);
  }
  throw new Error("The program runs past its end");
}
