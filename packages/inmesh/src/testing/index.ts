/** For the tests of applications: `inmesh/testing`. See docs/guides/testing.md. */
export { stubMesh, type StubAnswers, type StubMesh, type StubOptions } from "./stub-mesh.ts";
export {
  fault,
  inTurn,
  json,
  slow,
  status,
  text,
  type StubAnswer,
  type StubFault,
  type StubReply,
  type StubReplyInit,
} from "./answers.ts";
export type { StubRequest } from "./stub-request.ts";
