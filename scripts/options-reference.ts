/**
 * The text of docs/reference/options.md, from the declared types and their doc comments. Throws an Error that
 * lists every member without a comment, and every optional one whose comment does not say its default.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  parseSync,
  type Class,
  type Node,
  type TSInterfaceDeclaration,
  type TSTypeAliasDeclaration,
} from "oxc-parser";

const root: string = join(import.meta.dirname, "..");

interface Section {
  readonly title: string;
  readonly intro: string;
  /** Exported interfaces or classes, by name. What they extend is found by itself. */
  readonly types: readonly string[];
  /** Of classes that have members for other layers too: those that are for applications, in this order. */
  readonly only?: readonly string[];
  /** Exported names for types that stand in the table. */
  readonly aliases?: readonly string[];
}

/** Types that have a page of their own. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  MeshInput: "config.md",
  ServiceInput: "config.md",
  ServerLimits: "limits.md",
  GrpcServerLimits: "grpc-server.md",
};

const SECTIONS: readonly Section[] = [
  {
    title: "`createMesh(options)`",
    intro:
      "From `inmesh`, or from `@inmesh/grpc` for a mesh without HTTP. Policies of services are not options: " +
      "they are in the [configuration](config.md), which `config` and `configFile` give.",
    types: ["MeshOptions"],
  },
  {
    title: "`meshClient(nameOrUrl, options)`",
    intro:
      "Beside `mesh` it takes what a service may have in the [configuration](config.md#structure): `timeouts`, " +
      "`retry`, `breaker` and so on. Code wins over the file, field by field.",
    types: ["ClientOptions"],
  },
  {
    title: "`hooks` of `meshClient`",
    intro:
      "Each gets one object, below, and watches: what it returns is not looked at, and what it throws or rejects " +
      "with goes to the log as `hook.failed`. Throws a ConfigError for another name.",
    types: ["ClientHooks"],
  },
  { title: "Hooks: what `onRequest` receives", intro: "", types: ["HookedCall"] },
  { title: "Hooks: what `onReply` receives", intro: "", types: ["HookedReply"] },
  { title: "Hooks: what `onRetry` receives", intro: "", types: ["HookedRetry"] },
  { title: "Hooks: what `onError` receives", intro: "", types: ["HookedError"] },
  {
    title: "Calls: `client.fetch(path, init)`, `client.request(init)`",
    intro:
      "`path` of `fetch` starts with `/`. The promise resolves for every status, and rejects with a " +
      "[MeshError](errors.md), or with the reason of `signal`.",
    types: ["RequestInit"],
    aliases: ["HeadersInput", "RequestBody"],
  },
  {
    title: "Replies",
    intro:
      "The body is asked for once, in one form; see [reading replies](../guides/reading-replies.md).",
    types: ["HttpReply"],
    only: [
      "status",
      "statusText",
      "ok",
      "headers",
      "trailers",
      "mesh",
      "bodyUsed",
      "text",
      "json",
      "bytes",
      "body",
      "webBody",
      "toResponse",
      "discard",
    ],
  },
  { title: "`reply.mesh`", intro: "How the call came to its reply.", types: ["ReplyInfo"] },
  {
    title: "`meshServer(target, options)`",
    intro:
      "`target` is a `(request, response)` listener, or a server of `node:http`, `node:https` or `node:http2`.",
    types: ["ServerOptions"],
    aliases: ["Posture"],
  },
  { title: "`health` of `meshServer`", intro: "", types: ["HealthOptions"] },
  { title: "`tls` of `meshServer`", intro: "", types: ["ServerTls"] },
  {
    title: "`meshGrpc(nameOrUrl, options)`, `meshChannel(nameOrUrl, options)`",
    intro: "From `@inmesh/grpc`. Beside these it takes what `meshClient` takes.",
    types: ["GrpcOptions"],
  },
  {
    title: "`callInfo(call)`",
    intro: "Of a gRPC call, its error or its status: what `reply.mesh` is for HTTP.",
    types: ["CallInfo"],
  },
  {
    title: "`meshGrpcServer(options)`",
    intro: "From `@inmesh/grpc`; see [gRPC servers](grpc-server.md).",
    types: ["GrpcServerOptions"],
  },
  { title: "`health` of `meshGrpcServer`", intro: "", types: ["GrpcHealthOptions"] },
  {
    title: "Server layers: what a layer sees",
    intro:
      "`serverLayers` of both servers; see [server layers](../guides/server-layers.md). A layer takes the inner " +
      "handler and gives another: a function from this to a refusal, to what the inner one returned, or to a " +
      "promise of either.",
    types: ["ServerRequest"],
  },
  { title: "Server layers: `request.peer`", intro: "", types: ["ServerPeer"] },
  { title: "Server layers: the end in `request.onEnd`", intro: "", types: ["ServerEnd"] },
  {
    title: "Server layers: `refusal(init)`",
    intro:
      "From `inmesh` and `@inmesh/grpc`. Throws a TypeError that names everything that is wrong.",
    types: ["RefusalInit"],
    aliases: ["RefusalCode"],
  },
  {
    title: "`mesh.admin.listen(options)`",
    intro:
      "Of a mesh that `createMesh` of `inmesh` or `@inmesh/http` has made; see [the API of one process](admin-api.md).",
    types: ["AdminOptions"],
  },
  { title: "What `mesh.admin.listen` gives", intro: "", types: ["AdminListener"] },
  {
    title: "`stubMesh(answers, options)`",
    intro: "From `inmesh/testing`; see [testing](../guides/testing.md).",
    types: ["StubOptions"],
  },
];

const INTRODUCTION = `# Options

<!-- Generated by scripts/write-options-reference.ts from the types in packages/*/src. -->

