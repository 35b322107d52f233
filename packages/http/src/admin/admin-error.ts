/** Why a listener of the API of a process could not be opened. */

const HINTS: Readonly<Record<string, string>> = {
  EADDRINUSE: "stop what listens there, or give another port; port 0 chooses a free one",
  EACCES: "choose a port from 1024 up, or a path in a folder that this process may write to",
  EADDRNOTAVAIL: "this machine does not have that address: look at host",
  ENOTFOUND: "the name of host is not known: give an address",
  ENOENT: "make the folder of socketPath first",
  EINVAL: "the path of socketPath is too long for this system",
  ENAMETOOLONG: "the path of socketPath is too long for this system",
};

export class AdminError extends Error {
  override readonly name = "AdminError";
  /** Node's code, such as `EADDRINUSE`. */
  readonly code: string;
  /** `127.0.0.1:9464`, or `unix:/run/app.sock`. */
  readonly address: string;
  /** What to do. */
  readonly hint: string;

  private constructor(message: string, code: string, address: string, hint: string, cause: Error) {
    super(message, { cause });
    this.code = code;
    this.address = address;
    this.hint = hint;
  }

  static of(cause: Error, address: string): AdminError {
    const { code = "UNKNOWN" } = cause as NodeJS.ErrnoException;
    const hint = HINTS[code] ?? "see the cause of this error";
    const what = code === "EADDRINUSE" ? "is taken already" : `cannot be listened on (${code})`;
    return new AdminError(
      `mesh.admin.listen: ${address} ${what}: ${hint}`,
      code,
      address,
      hint,
      cause,
    );
  }
}
