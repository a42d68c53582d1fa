/**
 * Hands an e-mail to an SMTP server or, where none is configured, to a folder. The idempotency key becomes the
 * Message-ID, so that the receiving side can also tell a repetition.
 */
import { createHash } from "node:crypto";
import { open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { createTransport, type SendMailOptions } from "nodemailer";
import { ensurePrivateFolder } from "./sandbox/files.ts";
import { ToolFailure } from "./tool.ts";

export interface Email {
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
  readonly date: Date;
  /** The same for every attempt. */
  readonly key: string;
}

export interface Delivery {
  readonly message_id: string;
  readonly delivered: "smtp" | "outbox";
}

const connectMs = 5_000;

/**
 * Throws `ToolFailure` when the server certainly did not take the message, and the library's error when nobody
 * knows: a connection that broke after the message was on its way.
 */
export async function deliverBySmtp(smtpUrl: string, email: Email, signal: AbortSignal): Promise<Delivery> {
  const transport = createTransport(smtpUrl, {});
  Object.assign(transport.options, { connectionTimeout: connectMs, greetingTimeout: connectMs });
  const close = (): void => transport.close();
  signal.addEventListener("abort", close, { once: true });
  try {
    signal.throwIfAborted();
    const { messageId } = await transport.sendMail(messageOf(email));
    return { message_id: messageId, delivered: "smtp" };
  } catch (error) {
    throw wasRefused(error) ? new ToolFailure("FAILED", "The mail server did not take the message") : error;
  } finally {
    signal.removeEventListener("abort", close);
    transport.close();
  }
}

/** Writes `<dataDir>/outbox/<time>-<key>.eml`, once for a key. */
export async function deliverToOutbox(dataDir: string, email: Email): Promise<Delivery> {
  const folder = join(dataDir, "outbox");
  await ensurePrivateFolder(folder);
  const name = `${email.date.toISOString().replaceAll(/[:.]/g, "-")}-${digestOf(email.key)}.eml`;
  const composer = createTransport({ streamTransport: true, buffer: true, newline: "windows" });
  const { message, messageId } = await composer.sendMail(messageOf(email));
  const delivery: Delivery = { message_id: messageId, delivered: "outbox" };
  const earlier = (await readdir(folder)).some((file) => file.endsWith(`-${digestOf(email.key)}.eml`));
  if (!earlier) await writeWhole(join(folder, name), message as Buffer);
  return delivery;
}

function messageOf({ from, to, subject, text, date, key }: Email): SendMailOptions {
  const domain = from.slice(from.lastIndexOf("@") + 1).replace(/>.*$/, "") || "localhost";
  return {
    from,
    to: [...to],
    subject,
    text,
    date,
    messageId: `<${digestOf(key)}@${domain}>`,
    // Text that came from a model must not name a file or URL for the library to load.
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

/** Before the message was on its way, or by a definite answer of the server. */
function wasRefused(error: unknown): boolean {
  const { code, responseCode } = error as { code?: string; responseCode?: number };
  const before = ["EDNS", "EAUTH", "ENOAUTH", "EENVELOPE", "ETLS", "ECONNREFUSED"];
  return (code !== undefined && before.includes(code)) || (responseCode !== undefined && responseCode >= 400);
}

const digestOf = (key: string): string => createHash("sha256").update(key).digest("hex").slice(0, 32);

/** Atomic: whoever picks up the outbox never sees half a message. */
async function writeWhole(path: string, content: Buffer): Promise<void> {
  const partial = `${path}.tmp`;
  try {
    const file = await open(partial, "w", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
