/**
 * Matches paths against the patterns of a model: `*`, `?` and `[...]` within a part, `**` for any number of parts. Own
 * code, because the libraries compile a pattern to a regular expression, which a hostile pattern can keep busy for
 * years; this takes time in proportion to pattern times path.
 */

/** Whether `path` (relative, with `/`) matches. A pattern without `/` matches at the top only, as in a shell. */
export function matchesGlob(path: string, pattern: string): boolean {
  const parts = path.split("/");
  // What the pattern's first i parts match: ends[j] is whether they match the first j parts of the path.
  let ends = [true, ...parts.map(() => false)];
  for (const part of pattern.split("/").filter((item) => item !== "" && item !== ".")) {
    const next = parts.map(() => false);
    const after = [false, ...next];
    for (let j = 0; j <= parts.length; j++) {
      if (part === "**") after[j] = ends[j]! || (j > 0 && after[j - 1]!);
      else if (j > 0) after[j] = ends[j - 1]! && matchesPart(parts[j - 1]!, part);
    }
    ends = after;
  }
  return ends.at(-1)!;
}

/** The usual two pointers: a `*` is retried one character further, and only the last one seen. */
function matchesPart(text: string, pattern: string): boolean {
  const tokens = tokensOf(pattern);
  const characters = Array.from(text);
  let [i, j, star, resume] = [0, 0, -1, 0];
  while (i < characters.length) {
    const token = tokens[j];
    if (token === "*") [star, resume, j] = [j, i, j + 1];
    else if (token !== undefined && token(characters[i]!)) [i, j] = [i + 1, j + 1];
    else if (star >= 0) [resume, i, j] = [resume + 1, resume + 1, star + 1];
    else return false;
  }
  return tokens.slice(j).every((token) => token === "*");
}

type Token = "*" | ((character: string) => boolean);

function tokensOf(pattern: string): Token[] {
  const characters = Array.from(pattern);
  const tokens: Token[] = [];
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i]!;
    const end = character === "[" ? characters.indexOf("]", i + 2) : -1;
    if (character === "*") tokens.push("*");
    else if (character === "?") tokens.push(() => true);
    else if (end > 0) {
      tokens.push(classOf(characters.slice(i + 1, end)));
      i = end;
    } else tokens.push((other) => other === character);
  }
  return tokens;
}

function classOf(members: string[]): (character: string) => boolean {
  const negated = members[0] === "!" || members[0] === "^";
  const listed = negated ? members.slice(1) : members;
  return (character) => {
    let found = false;
    for (let i = 0; i < listed.length; i++) {
      const [from, dash, to] = [listed[i]!, listed[i + 1], listed[i + 2]];
      if (dash === "-" && to !== undefined) {
        found ||= from <= character && character <= to;
        i += 2;
      } else found ||= from === character;
    }
    return found !== negated;
  };
}
