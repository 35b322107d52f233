/** Why an address could not be listened on, in one line that says what to do. */
import { existsSync } from "node:fs";
import { dirname } from "node:path";

const UNIX = "unix:";

interface Cause {
  /** `taken`: another process has it; `denied`: not with this user's rights; `failed`: anything else. */
  readonly kind: "taken" | "denied" | "failed";
  readonly what: string;
  readonly hint: string;
}

const CAUSES: Readonly<Record<string, Cause>> = {
  EADDRINUSE: {
    kind: "taken",
    what: "is in use",
    hint: "stop what listens there (ss -ltnp shows it), choose another port, or give every process that shares it --reuse-port",
  },
  EACCES: {
    kind: "denied",
    what: "may not be listened on by this user",
    hint: "choose a port from 1024 up, or a path in a folder that this user may write to; CAP_NET_BIND_SERVICE allows lower ports",
  },
  EPERM: {
    kind: "denied",
    what: "may not be listened on by this user",
    hint: "look at what restricts this process, such as seccomp, AppArmor or SELinux",
  },
  EADDRNOTAVAIL: {
    kind: "failed",
    what: "is no address of this machine",
    hint: "give one that `ip address` shows, or 0.0.0.0 for all of them",
  },
  EAFNOSUPPORT: {
    kind: "failed",
    what: "is of a family that this machine does not have",
    hint: "give an IPv4 address",
  },
  ENOENT: {
    kind: "failed",
    what: "is in a folder that does not exist",
    hint: "make the folder first",
  },
  ENOTSUP: {
    kind: "failed",
    what: "cannot be shared by several processes on this system",
    hint: "leave --reuse-port and --workers out",
  },
};

export class ListenError extends Error {
  override readonly name = "ListenError";
  /** Node's code, such as `EADDRINUSE`. */
  readonly code: string;
  readonly kind: Cause["kind"];
  /** `127.0.0.1:4140`, or `unix:/run/mesh.sock`. */
  readonly address: string;
  /** What to do. */
  readonly hint: string;

  private constructor(address: string, code: string, { kind, what, hint }: Cause, cause: Error) {
    super(`${address} ${what} (${code})`, { cause });
    this.code = code;
    this.kind = kind;
    this.address = address;
    this.hint = hint;
  }

  static of(cause: Error, address: string): ListenError {
    let { code = "UNKNOWN" } = cause as NodeJS.ErrnoException;
    // Node says so of a folder that is not there, too.
    if (code === "EACCES" && address.startsWith(UNIX) && !hasFolder(address)) code = "ENOENT";
    const known = CAUSES[code] ?? {
      kind: "failed",
      what: "cannot be listened on",
      hint: cause.message,
    };
    return new ListenError(address, code, known, cause);
  }
}

function hasFolder(address: string): boolean {
  return existsSync(dirname(address.slice(UNIX.length)));
}
