/** Writes the fields of a message as HPACK has them, wherever they came from. */
import type { Field, Fields, FieldVisitor } from "../fields.ts";
import type { HpackEncoder } from "./hpack-encoder.ts";
import { fieldOf, HpackField, INDEXED, readField, readName, type Name } from "./hpack-fields.ts";
import type { Outgoing } from "./outgoing.ts";

export class FieldWriter implements FieldVisitor {
  readonly #encoder: HpackEncoder;
  readonly #out: Outgoing;
  /** Left out, because the codec says it anew. Writer: who begins a head. */
  without: Name | undefined = undefined;

  constructor(encoder: HpackEncoder, out: Outgoing) {
    this.#encoder = encoder;
    this.#out = out;
  }

  /** One of this codec's own. */
  own(field: HpackField): void {
    this.#encoder.encode(field, this.#out);
  }

  #pass(field: HpackField): void {
    if (field.key !== this.without) this.#encoder.encode(field, this.#out);
  }

  fields(fields: Fields): void {
    fields.visit(this);
  }

  field(field: Field): void {
    this.#pass(field instanceof HpackField ? field : fieldOf(field.name, field.value));
  }

  piece(
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): void {
    const name = readName(bytes, nameStart, nameEnd, false)!;
    this.#pass(readField(name, bytes, valueStart, valueEnd, false, INDEXED)!);
  }

  text(name: string, value: string): void {
    this.#pass(fieldOf(name, value));
  }
}
