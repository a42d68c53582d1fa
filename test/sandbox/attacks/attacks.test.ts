/** No attempt of the matrices works, for root and for an ordinary user, at any isolation that this machine has. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { z } from "zod";

const Report = z.object({
  user: z.int(),
  made: z.int(),
  capabilities: z.object({ languages: z.array(z.string()) }),
  worked: z.array(z.object({ name: z.string(), status: z.string(), worked: z.string() })),
});

const ordinaryUser = 65_534;

/** Those that can be here: an ordinary user cannot become root. */
const users = process.getuid?.() === 0 ? [0, ordinaryUser] : [process.getuid!()];

test.each(users)(
  "none of the attempts on the wasm sandbox works, started by user %i",
  async (user) => {
    const identity = user === 0 ? {} : { uid: user, gid: user };
    const own = process.getuid?.() === user ? {} : identity;
    const { stdout } = await promisify(execFile)(process.execPath, ["test/sandbox/attacks/run-matrix.ts", "wasm"], own);
    const report = Report.parse(JSON.parse(stdout));
    expect(report.worked).toEqual([]);
    expect(report).toMatchObject({ user, capabilities: { languages: ["js", "python", "shell"] } });
    expect(report.made).toBeGreaterThan(80);
  },
  600_000,
);
