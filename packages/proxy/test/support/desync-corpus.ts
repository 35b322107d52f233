/**
 * Requests that two servers may read in two ways, with what has to become of each: the statuses that the client gets,
 * and the requests that reach the upstream, as `METHOD target body`. From docs of request smuggling
 * (RFC 9112 §11, Kettle 2019 and 2025, http-garden, Http11Probe) and the advisories named in the table of vectors.
 */
export interface Payload {
  readonly id: string;
  readonly bytes: string;
  /** Of the replies, in order. */
  readonly statuses: readonly number[];
  /** What the upstream serves, in order. */
  readonly upstream: readonly string[];
  /** The same where it comes a byte at a time, if that is something else. */
  readonly slowly?: Pick<Payload, "statuses" | "upstream">;
}

const H = "Host: orders\r\n";
const SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: orders\r\n\r\n";

const all: Payload[] = [];
const add = (id: string, bytes: string, statuses: number[], upstream: string[] = []): void => {
  all.push({ id, bytes, statuses, upstream });
};
/** Refused, and nothing behind it is served. */
const refuses = (id: string, head: string, body = "", status = 400): void =>
  add(id, `${head}\r\n${body}`, [status]);
const post = (fields: string): string => `POST / HTTP/1.1\r\n${H}${fields}`;
const get = (fields: string): string => `GET / HTTP/1.1\r\n${H}${fields}`;

// ── two ways to say where a body ends ──────────────────────────────────────────────────────────
refuses(
  "CL.TE",
  post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n"),
  `0\r\n\r\nG${SMUGGLED}`,
);
refuses("TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), `5c\r\n${SMUGGLED}`);
refuses("CL 0 and TE", post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), `0\r\n\r\n`);
refuses("CL.CL equal", post("Content-Length: 3\r\nContent-Length: 3\r\n"), "abc");
refuses("CL.CL different", post("Content-Length: 3\r\nContent-Length: 43\r\n"), `abc${SMUGGLED}`);
refuses("CL.CL, one in lower case", post("Content-Length: 0\r\ncontent-length: 43\r\n"), SMUGGLED);
for (const [id, value] of [
  ["list", "3, 3"],
  ["plus", "+3"],
  ["minus", "-3"],
  ["hex", "0x3"],
  ["empty", ""],
  ["2^64+1", "18446744073709551617"],
  ["2^53+1", "9007199254740993"],
  ["inner space", "1 3"],
  ["inner tab", "1\t3"],
  ["exponent", "1e1"],
  ["fraction", "3.0"],
  ["semicolon", "3;"],
  ["quoted", '"3"'],
  ["underscore", "1_0"],
  ["letters", "abc"],
  ["comma behind", "3,"],
  ["superscript", "\xb3"],
  ["no-break space in front", "\xa03"],
  ["NUL behind", "3\x00"],
  ["vertical tab behind", "3\x0b"],
  ["form feed in front", "\x0c3"],
] as const) {
  refuses(`CL ${id}`, post(`Content-Length: ${value}\r\n`), `abc${SMUGGLED}`);
}
add("CL with a zero in front", `${post("Content-Length: 03\r\n")}\r\nabc`, [200], ["POST / abc"]);
add(
  "CL with white space around",
  `${post("Content-Length: \t 3 \t\r\n")}\r\nabc`,
  [200],
  ["POST / abc"],
);
add("CL without a space", `${post("Content-Length:3\r\n")}\r\nabc`, [200], ["POST / abc"]);
refuses("CL with a space before the colon", post("Content-Length : 43\r\n"), SMUGGLED);
refuses("CL with a tab before the colon", post("Content-Length\t: 43\r\n"), SMUGGLED);
refuses("CL with NUL in its name", post("Content-Length\x00: 43\r\n"), SMUGGLED);
refuses(
  "CL as first line, with a space in front",
  `POST / HTTP/1.1\r\n Content-Length: 43\r\n${H}`,
  SMUGGLED,
);
refuses("CL behind a bare LF", `POST / HTTP/1.1\r\n${H}X: y\nContent-Length: 43\r\n`, SMUGGLED);
refuses("CL behind a bare CR", `POST / HTTP/1.1\r\n${H}X: y\rContent-Length: 43\r\n`, SMUGGLED);
add(
  "CL with an underscore is no length",
  `${post("Content_Length: 3\r\n")}\r\n`,
  [200],
  ["POST / "],
);

