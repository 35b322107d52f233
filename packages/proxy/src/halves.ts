/**
 * The two halves of a request that is forwarded, as their codecs implement them: where its reply goes, and the
 * connection that it is sent on. HTTP/1 and HTTP/2 implement both, so every way from one to the other is there.
 */
import type { MeshError } from "@inmesh/core/spi";
import type { Fields } from "./fields.ts";
import type { ReplyHead } from "./message.ts";

/**
 * The client's side of one request. Called in the order interim…, head, data…, end, or `fail` in the place of
 * what would follow. Methods must not throw. Once the last byte has gone to the client, or the client
 * has gone, the codec calls `request.ended()`.
 */
export interface ReplySink {
  /** An informative reply, of which more than one may come. The codec drops what its client cannot have. */
  interim(head: ReplyHead): void;
  /** `close`: the connection should end with this reply, where its protocol has one reply after the other. */
  head(head: ReplyHead, close: boolean): void;
  /** Of the body. The bytes are valid during the call. False: no more, until the sink calls `exchange.resume()`. */
  data(bytes: Buffer, start: number, end: number): boolean;
  /** All that came at once has been given, and more follows later: what was gathered goes out. */
  flush(): void;
  /** `trailers`: undefined: there are none. */
  end(trailers: Fields | undefined): void;
  /**
   * The rest of the reply will not come: the client has to see that it is not whole. Where nothing of it has gone out, the codec
   * may answer with this error instead. Undefined: it may not, because of an error of the proxy's own.
   */
  fail(error: MeshError | undefined): void;
  /** 101: what follows are bytes of another protocol, in both directions, until their ends. */
  upgraded(head: ReplyHead): void;
}

/**
 * A connection, or stream, that carries one attempt. It calls `exchange.flush` when it has delivered what it had
 * and the reply goes on: writing is what costs, so heads and bodies that come together go out together. After `exchange.replied` it delivers nothing of the body
 * before `resume`, and nothing between a `data` that gave false and the next `resume`.
 */
export interface Wire {
  /** Go on delivering. May be called from inside `exchange.data`, and at any time without effect. */
  resume(): void;
  /**
   * Nothing more is sent or wanted: HTTP/1 ends its connection, HTTP/2 resets its stream. Idempotent. `isLate`: because
   * its time is over, which says something about the connection too if nothing was answered on it meanwhile.
   */
  abort(isLate?: boolean): void;
}
