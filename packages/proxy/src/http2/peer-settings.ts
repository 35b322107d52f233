/** What the peer of a connection has said of itself in SETTINGS (RFC 9113 §6.5). */
import {
  DEFAULT_WINDOW,
  ERROR,
  MAX_FRAME_BYTES,
  MAX_WINDOW,
  readUInt32,
  SETTING,
} from "./frames.ts";

/** A legal SETTINGS_MAX_FRAME_SIZE is not larger. */
const LARGEST_FRAME_BYTES = 16_777_215;

export interface SettingsOwner {
  /** The table that its heads are compressed with has this size from now on. */
  tableResized(bytes: number): void;
  /** Each stream may send so much more, or less. False: the connection has failed. */
  windowsMoved(change: number): boolean;
  fail(code: number, why: string): false;
}

export class PeerSettings {
  readonly #owner: SettingsOwner;
  /** The first ones have come. */
  settled = false;
  /** It has confirmed ours. */
  confirmed = false;
  /** What a stream may send to it at first. */
  initialWindow: number = DEFAULT_WINDOW;
  /** How many streams it takes. */
  maxStreams: number = Infinity;
  /** The largest head that it takes. */
  maxHeaderBytes: number = Infinity;

  constructor(owner: SettingsOwner) {
    this.#owner = owner;
  }

  /** A frame of them. False: the connection has failed. */
  read(bytes: Buffer, from: number, to: number): boolean {
    for (let at = from; at < to; at += 6) {
      if (!this.#take((bytes[at]! << 8) | bytes[at + 1]!, readUInt32(bytes, at + 2))) return false;
    }
    return true;
  }

  #take(id: number, value: number): boolean {
    const owner = this.#owner;
    switch (id) {
      case SETTING.headerTableSize:
        owner.tableResized(value);
        return true;
      case SETTING.enablePush:
        return value <= 1 || owner.fail(ERROR.protocol, "SETTINGS_ENABLE_PUSH is neither 0 nor 1");
      case SETTING.maxConcurrentStreams:
        this.maxStreams = value;
        return true;
      case SETTING.initialWindowSize: {
        if (value > MAX_WINDOW) {
          return owner.fail(ERROR.flowControl, "SETTINGS_INITIAL_WINDOW_SIZE is too large");
        }
        const change = value - this.initialWindow;
        this.initialWindow = value;
        return owner.windowsMoved(change);
      }
      case SETTING.maxFrameSize:
        // Larger frames would gain nothing.
        return (
          (value >= MAX_FRAME_BYTES && value <= LARGEST_FRAME_BYTES) ||
          owner.fail(ERROR.protocol, "SETTINGS_MAX_FRAME_SIZE is out of range")
        );
      case SETTING.maxHeaderListSize:
        this.maxHeaderBytes = value;
        return true;
      default:
        return true; // §6.5.2
    }
  }
}