// ── transfer codings ───────────────────────────────────────────────────────────────────────────
for (const [id, value] of [
  ["xchunked", "xchunked"],
  ["chunked, identity", "chunked, identity"],
  ["chunked, chunked", "chunked, chunked"],
  ["chunked, gzip", "chunked, gzip"],
  ["vertical tab", "\x0bchunked"],
  ["form feed", "\x0cchunked"],
  ["quoted", '"chunked"'],
  ["single quotes", "'chunked'"],
  ["parameter", "chunked;q=1"],
  ["identity", "identity"],
  ["comma in front", ",chunked"],
  ["comma behind", "chunked,"],
  ["empty", ""],
  ["NUL behind", "chunked\x00"],
  ["colon in front", ":chunked"],
  ["brackets", "[chunked]"],
  ["space inside", "chun ked"],
  ["8-bit", "chunked\xff"],
  ["two words", "chunked gzip"],
] as const) {
  refuses(`TE ${id}`, post(`Transfer-Encoding: ${value}\r\n`), `0\r\n\r\n${SMUGGLED}`);
}
refuses(
  "TE twice",
  post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
  "0\r\n\r\n",
);
refuses(
  "TE twice, the second another",
  post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"),
  "0\r\n\r\n",
);
refuses("TE folded", post("Transfer-Encoding:\r\n chunked\r\n"), "0\r\n\r\n");
refuses("TE with a space before the colon", post("Transfer-Encoding : chunked\r\n"), "0\r\n\r\n");
refuses(
  "TE as first line, with a space in front",
  `POST / HTTP/1.1\r\n Transfer-Encoding: chunked\r\n${H}`,
  "0\r\n\r\n",
);
refuses("TE behind a bare LF", post("X: y\nTransfer-Encoding: chunked\r\n"), "0\r\n\r\n");
refuses("TE behind a bare CR", post("X: y\rTransfer-Encoding: chunked\r\n"), "0\r\n\r\n");
refuses("TE identity, chunked", post("Transfer-Encoding: identity, chunked\r\n"), "0\r\n\r\n", 501);
refuses("TE gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n"), "0\r\n\r\n", 501);
refuses("TE over HTTP/1.0", `POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n`, "0\r\n\r\n");
refuses(
  "TE and CL over HTTP/1.0",
  `POST / HTTP/1.0\r\n${H}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n`,
  "0\r\n\r\n",
);
add(
  "TE in capitals",
  `${post("Transfer-Encoding: CHUNKED\r\n")}\r\n3\r\nabc\r\n0\r\n\r\n`,
  [200],
  ["POST / abc"],
);
add(
  "TE with white space around",
  `${post("Transfer-Encoding:\t chunked \t\r\n")}\r\n3\r\nabc\r\n0\r\n\r\n`,
  [200],
  ["POST / abc"],
);
add(
  "TE with an underscore is no framing",
  `${post("Transfer_Encoding: chunked\r\nContent-Length: 3\r\n")}\r\nabc`,
  [200],
  ["POST / abc"],
);
add(
  "TE of a GET",
  `${get("Transfer-Encoding: chunked\r\n")}\r\n3\r\nabc\r\n0\r\n\r\n`,
  [200],
  ["GET / abc"],
);

