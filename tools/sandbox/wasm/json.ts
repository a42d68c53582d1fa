/** Turns JSON that untrusted code wrote into a value that cannot hurt the code that reads it. */

const maxDepth = 32;

/** Throws for text that is not JSON or is nested deeper than 32 levels. Drops `__proto__` and `constructor` keys. */
export function parseUntrusted(json: string): unknown {
  if (depthOf(json) > maxDepth) throw new Error(`The result is nested deeper than ${maxDepth} levels`);
  return JSON.parse(json, (key, value: unknown) => (key === "__proto__" || key === "constructor" ? undefined : value));
}

/** Counted in the text, since a parser that builds the value first may overflow its stack in the reviver. */
function depthOf(json: string): number {
  let [depth, deepest, inString] = [0, 0, false];
  for (let i = 0; i < json.length; i++) {
    const character = json[i];
    if (inString) {
      if (character === "\\") i++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === "[" || character === "{") deepest = Math.max(deepest, ++depth);
    else if (character === "]" || character === "}") depth--;
  }
  return deepest;
}
