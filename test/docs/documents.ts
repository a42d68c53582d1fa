/** The documents of this repository, and the parts of them that code can be held to. */
import { globSync, readFileSync } from "node:fs";

export interface Document {
  /** From the root of the tree. */
  readonly path: string;
  readonly text: string;
}

export const documents: readonly Document[] = ["README.md", "CONTRIBUTING.md", ...globSync("docs/**/*.md")]
  .toSorted()
  .map((path) => ({ path, text: readFileSync(path, "utf8") }));

/** The cells of the rows under a heading, without the head of the table and without the marks of code. */
export function tableUnder(path: string, heading: string): string[][] {
  const lines = readFileSync(path, "utf8").split("\n");
  const section = lines.slice(lines.findIndex((line) => /^#+ /.test(line) && line.endsWith(` ${heading}`)) + 1);
  const start = section.findIndex((line) => line.startsWith("|"));
  const end = section.findIndex((line, at) => at > start && !line.startsWith("|"));
  return section.slice(start + 2, end).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll("`", "")),
  );
}

/** The blocks of code of a language, in order. */
export function codeOf(path: string, language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, "gms");
  return [...readFileSync(path, "utf8").matchAll(fence)].map(([, code = ""]) => code);
}

/** The anchor of a heading, as GitHub makes it. */
export function anchorOf(heading: string): string {
  const plain = heading.replaceAll("`", "").toLowerCase();
  return plain.replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-");
}