Every option that code gives, and every field of a reply. A name with a \`?\` may be left out; its default stands
in its text. Names that end in \`Ms\` are milliseconds, in \`Bytes\` bytes, in \`Ratio\` a share from 0 to 1.
`;

interface Declared {
  readonly node: Class | TSInterfaceDeclaration | TSTypeAliasDeclaration;
  readonly source: Source;
}

interface Source {
  readonly text: string;
  /** By the position behind them. */
  readonly comments: ReadonlyMap<number, string>;
}

interface Member {
  readonly name: string;
  readonly type: string;
  readonly isOptional: boolean;
  readonly doc: string | undefined;
}

export function optionsReference(): string {
  const declared = readDeclarations();
  const mistakes: string[] = [];
  const parts = SECTIONS.map((section) => writeSection(section, declared, mistakes));
  if (mistakes.length > 0) throw new Error(`options without words:\n  ${mistakes.join("\n  ")}`);
  return [INTRODUCTION, ...parts].join("\n");
}

function writeSection(
  { title, intro, types, only, aliases = [] }: Section,
  declared: ReadonlyMap<string, Declared[]>,
  mistakes: string[],
): string {
  const all = types.flatMap((name) => membersOf(name, declared));
  const members = only?.map((name) => {
    const member = all.find((one) => one.name === name);
    if (member === undefined) throw new Error(`${types.join()}: no member ${name}`);
    return member;
  });
  const rows = (members ?? all).map((member) => {
    const where = `${types.join()}.${member.name}`;
    if (member.doc === undefined) mistakes.push(`${where}: no comment`);
    else if (member.isOptional && !/\bdefault\b/i.test(member.doc)) {
      mistakes.push(`${where}: its comment does not say the default`);
    }
    const name = `\`${member.name}${member.isOptional ? "?" : ""}\``;
    return `| ${name} | ${cell(`\`${member.type}\``)} | ${cell(member.doc ?? "")} |`;
  });
  return [
    `## ${title}`,
    "",
    ...(intro === "" ? [] : [intro, ""]),
    "| name | type | meaning |",
    "|---|---|---|",
    ...rows,
    "",
    ...aliases.flatMap((name) => [aliasOf(name, declared), ""]),
  ].join("\n");
}

const cell = (text: string): string => text.replaceAll("|", "\\|");

/** The exported classes and interfaces of the packages, by name. */
function readDeclarations(): Map<string, Declared[]> {
  const found = new Map<string, Declared[]>();
  for (const file of globSync("packages/*/src/**/*.ts", { cwd: root }).sort()) {
    if (/\.(test|d)\.ts$/.test(file)) continue;
    const text = readFileSync(join(root, file), "utf8");
    const { program, comments, errors } = parseSync(file, text);
    if (errors.length > 0) throw new Error(`${file}: ${errors[0]!.message}`);
    const docs = new Map(
      comments.filter(({ value }) => value.startsWith("*")).map(({ end, value }) => [end, value]),
    );
    for (const statement of program.body) {
      const node = statement.type === "ExportNamedDeclaration" ? statement.declaration : null;
      if (
        node?.type !== "ClassDeclaration" &&
        node?.type !== "TSInterfaceDeclaration" &&
        node?.type !== "TSTypeAliasDeclaration"
      ) {
        continue;
      }
      const name = node.id?.name ?? "";
      const one: Declared = { node, source: { text, comments: docs } };
      found.set(name, [...(found.get(name) ?? []), one]);
    }
  }
  return found;
}

