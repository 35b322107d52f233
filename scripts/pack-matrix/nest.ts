/** A Nest application as its own tools compile it: CommonJS with decorators. */
import "reflect-metadata";
import { Controller, Get, Injectable, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { createMesh, meshClient, meshServer } from "inmesh";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

@Injectable()
class Greeting {
  readonly text = "hello";
}

@Controller()
class Greetings {
  constructor(private readonly greeting: Greeting) {}

  @Get("/hello")
  hello(): { said: string } {
    return { said: this.greeting.text };
  }
}

@Module({ controllers: [Greetings], providers: [Greeting] })
class AppModule {}

async function main(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: false });
  await app.init();
  const listener = app.getHttpAdapter().getInstance() as (
    request: IncomingMessage,
    response: ServerResponse,
  ) => void;
  const served = meshServer(listener, { discoveryWaitMs: 0, idleWaitMs: 0 });
  await served.listen({ port: 0, host: "127.0.0.1" });
  const { port } = served.server.address() as AddressInfo;
  const mesh = createMesh({ config: {} });
  const reply = await meshClient(`http://127.0.0.1:${port}`, { mesh }).fetch("/hello");
  console.log(JSON.stringify([await reply.json()]));
  await mesh.close();
  await served.close();
  await app.close();
}

void main();
