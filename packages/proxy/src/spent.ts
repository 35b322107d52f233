/**
 * Memory of bytes that have gone on, given back at once. Node reads an accepted socket into a new buffer of up to 64 KiB
 * each time, and V8 frees buffers when it collects garbage: a long body leaves so little other garbage that up to 64 MB
 * of them wait for that. What nothing reads any more is therefore freed here (ECMAScript 2024,
 * `ArrayBuffer.prototype.transfer`); whatever is missed is freed by V8 as ever.
 */
import type { Writable } from "node:stream";

/** Smaller ones cost more to free than they hold. */
const WORTH_BYTES = 4_096;
const NOTHING = Buffer.alloc(0);

/** It is the only view of its memory: not a part of Node's pool, of a slab, or of what was read together. */
function isAlone({ length, buffer }: Buffer): boolean {
  return length >= WORTH_BYTES && buffer.byteLength === length;
}

/** Frees it. Nothing may read it afterwards, and no write of it may be in progress: Node's does not hold the memory. */
export function free(bytes: Buffer): void {
  if (isAlone(bytes)) (bytes.buffer as ArrayBuffer).transfer(0);
}

/** Writes it, and frees it once the kernel has it all. False: much waits, as of `write`. */
export function writeAndFree(socket: Writable, bytes: Buffer): boolean {
  if (!isAlone(bytes)) return socket.write(bytes);
  return socket.write(bytes, (error) => {
    // After an error nothing says that the write is over.
    if (error == null) free(bytes);
  });
}

/** Calls back once the kernel has all that was written so far; never after an error. */
export function afterSent(socket: Writable, done: () => void): void {
  socket.write(NOTHING, (error) => {
    if (error == null) done();
  });
}

/** A copy that can be freed. */
export function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const length = end - start;
  if (length < WORTH_BYTES) return Buffer.from(bytes.subarray(start, end));
  const copy = Buffer.allocUnsafeSlow(length);
  bytes.copy(copy, 0, start, end);
  return copy;
}
