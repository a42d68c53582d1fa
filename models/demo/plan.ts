/**
 * Reads a plan out of a user message: regular expressions only, nothing is evaluated here. Arithmetic becomes the code
 * of a `run_javascript` call, which runs in the tool's sandbox like any other model-written code.
 */

export interface PlannedCall {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** Calls of one turn: an e-mail for each recipient, so that several wait for approval at once. */
type Step = readonly PlannedCall[];

interface Found {
  readonly at: number;
  /** A step that passes on the result of the others comes after them, wherever the user mentions it. */
  readonly needsResult?: boolean;
  readonly step: Step;
}

/** Longer messages are cut: some expressions below take time that grows with the square of the length. */
const MAX_LENGTH = 2_000;

const ADDRESS = /[\w.+-]+@[\w-]+(?:\.[\w-]+)+/g;
const URL = /https?:\/\/[^\s<>"')]+/g;
const FILE = String.raw`(?<path>[\w-][\w./-]*\.\w{1,5})\b(?!@)`;
const RESULT = /^(?:it|this|that|(?:the )?(?:result|results|answer|output))$/i;

const abilities: readonly (readonly [tool: string, ability: string])[] = [
  ["run_javascript", 'compute ("What is 17 * 23?")'],
  ["current_time", 'tell the time ("What time is it?")'],
  ["write_file", 'write files ("Save hello to file notes.txt")'],
  ["read_file", 'read files ("Read notes.txt")'],
  ["ls", 'list files ("List the files")'],
  ["fetch_url", 'fetch pages ("Fetch https://example.org")'],
  [
    "send_email",
    'send e-mail, for which you are asked first ("Email ann@example.org about lunch saying see you at noon")',
  ],
];

/** What the demo model can do with these tools, in words. */
export function abilitiesOf(offered: readonly string[]): string[] {
  return abilities.filter(([tool]) => offered.includes(tool)).map(([, ability]) => ability);
}

/** The steps that `message` asks for, in order. `lastResult` is what the latest call returned, if there was one. */
export function planOf(message: string, lastResult: string | undefined): Step[] {
  // Runs of white space are where the expressions would go back and forth longest.
  const text = message.slice(0, MAX_LENGTH).replace(/\s{2,}/g, (run) => (run.includes("\n") ? "\n" : " "));
  const parsers = [javascript, arithmetic, time, listFiles, readFile, writeFile, fetchUrl, email];
  return parsers
    .flatMap((parse) => parse(text, lastResult ?? "") ?? [])
    .sort((a, b) => Number(a.needsResult ?? false) - Number(b.needsResult ?? false) || a.at - b.at)
    .map((found) => found.step);
}

function javascript(text: string): Found | undefined {
  const match = /\b(?:run|execute)\b[^`]*`+(?:(?:js|javascript)\s)?(?<code>[^`]+)`/i.exec(text);
  return match
    ? { at: match.index, step: [{ name: "run_javascript", args: { code: match.groups!["code"]!.trim() } }] }
    : undefined;
}

function arithmetic(text: string): Found | undefined {
  const plain = blank(text, [/`[^`]*`/g, ADDRESS, URL, /"[^"]*"/g])
    .replace(/\btimes\b|\bmultiplied by\b|×/gi, "*")
    .replace(/\bdivided by\b|÷/gi, "/")
    .replace(/\bplus\b/gi, "+")
    .replace(/\bminus\b/gi, "-");
  for (const match of plain.matchAll(/[(\d][\d\s.+\-*/%()^]*[\d)]/g)) {
    const expression = match[0].replace(/\s+/g, " ");
    if (isExpression(expression)) {
      return { at: match.index, step: [{ name: "run_javascript", args: { code: expression.replaceAll("^", "**") } }] };
    }
  }
  return undefined;
}

/** Numbers with operators between them and balanced parentheses; no date, and no number alone. */
function isExpression(text: string): boolean {
  if (/^\d{4}-\d\d-\d\d$/.test(text)) return false;
  if (!/^\(*\s*-?\d+(?:\.\d+)?\s*\)*(?:\s*(?:[+\-/%^]|\*\*?)\s*\(*\s*-?\d+(?:\.\d+)?\s*\)*)+$/.test(text)) return false;
  let open = 0;
  for (const character of text) {
    if (character === "(") open += 1;
    if (character === ")") open -= 1;
    if (open < 0) return false;
  }
  return open === 0;
}

function time(text: string): Found | undefined {
  const match = /\bwhat time\b|\b(?:the|current) (?:time|date)\b|\btoday's date\b|\bwhat day\b/i.exec(text);
  if (!match) return undefined;
  const time_zone = /\b(?:UTC|[A-Z][A-Za-z]+\/[A-Z][A-Za-z_]+)\b/.exec(text)?.[0];
  return { at: match.index, step: [{ name: "current_time", args: time_zone === undefined ? {} : { time_zone } }] };
}

function listFiles(text: string): Found | undefined {
  const match = /\blist\b[^.]{0,40}\bfiles\b|\b(?:what|which) files\b/i.exec(text);
  return match ? { at: match.index, step: [{ name: "ls", args: {} }] } : undefined;
}

function readFile(text: string): Found | undefined {
  const verb = String.raw`\b(?:read|show|open|print)\s+(?:me\s+)?(?:the\s+)?(?:file\s+)?`;
  const match = new RegExp(verb + FILE, "i").exec(blank(text, [ADDRESS, URL]));
  return match
    ? { at: match.index, step: [{ name: "read_file", args: { file_path: match.groups!["path"] } }] }
    : undefined;
}

function writeFile(text: string, lastResult: string): Found | undefined {
  const verb = String.raw`\b(?:write|save|store|put)\s+(?<content>.{1,2000}?)\s+(?:to|in|into|as)\s+(?:the\s+|a\s+)?`;
  const file = String.raw`(?:file\s+)?(?:called\s+|named\s+)?`;
  const match = new RegExp(verb + file + FILE, "dis").exec(blank(text, [ADDRESS, URL]));
  if (!match) return undefined;
  const content = text.slice(...match.indices!.groups!["content"]!);
  const needsResult = RESULT.test(content);
  return {
    at: match.index,
    needsResult,
    step: [
      {
        name: "write_file",
        args: { file_path: match.groups!["path"], content: needsResult ? lastResult : unquote(content) },
      },
    ],
  };
}

function fetchUrl(text: string): Found | undefined {
  const match = /\b(?:fetch|open|get|load|download|visit|read|summari[sz]e)\b/i.exec(text);
  const url = text.match(URL)?.[0]?.replace(/[.,;:!?]+$/, "");
  return match && url !== undefined ? { at: match.index, step: [{ name: "fetch_url", args: { url } }] } : undefined;
}

function email(text: string, lastResult: string): Found | undefined {
  const match = /\b(?:e-?mail|mail|send)\b/i.exec(text);
  const recipients = [...new Set(text.match(ADDRESS))];
  if (!match || recipients.length === 0) return undefined;
  const said = /\b(?:saying|that says|with (?:the )?(?:text|body|message))\s*:?\s+(?<body>.+)$/is.exec(text);
  const head = said ? text.slice(0, said.index) : text;
  const about = /\b(?:about|with (?:the )?subject)\s+(?<subject>[^\n.;]{1,200}?)\s*(?:,|\band\b|[.;]|$)/i.exec(head);
  const subject = about ? unquote(about.groups!["subject"]!) : "A message from the demo agent";
  const needsResult = !said && /\b(?:it|result|results|answer|output)\b/i.test(head);
  const body = said ? unquote(said.groups!["body"]!.trim()) : needsResult ? lastResult : subject;
  return {
    at: match.index,
    needsResult,
    step: recipients.map((to) => ({ name: "send_email", args: { to: [to], subject, body } })),
  };
}

/** `text` with what `patterns` match blotted out; positions stay. */
function blank(text: string, patterns: readonly RegExp[]): string {
  return patterns.reduce((rest, pattern) => rest.replace(pattern, (found) => "_".repeat(found.length)), text);
}

function unquote(text: string): string {
  return /^(["'“‘])(?<inner>.*)["'”’]$/s.exec(text)?.groups!["inner"] ?? text;
}
