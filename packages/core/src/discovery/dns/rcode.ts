/** Response codes by their names in IANA's registry "DNS RCODEs", as people search for them. */

export const NOERROR = 0;
export const FORMERR = 1;
export const NXDOMAIN = 3;
export const REFUSED = 5;
export const BADVERS = 16;

const NAMES: Readonly<Record<number, string>> = {
  [NOERROR]: "NOERROR",
  [FORMERR]: "FORMERR",
  2: "SERVFAIL",
  [NXDOMAIN]: "NXDOMAIN",
  4: "NOTIMP",
  [REFUSED]: "REFUSED",
  6: "YXDOMAIN",
  7: "YXRRSET",
  8: "NXRRSET",
  9: "NOTAUTH",
  10: "NOTZONE",
  11: "DSOTYPENI",
  [BADVERS]: "BADVERS",
  17: "BADKEY",
  18: "BADTIME",
  19: "BADMODE",
  20: "BADNAME",
  21: "BADALG",
  22: "BADTRUNC",
  23: "BADCOOKIE",
};

export function rcodeName(code: number): string {
  return NAMES[code] ?? `RCODE ${code}`;
}
