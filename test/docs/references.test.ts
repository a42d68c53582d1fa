/** What documents point to is there: files, headings, tests by their names, scripts. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { anchorOf, type Document, documents } from "./documents.ts";

/** Each of the `stale` references of each document, with where it stands. */
function stale(find: (document: Document) => readonly string[]): string[] {
  return documents.flatMap((document) => find(document).map((reference) => `${document.path}: ${reference}`));
}

test("links lead somewhere", () => {
  const broken = stale(({ path, text }) => {
    const targets = [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
    return targets.filter((target) => {
      if (/^https?:/.test(target)) return false;
      const [file = "", anchor] = target.split("#");
      const place = file === "" ? path : join(dirname(path), file);
      return !existsSync(place) || (anchor !== undefined && !anchorsOf(place).includes(anchor));
    });
  });
  expect(broken).toEqual([]);
});

test("tests that are cited exist under these names", () => {
  const missing = stale(({ path, text }) =>
    [...text.matchAll(/\]\(([^)]+\.test\.ts)\) \*([^*]+)\*(?:\s+and\s+\*([^*]+)\*)?/g)].flatMap(
      ([, file = "", ...names]) => {
        const source = readFileSync(join(dirname(path), file), "utf8");
        return names.filter((name) => name !== undefined && !source.includes(name));
      },
    ),
  );
  expect(missing).toEqual([]);
});

test("files that are named in code are there", () => {
  const missing = stale(({ text }) => {
    const named = /`((?:bench|checkpoints|db|docs|graphs|lib|models|nodes|runs|scripts|server|test|tools)\/[\w./-]*)`/g;
    const scripts = /npx node ([\w.-]+\/[\w/.-]+\.ts)/g;
    const files = [...text.matchAll(named), ...text.matchAll(scripts)].map(([, file = ""]) => file);
    return files.filter((file) => !existsSync(file));
  });
  expect(missing).toEqual([]);
});

test("npm scripts that are named are there", () => {
  const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as { scripts: Record<string, string> };
  const missing = stale(({ text }) =>
    [...text.matchAll(/\bnpm (?:run (?:--silent )?([\w:-]+)|(start|test)\b)/g)]
      .flatMap(([, run, short]) => run ?? short ?? [])
      .filter((name) => !(name in scripts)),
  );
  expect(missing).toEqual([]);
});

test("decisions are numbered without a gap, and titled by their number", () => {
  const decisions = documents.filter(({ path }) => path.startsWith("docs/decisions/"));
  const numbers = decisions.map(({ path }) => Number(/\/(\d{4})-/.exec(path)?.[1]));
  expect(numbers).toEqual(decisions.map((_, at) => at + 1));
  expect(decisions.map(({ text }) => Number(/^# (\d+)\. /.exec(text)?.[1]))).toEqual(numbers);
});

function anchorsOf(path: string): string[] {
  const headings = withoutCode(readFileSync(path, "utf8")).matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading = ""]) => anchorOf(heading));
}

function withoutCode(text: string): string {
  return text.replaceAll(/^```.*?^```$/gms, "");
}
