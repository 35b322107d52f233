/**
 * Generated clients without protoc: protobufjs reads the .proto, and the plugin is asked as protoc
 * would ask it, with a CodeGeneratorRequest on its standard input.
 */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import protobuf from "protobufjs";
import "protobufjs/ext/descriptor/index.js";

const root: string = join(import.meta.dirname, "../../../..");

/** Runs a plugin on orders.proto and writes what it makes into `folder`. */
export async function generate(plugin: string, parameter: string, folder: string): Promise<void> {
  const name = "orders.proto";
  const parsed = protobuf.loadSync(join(import.meta.dirname, name)) as protobuf.Root & {
    toDescriptor(version: string): { file: { name: string }[] };
  };
  const set = parsed.toDescriptor("proto3");
  const [file] = set.file;
  file!.name = name;
  const FileDescriptorProto = (protobuf as unknown as { descriptor: Record<string, protobuf.Type> })
    .descriptor["FileDescriptorProto"]!;
  const request = protobuf.Writer.create()
    .uint32((1 << 3) | 2)
    .string(name)
    .uint32((2 << 3) | 2)
    .string(parameter)
    .uint32((15 << 3) | 2)
    .bytes(FileDescriptorProto.encode(file as never).finish())
    .finish();
  const bytes = await ask(join(root, "node_modules/.bin", plugin), request);
  const reader = protobuf.Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag >>> 3 === 1) throw new Error(`${plugin}: ${reader.string()}`);
    if (tag >>> 3 !== 15) reader.skipType(tag & 7);
    else writeOne(reader, folder);
  }
}

function writeOne(reader: protobuf.Reader, folder: string): void {
  const end = reader.uint32() + reader.pos;
  let name = "";
  let content = "";
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag >>> 3 === 1) name = reader.string();
    else if (tag >>> 3 === 15) content = reader.string();
    else reader.skipType(tag & 7);
  }
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

function ask(command: string, request: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [command], { stdio: ["pipe", "pipe", "inherit"] });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve(Buffer.concat(chunks));
      else reject(new Error(`${command} ended with ${code}`));
    });
    child.stdin.end(request);
  });
}
