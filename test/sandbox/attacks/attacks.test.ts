/** No attempt of the matrices works, for root and for an ordinary user, at any isolation that this machine has. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { z } from "zod";

const Report = z.object({
  user: z.int(),
  made: z.int(),
  capabilities: z.object({ available: z.boolean(), languages: z.array(z.string()), reason: z.string().optional() }),
  worked: z.array(z.object({ name: z.string(), status: z.string(), worked: z.string() })),
});

const ordinaryUser = 65_534;

/** Those that can be here: an ordinary user cannot become root. */
const users = process.getuid?.() === 0 ? [0, ordinaryUser] : [process.getuid!()];

async function attackAs(user: number, executor: string) {
  const identity = process.getuid?.() === user ? {} : { uid: user, gid: user };
  const file = "test/sandbox/attacks/run-matrix.ts";
  const { stdout } = await promisify(execFile)(process.execPath, [file, executor], identity);
  const report = Report.parse(JSON.parse(stdout));
  expect(report.user).toBe(user);
  return report;
}

test.each(users)(
  "none of the attempts on the wasm sandbox works, started by user %i",
  async (user) => {
    const report = await attackAs(user, "wasm");
    expect(report.worked).toEqual([]);
    expect(report).toMatchObject({ capabilities: { languages: ["js", "python", "shell"] } });
    expect(report.made).toBeGreaterThan(80);
  },
  600_000,
);

/** What a machine may lack. Anything else that a self-test says is a defect. */
const lacks =
  /^(?:This kernel has no Landlock|Landlock ABI \d+ |bubblewrap is not installed|bwrap: .*namespace|Neither docker nor podman|docker: |podman: )/;

test.each(
  ["landlock", "bwrap", "container", "remote"].flatMap((executor) => users.map((user) => [executor, user] as const)),
)(
  "none of the attempts on the %s sandbox works, started by user %i, or the self-test says what is missing",
  async (executor, user) => {
    const { worked, made, capabilities } = await attackAs(user, executor);
    expect(worked).toEqual([]);
    if (capabilities.available) expect(made).toBeGreaterThan(80);
    else expect(capabilities.reason).toMatch(lacks);
  },
  600_000,
);
