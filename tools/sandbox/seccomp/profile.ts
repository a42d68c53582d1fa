/**
 * The rules as a container engine takes them (OCI runtime-spec, config-linux.md#seccomp). What that form cannot say is
 * said more strictly; only that calls newer than the table do not exist, it cannot say at all.
 */
import { type Condition, type GuestKind, rulesFor } from "./rules.ts";
import { machines } from "./syscalls.ts";

const architectures: Readonly<Partial<Record<NodeJS.Architecture, string>>> = {
  x64: "SCMP_ARCH_X86_64",
  arm64: "SCMP_ARCH_AARCH64",
};
const errors = { eperm: 1, enosys: 38 } as const;
const low32 = 0xffff_ffff;

interface Comparison {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: "SCMP_CMP_MASKED_EQ" | "SCMP_CMP_NE";
}

/** JSON. Undefined for a machine whose system calls are not in the table. */
export function seccompProfile(kind: GuestKind, arch: NodeJS.Architecture = process.arch): string | undefined {
  const [machine, architecture] = [machines[arch], architectures[arch]];
  if (!machine || !architecture) return undefined;
  const syscalls = rulesFor(kind).flatMap(({ calls, when = [], verdict }) => {
    const names = calls.filter((call) => machine.numberOf(call) !== undefined);
    if (names.length === 0 || verdict === "allow" || verdict === "fake") return [];
    const refusal = { names, action: "SCMP_ACT_ERRNO", errnoRet: errors[verdict] };
    return alternatives(when).map((args) => ({ ...refusal, args }));
  });
  return JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", architectures: [architecture], syscalls });
}

/** Each bit of a mask is a case of its own. What names an argument twice is refused whatever it is: engines take "and" for "or" there. */
function alternatives(when: readonly Condition[]): Comparison[][] {
  if (new Set(when.map(({ arg }) => arg)).size < when.length) return [[]];
  return when.reduce<Comparison[][]>(
    (cases, condition) => cases.flatMap((args) => casesOf(condition).map((one) => [...args, one])),
    [[]],
  );
}

function casesOf(condition: Condition): Comparison[] {
  const { arg: index } = condition;
  const masked = (value: number, valueTwo: number): Comparison => ({
    index,
    value,
    valueTwo,
    op: "SCMP_CMP_MASKED_EQ",
  });
  switch (condition.is) {
    case "eq":
      return [masked(low32, condition.value)];
    case "ne":
      return [{ index, value: condition.value, op: "SCMP_CMP_NE" }];
    case "set":
      return bitsOf(condition.value).map((bit) => masked(bit, bit));
    case "clear":
      return [masked(condition.value, 0)];
    case "eq64":
      throw new Error("Only a launcher's own rules compare 64 bits");
  }
}

function bitsOf(mask: number): number[] {
  return Array.from({ length: 32 }, (_, bit) => 2 ** bit).filter((bit) => Math.floor(mask / bit) % 2 === 1);
}