/** `isAlias`: of those of that name the alias. */
function declarationOf(
  name: string,
  declared: ReadonlyMap<string, Declared[]>,
  isAlias = false,
): Declared {
  const all = declared.get(name) ?? [];
  const candidates = isAlias
    ? all.filter(({ node }) => node.type === "TSTypeAliasDeclaration")
    : all;
  const [one] = candidates;
  if (one === undefined || candidates.length > 1) {
    throw new Error(`${candidates.length} exported types have the name ${name}`);
  }
  return one;
}

/** `Name` is what it says. */
function aliasOf(name: string, declared: ReadonlyMap<string, Declared[]>): string {
  const { node, source } = declarationOf(name, declared, true);
  if (node.type !== "TSTypeAliasDeclaration") throw new Error(`${name} is no alias`);
  return `\`${name}\`: \`${slice(node.typeAnnotation, source).replace(/^\| /, "")}\`.`;
}

/** Its own members, then those of what it extends, unless they have a page of their own. */
function membersOf(name: string, declared: ReadonlyMap<string, Declared[]>): Member[] {
  const { node, source } = declarationOf(name, declared);
  if (node.type === "TSTypeAliasDeclaration") throw new Error(`${name} has no members`);
  const own = node.body.body.flatMap((member) => memberOf(member, source));
  const parents = node.type === "TSInterfaceDeclaration" ? node.extends : [];
  const inherited = parents.flatMap(({ expression }) => {
    const parent = expression.type === "Identifier" ? expression.name : "";
    return ELSEWHERE[parent] !== undefined || !declared.has(parent)
      ? []
      : membersOf(parent, declared);
  });
  return [...own, ...inherited.filter((member) => !own.some((kept) => kept.name === member.name))];
}

function memberOf(member: Node, source: Source): Member[] {
  const doc = docOf(member, source);
  switch (member.type) {
    case "TSPropertySignature": {
      const name = nameOf(member.key);
      const annotation = member.typeAnnotation?.typeAnnotation;
      if (annotation?.type === "TSTypeLiteral") {
        const inner = annotation.members.flatMap((one) => memberOf(one, source));
        return inner.map((one) => ({ ...one, name: `${name}.${one.name}` }));
      }
      return [{ name, type: slice(annotation, source), isOptional: member.optional, doc }];
    }
    case "TSMethodSignature":
      return [
        {
          name: nameOf(member.key),
          type: slice({ start: member.key.end, end: member.end }, source).replace(/;$/, ""),
          isOptional: member.optional,
          doc,
        },
      ];
    case "PropertyDefinition": {
      if (member.key.type === "PrivateIdentifier" || member.static) return [];
      const type = slice(member.typeAnnotation?.typeAnnotation, source);
      return [{ name: nameOf(member.key), type, isOptional: false, doc }];
    }
    case "MethodDefinition": {
      if (member.key.type === "PrivateIdentifier" || member.static || member.computed) return [];
      if (member.kind === "constructor" || member.kind === "set") return [];
      const { returnType } = member.value;
      const type =
        member.kind === "get"
          ? slice(returnType?.typeAnnotation, source)
          : slice({ start: member.key.end, end: returnType?.end ?? member.key.end }, source);
      return [{ name: nameOf(member.key), type, isOptional: false, doc }];
    }
    default:
      return [];
  }
}

function nameOf(key: Node): string {
  if (key.type === "Identifier") return key.name;
  return key.type === "Literal" ? String(key.value) : "";
}

function slice(node: { start: number; end: number } | null | undefined, { text }: Source): string {
  if (node === null || node === undefined) return "unknown";
  const code = text.slice(node.start, node.end);
  // On one line, the rest of the type would be a part of a comment in it.
  return code
    .replaceAll(/\s\/\/.*$/gm, "")
    .replaceAll(/\s+/g, " ")
    .trim();
}

/** The doc comment that ends right before the member, as one line. */
function docOf(member: Node, { text, comments }: Source): string | undefined {
  const before = text.slice(0, member.start).trimEnd();
  const comment = comments.get(before.length);
  return comment
    ?.split("\n")
    .map((line) => line.replace(/^\s*\*+ ?/, "").trim())
    .filter((line) => line !== "")
    .join(" ")
    .trim();
}
