/** What stands in package.json, which a test compares: reading it would cost each start a file. */

export const VERSION = "0.1.0";
