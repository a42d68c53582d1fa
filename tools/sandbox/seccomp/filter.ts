/**
 * Assembles a seccomp filter: classic BPF over `struct seccomp_data { int nr; u32 arch; u64 ip; u64 args[6]; }`
 * (linux/filter.h, linux/seccomp.h), 8 bytes an instruction, little-endian as both machines are.
 */
import { type Condition, type GuestKind, type Rule, rulesFor, type Verdict } from "./rules.ts";
import { machines, newestKnown } from "./syscalls.ts";

const loadWord = 0x20; // BPF_LD | BPF_W | BPF_ABS
const jumpIfEqual = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const jumpIfGreater = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const jumpIfSet = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const giveBack = 0x06; // BPF_RET | BPF_K

/** What a filter answers (SECCOMP_RET_*). */
export const answers = {
  allow: 0x7fff_0000,
  fake: 0x0005_0000,
  eperm: 0x0005_0001,
  enosys: 0x0005_0026,
  kill: 0x8000_0000, // the whole process
} as const satisfies Record<Verdict | "kill", number>;

/** The system calls of x32 come with this bit, under the same audit architecture as x86-64. */
const x32Bit = 0x4000_0000;

const [offsetOfNumber, offsetOfMachine] = [0, 4];
const lowerHalf = (arg: number): number => 16 + 8 * arg;
const upperHalf = (arg: number): number => lowerHalf(arg) + 4;

/** `yes` and `no`: instructions to skip. */
type Instruction = readonly [code: number, operand: number, yes?: number, no?: number];

/**
 * The filter for guests of `kind`, as `SECCOMP_SET_MODE_FILTER` and bwrap's `--seccomp` take it. Undefined for a
 * machine whose system calls are not in the table.
 */
export function seccompFilter(kind: GuestKind, arch: NodeJS.Architecture = process.arch): Buffer | undefined {
  const machine = machines[arch];
  if (!machine) return undefined;
  const program: Instruction[] = [
    [loadWord, offsetOfMachine],
    [jumpIfEqual, machine.audit, 1, 0],
    [giveBack, answers.kill],
    [loadWord, offsetOfNumber],
    [jumpIfGreater, x32Bit - 1, 0, 1],
    [giveBack, answers.kill],
    [jumpIfGreater, newestKnown, 0, 1],
    [giveBack, answers.enosys],
  ];
  for (const rule of rulesFor(kind)) {
    for (const call of rule.calls) {
      const number = machine.numberOf(call);
      if (number !== undefined) program.push(...compile(number, rule));
    }
  }
  program.push([giveBack, answers.allow]);
  return encode(program);
}

/** If the number fits and all conditions hold: the verdict. Otherwise on to the next rule, the number loaded again. */
function compile(number: number, { when = [], verdict }: Rule): Instruction[] {
  const answer: Instruction = [giveBack, answers[verdict]];
  if (when.length === 0) return [[jumpIfEqual, number, 0, 1], answer];
  const tests: ((toNext: number) => Instruction)[] = when.flatMap(testsOf);
  const length = tests.length + 1; // with the answer; the reload comes after it
  const body = tests.map((test, i) => test(length - 1 - i));
  return [[jumpIfEqual, number, 0, length + 1], ...body, answer, [loadWord, offsetOfNumber]];
}

/** Each takes how far the next rule is, from the instruction after it. */
function testsOf(condition: Condition): ((toNext: number) => Instruction)[] {
  const { arg } = condition;
  const load = (offset: number) => (): Instruction => [loadWord, offset];
  const equal =
    (value: number) =>
    (next: number): Instruction => [jumpIfEqual, value, 0, next];
  switch (condition.is) {
    case "eq":
      return [load(lowerHalf(arg)), equal(condition.value)];
    case "ne":
      return [load(lowerHalf(arg)), (next) => [jumpIfEqual, condition.value, next, 0]];
    case "set":
      return [load(lowerHalf(arg)), (next) => [jumpIfSet, condition.value, 0, next]];
    case "clear":
      return [load(lowerHalf(arg)), (next) => [jumpIfSet, condition.value, next, 0]];
    case "eq64":
      return [
        load(lowerHalf(arg)),
        equal(Number(condition.value & 0xffff_ffffn)),
        load(upperHalf(arg)),
        equal(Number(condition.value >> 32n)),
      ];
  }
}

function encode(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8);
  for (const [i, [code, operand, yes = 0, no = 0]] of program.entries()) {
    bytes.writeUInt16LE(code, i * 8);
    bytes.writeUInt8(yes, i * 8 + 2);
    bytes.writeUInt8(no, i * 8 + 3);
    bytes.writeUInt32LE(operand, i * 8 + 4);
  }
  return bytes;
}
