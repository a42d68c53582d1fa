/**
 * Channels in which the library says that a node is due: they hold null, or nothing. A short row says of its own channels
 * which hold null, since a row of checkpoint_blobs would take 200 bytes for it, with its index entry.
 */
export const NULL = Buffer.from("null");

export function isTrigger(channel: string): boolean {
  return channel.startsWith("branch:to:");
}

export function isNull(blob: Uint8Array): boolean {
  return NULL.equals(blob);
}
