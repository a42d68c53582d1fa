/**
 * A short form for what all texts of a kind repeat: 200 bytes of each stored message say that it is one. Characters below
 * U+0020 never stand in JSON text, so each of them can stand for a phrase; but U+0000, with which packed texts begin
 * (packed-text.ts), and those that stored-chunks.ts needs.
 *
 * What is stored is read with these lists: entries may be added, never changed or removed.
 */
type Phrases = readonly (readonly [short: string, phrase: string])[];

interface Abbreviations {
  abbreviate(json: string): string;
  expand(text: string): string;
}

function abbreviationsOf(phrases: Phrases): Abbreviations {
  const toPhrase = new Map(phrases);
  const shortForms = new RegExp(`[${phrases.map(([short]) => short).join("")}]`, "g");
  return {
    abbreviate: (json) => phrases.reduce((text, [short, phrase]) => text.replaceAll(phrase, short), json),
    expand: (text) => text.replace(shortForms, (short) => toPhrase.get(short) ?? short),
  };
}

/** Of the elements of channels. */
export const ofMessages = abbreviationsOf([
  ["\u0002", '{"lc":1,"type":"constructor","id":["langchain_core","messages","HumanMessage"],"kwargs":{"content":'],
  ["\u0003", '{"lc":1,"type":"constructor","id":["langchain_core","messages","AIMessage"],"kwargs":{"content":'],
  ["\u0004", '{"lc":1,"type":"constructor","id":["langchain_core","messages","ToolMessage"],"kwargs":{'],
  ["\u0005", '{"lc":1,"type":"constructor","id":["langchain_core","messages","SystemMessage"],"kwargs":{"content":'],
  ["\u0006", '{"lc":1,"type":"constructor","id":["langchain_core","messages","AIMessageChunk"],"kwargs":{'],
  ["\u0007", '"additional_kwargs":{},"response_metadata":{}'],
  ["\u0008", '"tool_calls":[],"invalid_tool_calls":[]'],
  ["\u000b", '{"lc":1,"type":"constructor","id":['],
]);

/** Of what a short row says about its checkpoint (short-rows.ts). */
export const ofCheckpoints = abbreviationsOf([
  ["\u0007", '{"versions_seen":{"__input__":{},"__start__":{"__start__":'],
  ["\u0001", '{"v":4,"ts":"'],
  ["\u0002", '","versions_seen":{'],
  ["\u0003", '"__input__":{}'],
  ["\u0004", '"__start__":{"__start__":'],
  ["\u0005", '":{"branch:to:'],
  ["\u0006", '"branch:to:'],
]);

/** Of the versions of a checkpoint's channels, which statements read: few, since each is one more step for them. */
const versions: Phrases = [
  ["\u0001", '"__start__":'],
  ["\u0002", '"branch:to:'],
];
export const ofVersions = abbreviationsOf(versions);

/** In SQL, what `ofVersions` expands. */
export function expandedVersions(text: string): string {
  return versions.reduce((sql, [short, phrase]) => `replace(${sql}, chr(${short.charCodeAt(0)}), '${phrase}')`, text);
}