// ── chunks ─────────────────────────────────────────────────────────────────────────────────────
const chunks = (id: string, body: string, ok?: string): void => {
  const head = post("Transfer-Encoding: chunked\r\n");
  if (ok === undefined) add(`chunks: ${id}`, `${head}\r\n${body}${SMUGGLED}`, [400]);
  else add(`chunks: ${id}`, `${head}\r\n${body}`, [200], [`POST / ${ok}`]);
};
chunks("0x in front", "0x3\r\nabc\r\n0\r\n\r\n");
chunks("plus", "+3\r\nabc\r\n0\r\n\r\n");
chunks("minus", "-3\r\nabc\r\n0\r\n\r\n");
chunks("underscore", "0_3\r\nabc\r\n0\r\n\r\n");
chunks("space behind the size", "3 \r\nabc\r\n0\r\n\r\n");
chunks("space in front of the size", " 3\r\nabc\r\n0\r\n\r\n");
chunks("tab behind the size", "3\t\r\nabc\r\n0\r\n\r\n");
chunks("no size", "\r\nabc\r\n0\r\n\r\n");
chunks("no digit", "g\r\nabc\r\n0\r\n\r\n");
chunks("2^64", "10000000000000000\r\nabc\r\n0\r\n\r\n");
chunks("2^64 + 3", "10000000000000003\r\nabc\r\n0\r\n\r\n");
chunks("2^53 + 1", "20000000000001\r\nabc\r\n0\r\n\r\n");
chunks("21 digits", "000000000000000000003\r\nabc\r\n0\r\n\r\n");
chunks("LF behind the size", "3\nabc\r\n0\r\n\r\n");
chunks("LF behind the data", "3\r\nabc\n0\r\n\r\n");
chunks("LF behind the last chunk", "3\r\nabc\r\n0\n\n");
chunks("CR alone behind the size", "3\rabc\r\n0\r\n\r\n");
chunks("data longer than the size", "3\r\nabcd\r\n0\r\n\r\n");
chunks("data shorter than the size", "5\r\nabc\r\n0\r\n\r\n");
chunks("two bytes in the place of CR LF", "3\r\nabcXX0\r\n\r\n");
chunks("LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n");
chunks("CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n");
chunks("NUL in an extension", "3;a\x00\r\nabc\r\n0\r\n\r\n");
chunks("space in front of the semicolon", "3 ;a=b\r\nabc\r\n0\r\n\r\n");
chunks("extensions of 17 KiB", `3;${"a".repeat(17_000)}\r\nabc\r\n0\r\n\r\n`);
chunks(
  "many extensions of 17 KiB together",
  `${`1;${"a".repeat(999)}\r\na\r\n`.repeat(17)}0\r\n\r\n`,
);
chunks("trailer Content-Length", "3\r\nabc\r\n0\r\nContent-Length: 43\r\n\r\n");
chunks("trailer Transfer-Encoding", "3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n");
chunks("trailer folded", "3\r\nabc\r\n0\r\nx: y\r\n z\r\n\r\n");
chunks("trailer with a space before the colon", "3\r\nabc\r\n0\r\nx : y\r\n\r\n");
chunks("trailer with a bare LF", "3\r\nabc\r\n0\r\nx: y\n\r\n");
chunks("trailer without a colon", "3\r\nabc\r\n0\r\nxy\r\n\r\n");
chunks("too many trailers", `3\r\nabc\r\n0\r\n${"x: y\r\n".repeat(33)}\r\n`);
chunks("zeros in front", "0003\r\nabc\r\n000\r\n\r\n", "abc");
chunks("an extension", '3;a="b c";d\r\nabc\r\n0;e\r\n\r\n', "abc");
chunks(
  "capitals and small letters",
  "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
  "01234567890123456789",
);
chunks("an allowed trailer", "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n", "abc");
chunks("data that looks like the end", "7\r\n0\r\n\r\nGE\r\n0\r\n\r\n", "0\r\n\r\nGE");

