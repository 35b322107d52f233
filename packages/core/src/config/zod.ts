/**
 * The part of zod that is used. The build makes a file of its own of it, which is published in the place of the package:
 * all of zod is 95 files and 64 languages, and cost each process 10 MB (docs/decisions/0053-memory-of-the-proxy.md).
 */
export {
  array,
  boolean,
  custom,
  enum,
  number,
  record,
  strictObject,
  string,
  toJSONSchema,
  union,
  unknown,
} from "zod";
