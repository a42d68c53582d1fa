/** The text of an HTML page, roughly. One pass with `indexOf`: a regular expression over a hostile page can take hours. */

const invisible = new Set(["script", "style", "noscript", "template", "svg", "head"]);
const entities: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: " ", "#39": "'" };

export function textOfHtml(html: string): string {
  const lower = html.toLowerCase();
  const parts: string[] = [];
  let at = 0;
  while (at < html.length) {
    const tag = html.indexOf("<", at);
    parts.push(html.slice(at, tag === -1 ? html.length : tag));
    if (tag === -1) break;
    const name = /^[a-z0-9]+/.exec(lower.slice(tag + 1, tag + 20))?.[0] ?? "";
    const end = lower.startsWith("<!--", tag) ? "-->" : invisible.has(name) ? `</${name}` : ">";
    const closed = lower.indexOf(end, tag + 1);
    if (closed === -1) break;
    // The end tag of an invisible element is left to the next round.
    at = end.startsWith("</") ? closed : closed + end.length;
    parts.push(/^(?:p|div|br|li|tr|h[1-6]|section|article)$/.test(name) ? "\n" : " ");
  }
  const text = parts.join("").replaceAll(/&([a-z]+|#39);/g, (whole, name: string) => entities[name] ?? whole);
  const lines = text.split("\n").map((line) => line.split(/\s/).filter(Boolean).join(" "));
  return lines.filter((line) => line !== "").join("\n");
}
