/** Under which names people keep what must not be shown: fields of a head, keys of a configuration. A leaf. */

const SECRET_WORD =
  /(?:^|[-_])auth(?!orit(?:y|ies))|authorization|token|secret|passw|credential|api[-_]?key|private|cookie|session|csrf|xsrf|signature|jwt|assertion/i;

/** What stands under this name is never shown. In any case of letters. */
export function isSecretName(name: string): boolean {
  return SECRET_WORD.test(name);
}
