import { expect, it } from "vitest";
import { isSecretName } from "./secret-names.ts";

it("knows names under which secrets are kept, in heads and in configurations", () => {
  const secret = [
    "authorization",
    "Proxy-Authorization",
    "www-authenticate",
    "x-auth-user",
    "cookie",
    "set-cookie",
    "x-api-key",
    "apiKey",
    "X-Csrf-Token",
    "x-xsrf",
    "x-session",
    "x-amz-signature",
    "private_key",
    "dbPassword",
    "client-assertion",
  ];
  expect(secret.filter((name) => !isSecretName(name))).toEqual([]);
  const shown = ["authority", ":authority", "authorities", "accept", "x-request-id", "traceparent"];
  expect(shown.filter(isSecretName)).toEqual([]);
});
