/** The classes of LangChain that checkpoints may bring back: messages, documents and prompt values, nothing that acts. */
import { Document } from "@langchain/core/documents";
import * as messages from "@langchain/core/messages";
import { ChatPromptValue, ImagePromptValue, StringPromptValue } from "@langchain/core/prompt_values";
import { type BuildStored, storedBuilder } from "../lib/stored-classes.ts";

const MESSAGE_CLASSES = {
  AIMessage: messages.AIMessage,
  AIMessageChunk: messages.AIMessageChunk,
  ChatMessage: messages.ChatMessage,
  ChatMessageChunk: messages.ChatMessageChunk,
  FunctionMessage: messages.FunctionMessage,
  FunctionMessageChunk: messages.FunctionMessageChunk,
  HumanMessage: messages.HumanMessage,
  HumanMessageChunk: messages.HumanMessageChunk,
  RemoveMessage: messages.RemoveMessage,
  SystemMessage: messages.SystemMessage,
  SystemMessageChunk: messages.SystemMessageChunk,
  ToolMessage: messages.ToolMessage,
  ToolMessageChunk: messages.ToolMessageChunk,
} as const;

type StoredClass = new (fields: never) => object;

/** The prototypes of messages, by which a live one is known, with the name under which it is stored. */
export const messagePrototypes: ReadonlyMap<object, string> = new Map(
  Object.entries(MESSAGE_CLASSES).map(([name, message]) => [message.prototype as object, name]),
);

const messageBuilders = new Map<string, BuildStored>(
  Object.entries(MESSAGE_CLASSES).map(([name, message]) => [name, buildWith(message as StoredClass)]),
);

const otherBuilders: Readonly<Record<string, ReadonlyMap<string, BuildStored>>> = {
  documents: new Map([["Document", buildWith(Document as StoredClass)]]),
  prompt_values: new Map<string, BuildStored>([
    ["ChatPromptValue", buildWith(ChatPromptValue)],
    ["ImagePromptValue", buildWith(ImagePromptValue)],
    ["StringPromptValue", ({ value }) => new StringPromptValue(String(value))],
  ]),
};

/** How to build the object of a stored `lc` id; undefined for one that is not allowed. */
export function builderOf(id: unknown): BuildStored | undefined {
  if (!isId(id)) return undefined;
  const name = id.at(-1) ?? "";
  // LangChain for Python has a module more: langchain_core, messages, ai, AIMessage.
  const isCore = id[0] === "langchain_core" && (id.length === 3 || id.length === 4);
  if (isCore && id[1] === "messages") return messageBuilders.get(name);
  const core = isCore && Object.hasOwn(otherBuilders, id[1] ?? "") ? otherBuilders[id[1] ?? ""]?.get(name) : undefined;
  return core ?? storedBuilder(id);
}

function isId(id: unknown): id is readonly string[] {
  return Array.isArray(id) && id.length > 1 && id.every((part) => typeof part === "string");
}

function buildWith(constructor: StoredClass): BuildStored {
  return (fields) => new constructor(fields as never);
}