// ── the request line ───────────────────────────────────────────────────────────────────────────
refuses("HTTP/0.9", "GET /");
refuses("HTTP/2.0", `GET / HTTP/2.0\r\n${H}`, "", 505);
refuses("HTTP/1.2", `GET / HTTP/1.2\r\n${H}`, "", 505);
refuses("HTTP/1.10", `GET / HTTP/1.10\r\n${H}`);
refuses("HTTP/01.1", `GET / HTTP/01.1\r\n${H}`);
refuses("http/1.1", `GET / http/1.1\r\n${H}`);
refuses("HTTP/1.1 and a space", `GET / HTTP/1.1 \r\n${H}`);
refuses("a word behind the version", `GET / HTTP/1.1 x\r\n${H}`);
refuses("two spaces before the target", `GET  / HTTP/1.1\r\n${H}`);
refuses("two spaces before the version", `GET /  HTTP/1.1\r\n${H}`);
refuses("tabs in the line", `GET\t/\tHTTP/1.1\r\n${H}`);
refuses("no target", `GET HTTP/1.1\r\n${H}`);
refuses("a space in the target", `GET /a b HTTP/1.1\r\n${H}`);
refuses("LF at the end of the line", `GET / HTTP/1.1\n${H}`);
refuses("CR at the end of the line", `GET / HTTP/1.1\r${H}`);
refuses("a space in front", ` GET / HTTP/1.1\r\n${H}`);
refuses("LF in front", `\nGET / HTTP/1.1\r\n${H}`);
refuses("many empty lines in front", `${"\r\n".repeat(5)}GET / HTTP/1.1\r\n${H}`);
refuses("a bracket in the method", `G[T / HTTP/1.1\r\n${H}`);
refuses("a long method", `${"G".repeat(33)} / HTTP/1.1\r\n${H}`);
refuses("NUL in the target", `GET /\x00 HTTP/1.1\r\n${H}`);
refuses("8-bit in the target", `GET /\xff HTTP/1.1\r\n${H}`);
refuses("backslash in the path", `GET /a\\b HTTP/1.1\r\n${H}`);
refuses("less-than in the path", `GET /<a> HTTP/1.1\r\n${H}`);
refuses("fragment", `GET /a#b HTTP/1.1\r\n${H}`);
refuses("segments of dots", `GET /a/../smuggled HTTP/1.1\r\n${H}`);
refuses("segments of hidden dots", `GET /a/%2e%2E/smuggled HTTP/1.1\r\n${H}`);
refuses("a dot segment at the end", `GET /a/. HTTP/1.1\r\n${H}`);
refuses("* of a GET", `GET * HTTP/1.1\r\n${H}`);
refuses("userinfo", `GET http://a:b@orders/ HTTP/1.1\r\n${H}`);
refuses("another scheme", `GET ftp://orders/ HTTP/1.1\r\n${H}`);
refuses("https on a listener without TLS", `GET https://orders/ HTTP/1.1\r\n${H}`);
refuses("no scheme", `GET orders/ HTTP/1.1\r\n${H}`);
refuses("TRACE", `TRACE / HTTP/1.1\r\n${H}`, "", 405);
refuses("CONNECT", `CONNECT orders:80 HTTP/1.1\r\n${H}`, SMUGGLED, 405);
refuses("a target of 9 KB", `GET /${"a".repeat(9_000)} HTTP/1.1\r\n${H}`, "", 414);
refuses("a target of 20 KB", `GET /${"a".repeat(20_000)} HTTP/1.1\r\n${H}`, "", 414);
add("one empty line in front", `\r\nGET / HTTP/1.1\r\n${H}\r\n`, [200], ["GET / "]);
// Methods are case-sensitive: it is another one, which the upstream does not know.
add("a method in lower case", `get / HTTP/1.1\r\n${H}\r\n`, [502]);
add(
  "absolute target with the same host",
  `GET http://orders/a HTTP/1.1\r\n${H}\r\n`,
  [200],
  ["GET /a "],
);
add(
  "absolute target, whose authority wins",
  `GET http://orders/a HTTP/1.1\r\nHost: evil\r\n\r\n`,
  [200],
  ["GET /a "],
);
add(
  "absolute target without a path",
  `GET http://orders?x=1 HTTP/1.1\r\n${H}\r\n`,
  [200],
  ["GET /?x=1 "],
);
add("OPTIONS *", `OPTIONS * HTTP/1.1\r\n${H}\r\n`, [200], ["OPTIONS * "]);
add(
  "query with what URL parsers leave",
  `GET /?a={"b":[1]}|^\` HTTP/1.1\r\n${H}\r\n`.replace('"b"', "b"),
  [200],
  ["GET /?a={b:[1]}|^` "],
);

// ── hosts ──────────────────────────────────────────────────────────────────────────────────────
for (const [id, fields] of [
  ["two", "Host: orders\r\nHost: evil\r\n"],
  ["two equal", "Host: orders\r\nHost: orders\r\n"],
  ["none", "X: y\r\n"],
  ["empty", "Host:\r\n"],
  ["path and userinfo", "Host: a/b@orders\r\n"],
  ["IPv6 without brackets", "Host: ::1\r\n"],
  ["list", "Host: orders, evil\r\n"],
  ["space inside", "Host: ord ers\r\n"],
  ["8-bit", "Host: orders\xff\r\n"],
  ["port of letters", "Host: orders:http\r\n"],
  ["backslash", "Host: orders\\evil\r\n"],
  ["query", "Host: orders?x\r\n"],
  ["space before the colon", "Host : orders\r\n"],
  ["folded", "Host: orders\r\n evil\r\n"],
  ["NUL", "Host: orders\x00evil\r\n"],
] as const) {
  refuses(`Host: ${id}`, `GET / HTTP/1.1\r\n${fields}`);
}
refuses(
  "Host twice beside an absolute target",
  `GET http://orders/ HTTP/1.1\r\n${H}Host: evil\r\n`,
);

