/** What the clients saw and were told: the truth that the server is held to. */

/** A run that the server said it had accepted. */
export interface Accepted {
  readonly runId: string;
  readonly threadId: string;
  /** Name of the POST, also in the run's metadata: `<plan>`, `<plan>-second` or `<plan>-answer-<n>`. */
  readonly post: string;
  readonly plan: string;
  /** Whether the POST carried a key by which the server can tell a repetition. */
  readonly isKeyed: boolean;
  /** By `GET`, when the client was through with it; "gone" after a rollback. */
  status: string;
}

/** One reader of one run's events: the numbers that it got, in the order in which they came. */
export interface Reading {
  readonly runId: string;
  readonly ids: bigint[];
}

/** What a person said about an effect whose outcome nobody knew. */
export interface Decision {
  readonly effect: string;
  /** Name of the POST that carried it. */
  readonly post: string;
  readonly said: "happened" | "not_happened" | "abandon";
  /** From when on nothing can be sent any more, as the question has it. */
  readonly deadline: Date;
  /** Whether the person looked before the deadline: then it may have happened after the look. */
  readonly isEarly: boolean;
}

export class Journal {
  readonly accepted: Accepted[] = [];
  readonly readings: Reading[] = [];
  /** By `<plan>/<question>`: the answers that clients sent. */
  readonly answers = new Map<string, Set<string>>();
  /** In the order in which they were sent. */
  readonly decisions: Decision[] = [];
  /** POSTs of which two with one key gave two runs. */
  readonly createdTwice: string[] = [];
  /** Questions of which two answers were accepted. */
  readonly answeredTwice: string[] = [];
  /** What no client should have seen, in words. */
  readonly oddities: string[] = [];
  /** Plans whose runs somebody wants to leave no trace. */
  readonly mayBeGone = new Set<string>();
  /** POSTs that were refused as they had to be. */
  refused = 0;
  /** When Postgres was made to crash (`Date.now()`): the last events before it may be missing from the log. */
  readonly crashes: number[] = [];
  /** Plans that are over. */
  finished = 0;
  /** Plans whose client gave up at the deadline. */
  readonly givenUp: string[] = [];

  answered(question: string, value: string): void {
    this.answers.set(question, (this.answers.get(question) ?? new Set()).add(value));
  }
}
