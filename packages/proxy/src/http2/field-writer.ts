/** Writes the fields of a message as HPACK has them, wherever they came from. */
import type { Field, FieldVisitor } from "../fields.ts";
import type { HpackEncoder } from "./hpack-encoder.ts";
import { HpackField, INDEXED, nameOf, readField, readName } from "./hpack-fields.ts";
import type { Outgoing } from "./outgoing.ts";

export class FieldWriter implements FieldVisitor {
  readonly #encoder: HpackEncoder;
  readonly #out: Outgoing;
  /** Of the head so far, as RFC 9113 §6.5.2 counts. Writer: here; who begins a head sets it to 0. */
  bytes = 0;

  constructor(encoder: HpackEncoder, out: Outgoing) {
    this.#encoder = encoder;
    this.#out = out;
  }

  /** One of this codec's own. */
  own(field: HpackField): void {
    this.bytes += field.size;
    this.#encoder.encode(field, this.#out);
  }

  field(field: Field): void {
    this.own(
      field instanceof HpackField
        ? field
        : new HpackField(nameOf(field.name), field.value, INDEXED),
    );
  }

  piece(
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): void {
    const name = readName(bytes, nameStart, nameEnd, false)!;
    this.own(readField(name, bytes, valueStart, valueEnd, false, INDEXED)!);
  }

  text(name: string, value: string): void {
    this.own(new HpackField(nameOf(name), value, INDEXED));
  }
}
