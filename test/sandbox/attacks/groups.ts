/** What a native guest can try on control groups. The doors are those of v2 and of v1; there may be no such folder at all. */
import { type Attempt, loot } from "./attempt.ts";

const [front, back] = loot.split("-");
const shout = `printf '%s-%s' ${front} ${back}`;

const rows: readonly (readonly [name: string, code: string])[] = [
  [
    "50b leave the control group",
    `for place in /sys/fs/cgroup /sys/fs/cgroup/memory /sys/fs/cgroup/pids /sys/fs/cgroup/unified; do
      for door in cgroup.procs tasks cgroup.threads; do
        (echo 0 > $place/$door || echo $$ > $place/$door) 2>/dev/null && ${shout}
      done
    done; true`,
  ],
  [
    "50c control groups of its own",
    `mkdir mine
    for type in cgroup cgroup2; do mount -t $type none mine && ${shout}; done
    for place in /sys/fs/cgroup /sys/fs/cgroup/pids; do mkdir $place/mine && ${shout}; done; true`,
  ],
];

export const groups: readonly Attempt[] = rows.map(([name, code]) => ({ name, language: "shell", code: () => code }));
