/**
 * A short form for what every message repeats: 200 bytes of each stored message say that it is one. Characters below
 * U+0020 never stand in JSON text, so each of them can stand for a phrase;
 * but U+0000, with which packed texts begin (packed-text.ts).
 *
 * What is stored is read with this list: entries may be added, never changed or removed.
 */
const PHRASES: readonly (readonly [short: string, phrase: string])[] = [
  ["\u0002", '{"lc":1,"type":"constructor","id":["langchain_core","messages","HumanMessage"],"kwargs":{"content":'],
  ["\u0003", '{"lc":1,"type":"constructor","id":["langchain_core","messages","AIMessage"],"kwargs":{"content":'],
  ["\u0004", '{"lc":1,"type":"constructor","id":["langchain_core","messages","ToolMessage"],"kwargs":{'],
  ["\u0005", '{"lc":1,"type":"constructor","id":["langchain_core","messages","SystemMessage"],"kwargs":{"content":'],
  ["\u0006", '{"lc":1,"type":"constructor","id":["langchain_core","messages","AIMessageChunk"],"kwargs":{'],
  ["\u0007", '"additional_kwargs":{},"response_metadata":{}'],
  ["\u0008", '"tool_calls":[],"invalid_tool_calls":[]'],
  ["\u000b", '{"lc":1,"type":"constructor","id":['],
];

const toPhrase = new Map(PHRASES);
const SHORT_FORMS = new RegExp(`[${PHRASES.map(([short]) => short).join("")}]`, "g");

export function abbreviate(json: string): string {
  return PHRASES.reduce((text, [short, phrase]) => text.replaceAll(phrase, short), json);
}

export function expand(text: string): string {
  return text.replace(SHORT_FORMS, (short) => toPhrase.get(short) ?? short);
}