// ── field lines ────────────────────────────────────────────────────────────────────────────────
for (const [id, line] of [
  ["folded", "X: a\r\n b\r\n"],
  ["folded with a tab", "X: a\r\n\tb\r\n"],
  ["bare LF", "X: a\nY: b\r\n"],
  ["bare CR", "X: a\rY: b\r\n"],
  ["NUL in a value", "X: a\x00b\r\n"],
  ["DEL in a value", "X: a\x7fb\r\n"],
  ["escape in a value", "X: \x1b[2J\r\n"],
  ["empty name", ": a\r\n"],
  ["8-bit name", "X\xe9: a\r\n"],
  ["space in a name", "X Y: a\r\n"],
  ["quote in a name", 'X"Y: a\r\n'],
  ["bracket in a name", "X(Y): a\r\n"],
  ["no colon", "X\r\n"],
  ["space before the colon", "X : a\r\n"],
  ["CR CR LF", "X: a\r\r\n"],
  ["LF CR", "X: a\n\r"],
] as const) {
  refuses(`field: ${id}`, get(line));
}
add("an empty line of CR alone", `${get("")}\rX: y\r\n\r\n`, [400]);
add("an empty line of LF alone", `${get("")}\n${SMUGGLED}`, [400]);
refuses("101 fields", get("X: y\r\n".repeat(100)), "", 431);
refuses("a name of 300 bytes", get(`${"x".repeat(300)}: y\r\n`), "", 431);
refuses("a value of 9 KB", get(`X: ${"y".repeat(9_000)}\r\n`), "", 431);
refuses("a head of 20 KB", get(`X: ${"y".repeat(5_000)}\r\n`.repeat(4)), "", 431);
add("8-bit in a value", `${get("X: caf\xe9\r\n")}\r\n`, [200], ["GET / "]);
add("__proto__", `${get("__proto__: y\r\n")}\r\n`, [200], ["GET / "]);

// ── expectations, upgrades, connection options ─────────────────────────────────────────────────
refuses("Expect: bogus", post("Expect: bogus\r\nContent-Length: 3\r\n"), "abc", 417);
refuses(
  "Expect: y 100-continue",
  post("Expect: y 100-continue\r\nContent-Length: 3\r\n"),
  "abc",
  417,
);
refuses(
  "Expect: 100-continue and more",
  post("Expect: 100-continue, x\r\nContent-Length: 3\r\n"),
  "abc",
  417,
);
refuses(
  "Upgrade with a body",
  post("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n"),
  "abc",
);
all.push({
  id: "Upgrade with a request behind it",
  bytes: `${get("Connection: upgrade\r\nUpgrade: websocket\r\n")}\r\n${SMUGGLED}`,
  statuses: [400],
  upstream: [],
  // When it was sent on, nothing stood behind it; with the reply the connection ends.
  slowly: { statuses: [200], upstream: ["GET / "] },
});
add(
  "Upgrade: h2c",
  `${get("Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n")}\r\n`,
  [200],
  ["GET / "],
);
refuses("Connection that is no list", get("Connection: clo se\r\n"));
refuses("Connection with a quote", get('Connection: "close"\r\n'));
for (const name of [
  "content-length",
  "transfer-encoding",
  "host",
  "authorization",
  "x-mesh-hops",
]) {
  add(
    `Connection: ${name}`,
    `${post(`Connection: ${name}\r\nContent-Length: 3\r\n`)}\r\nabc`,
    [200],
    ["POST / abc"],
  );
}

// ── one behind the other ───────────────────────────────────────────────────────────────────────
add("two requests", `${get("")}\r\nGET /2 HTTP/1.1\r\n${H}\r\n`, [200, 200], ["GET / ", "GET /2 "]);
add(
  "a request that stands in a body stays there",
  `${post(`Content-Length: ${SMUGGLED.length}\r\n`)}\r\n${SMUGGLED}`,
  [200],
  [`POST / ${SMUGGLED}`],
);
add(
  "GET with a body, and a request behind it",
  `${get(`Content-Length: ${SMUGGLED.length}\r\n`)}\r\n${SMUGGLED}GET /2 HTTP/1.1\r\n${H}\r\n`,
  [200, 200],
  [`GET / ${SMUGGLED}`, "GET /2 "],
);
add(
  "a body in chunks, and a request behind it",
  `${post("Transfer-Encoding: chunked\r\n")}\r\n3\r\nabc\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n${H}\r\n`,
  [200, 200],
  ["POST / abc", "GET /2 "],
);
add(
  "close, and a request behind it",
  `${get("Connection: close\r\n")}\r\n${SMUGGLED}`,
  [200],
  ["GET / "],
);
add(
  "HTTP/1.0, and a request behind it",
  `GET / HTTP/1.0\r\n${H}\r\n${SMUGGLED}`,
  [200],
  ["GET / "],
);
add("nonsense behind a request", `${get("")}\r\n\x16\x03\x01\x02`, [200, 400], ["GET / "]);
add("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505]);
add("a handshake of TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", [400]);
add(
  "an empty chunk of what would be next",
  `${post("Content-Length: 0\r\n")}\r\n0\r\n\r\n${SMUGGLED}`,
  [200, 400],
  ["POST / "],
);

export const CORPUS: readonly Payload[] = all;
