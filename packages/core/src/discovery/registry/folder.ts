/**
 * The directory of a registry. Only what this user has written is believed: the directory may stand among the
 * temporary files of all users, where another user can be the first to make it, and what lies in it says where calls go.
 */
import { constants, existsSync, lstatSync, mkdirSync, type Stats } from "node:fs";
import { lstat, open, opendir, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { codeOf } from "../../errors.ts";
import { MAX_ENTRY_BYTES } from "./entry.ts";

/** Files that are looked at; more of them is no registry. */
export const MAX_FILES = 20_000;
const OTHERS_MAY_WRITE = 0o022;
/** Neither a link nor a pipe: the one leads elsewhere, the other would hold a thread for ever. */
const CAREFULLY = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

const REMEDY = "name another one by INMESH_REGISTRY or createMesh({ registry }), or turn it off";

/** Makes it, readable for this user alone, unless it is there. Throws an Error that says what to do. */
export function makeFolder(dir: string): void {
  try {
    makeWithParents(dir);
  } catch (error) {
    // What stands in its place is named by the check.
    if (codeOf(error) !== "EEXIST") {
      throw new Error(`${dir} cannot be made (${codeOf(error)}): ${REMEDY}`, { cause: error });
    }
  }
  const rule = folderRule(lstatSync(dir));
  if (rule !== undefined) throw new Error(`${dir} ${rule}`);
}

/** By hand: where mkdir says ENOENT although the parent is there, as in /proc, Node's `recursive` never ends. */
function makeWithParents(dir: string): void {
  try {
    mkdirSync(dir, { mode: 0o700 });
  } catch (error) {
    const parent = dirname(dir);
    if (codeOf(error) !== "ENOENT" || parent === dir || existsSync(parent)) throw error;
    makeWithParents(parent);
    mkdirSync(dir, { mode: 0o700 });
  }
}

/** Undefined: it is there and belongs to this user alone. `ENOENT`: it is not there. */
export async function checkFolder(dir: string): Promise<string | undefined> {
  try {
    const rule = folderRule(await lstat(dir));
    return rule === undefined ? undefined : `${dir} ${rule}`;
  } catch (error) {
    return codeOf(error) === "ENOENT"
      ? "ENOENT"
      : `${dir} cannot be read (${codeOf(error)}): ${REMEDY}`;
  }
}

function folderRule(stats: Stats): string | undefined {
  if (!stats.isDirectory()) return `is no directory, or a link to one: ${REMEDY}`;
  const user = process.getuid?.();
  if (user === undefined) return undefined; // Windows: the profile of a user is closed to others
  if (stats.uid !== user) return `belongs to user ${stats.uid}, and not to ${user}: ${REMEDY}`;
  if ((stats.mode & OTHERS_MAY_WRITE) === 0) return undefined;
  return "can be written by other users, who could send calls elsewhere: chmod 700 makes it usable";
}

/** Names of files, at most `MAX_FILES`. Rejects if it cannot be read. */
export async function listFolder(dir: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of await opendir(dir, { bufferSize: 256 })) {
    if (names.length >= MAX_FILES) throw new Error(`${dir} holds more than ${MAX_FILES} files`);
    names.push(name);
  }
  return names;
}

export type FileText =
  | { readonly ok: true; readonly text: string }
  /** `gone`: it was removed meanwhile. */
  | { readonly ok: false; readonly why: string; readonly gone: boolean };

/** A small regular file of this user. */
export async function readOwnFile(dir: string, name: string): Promise<FileText> {
  const failed = (why: string, gone = false): FileText => ({ ok: false, why, gone });
  let file;
  try {
    file = await open(join(dir, name), CAREFULLY);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ELOOP") return failed("is a link, which is not followed");
    return failed(`cannot be read (${code})`, code === "ENOENT");
  }
  try {
    const stats = await file.stat();
    const user = process.getuid?.();
    if (!stats.isFile()) return failed("is no regular file");
    if (user !== undefined && stats.uid !== user) return failed(`belongs to user ${stats.uid}`);
    if (stats.size > MAX_ENTRY_BYTES) return failed(`is larger than ${MAX_ENTRY_BYTES} bytes`);
    const buffer = Buffer.alloc(MAX_ENTRY_BYTES + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
      if (length === buffer.length) return failed(`is larger than ${MAX_ENTRY_BYTES} bytes`);
    }
    return { ok: true, text: buffer.toString("utf8", 0, length) };
  } catch (error) {
    return failed(`cannot be read (${codeOf(error)})`);
  } finally {
    await file.close().catch(() => {});
  }
}

/** Whether or not it is there. Pipes of Windows, which look like paths, end with their process. */
export async function removeFile(path: string): Promise<void> {
  if (!path.startsWith("\\\\")) await unlink(path).catch(() => {});
}
